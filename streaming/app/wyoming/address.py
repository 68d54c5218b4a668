"""Where the server listens: TCP, a Unix socket, or standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sinks.publisher import reason

from ...errors import ConfigurationError
from ..server.serving import listen
from .wire import MAX_HEADER_BYTES

__all__ = ["Tcp", "Unix", "listening", "parse_uri", "standard_streams"]

_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True)
class Tcp:
    """An address on the network."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Unix:
    """A socket in the file system."""

    path: Path


def parse_uri(uri: str) -> Tcp | Unix | None:
    """Read an address; None for standard input and output.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise _bad(uri) from None
    rest = parts.query or parts.fragment or parts.username
    if parts.scheme == "tcp" and parts.hostname and port is not None and not (parts.path or rest):
        return Tcp(parts.hostname, port)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/") and not rest:
        return Unix(Path(parts.path))
    if uri == "stdio://":
        return None
    raise _bad(uri)


def _bad(uri: str) -> ConfigurationError:
    return ConfigurationError(
        f"cannot serve at {uri!r}; use tcp://HOST:PORT, unix:///PATH or stdio://"
    )


@contextmanager
def listening(where: Tcp | Unix | None) -> Iterator[socket.socket | None]:
    """A socket that listens, or none for standard input and output.

    That of the file system is removed in the end. Clients may connect at once; they wait until
    they are served.

    Raises:
        ConfigurationError: it cannot be had.
    """
    if where is None:
        yield None
        return
    if isinstance(where, Tcp):
        with listen(where.host, where.port) as listener:
            yield listener
        return
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigurationError("this system has no Unix sockets here; use tcp://HOST:PORT")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        try:
            _remove_left_behind(where.path)
            listener.bind(str(where.path))
            listener.listen(128)
        except OSError as error:
            raise ConfigurationError(f"cannot serve at {where.path}: {reason(error)}") from error
        try:
            yield listener
        finally:
            where.path.unlink(missing_ok=True)


def _remove_left_behind(path: Path) -> None:
    """Remove the socket of a server that was killed; nothing else."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise ConfigurationError(f"cannot serve at {path}: it is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise ConfigurationError(f"cannot serve at {path}: another server is there")


@asynccontextmanager
async def standard_streams() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Standard input and output as the streams of one client.

    Raises:
        ConfigurationError: they are no pipes.
    """
    for stream in (sys.stdin, sys.stdout):
        mode = os.fstat(stream.fileno()).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            raise ConfigurationError(
                f"stdio:// needs pipes, and {stream.name} is none; a program that speaks the "
                "Wyoming protocol is to start this one"
            )
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_HEADER_BYTES)
    # Copies: closing the streams closes them, and others may write on.
    source = os.fdopen(os.dup(sys.stdin.fileno()), "rb", 0)
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb", 0)
    try:
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), source
        )
        outgoing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), sink
        )
    except (OSError, NotImplementedError) as error:
        raise ConfigurationError(f"stdio:// does not work on this system: {error}") from error
    try:
        yield reader, asyncio.StreamWriter(outgoing, protocol, None, loop)
    finally:
        incoming.close()
        outgoing.close()
        for stream in (sys.stdin, sys.stdout):
            with contextlib.suppress(OSError):  # others may go on using them
                os.set_blocking(stream.fileno(), True)
