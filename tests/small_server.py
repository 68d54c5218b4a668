"""A uvicorn of the test's own, with the caption server's connections and an application at hand."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from streaming.app.server.connections import uvicorn_options
from streaming.app.server.door import Door
from streaming.app.server.limits import Limits

__all__ = ["Frames", "SmallServer", "eventually", "frame", "small_server", "upgrade"]


@dataclass(frozen=True)
class SmallServer:
    """One that listens."""

    port: int
    door: Door
    logged: list[str]
    """What it told of, warnings and worse."""

    def connect(self, said: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
        """A raw connection that has said something."""
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", self.port))
        raw.sendall(said)
        return raw

    def open(self, path: str = "/ws", *, receive_buffer: int | None = None) -> Frames:
        """A raw WebSocket."""
        frames = Frames(self.connect(upgrade(path), receive_buffer=receive_buffer))
        assert frames.head().startswith(b"HTTP/1.1 101 ")
        return frames


class Frames:
    """Reads what a server sends over a raw connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self._rest = b""

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    def head(self) -> bytes:
        """Up to the empty line."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head

    def next(self) -> tuple[int, bytes]:
        """Opcode and content of a frame shorter than 64 KiB."""
        while len(self._rest) < 2 or len(self._rest) < self._size():
            self._more()
        size = self._size()
        whole, self._rest = self._rest[:size], self._rest[size:]
        return whole[0] & 15, whole[4 if whole[1] == 126 else 2 :]

    def close_code(self) -> int:
        """Of the close frame, which comes next but for pings, pongs and messages."""
        while True:
            opcode, data = self.next()
            if opcode == 8:
                return int(struct.unpack("!H", data[:2])[0])

    def _size(self) -> int:
        length = self._rest[1]
        return 4 + int.from_bytes(self._rest[2:4]) if length == 126 else 2 + length

    def _more(self) -> None:
        data = self.raw.recv(65_536)
        if not data:
            raise ConnectionError("the server has closed")
        self._rest += data


def upgrade(path: str = "/ws", *headers: str) -> bytes:
    """A request for a WebSocket."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame as a client sends it, with a mask that changes nothing."""
    mask = 128 if masked else 0
    if len(data) < 126:
        size = struct.pack("!B", mask | len(data))
    elif len(data) < 65_536:
        size = struct.pack("!BH", mask | 126, len(data))
    else:
        size = struct.pack("!BQ", mask | 127, len(data))
    return bytes([(128 if fin else 0) | opcode]) + size + (bytes(4) if masked else b"") + data


def eventually(true: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until something is true."""
    until = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until, "it never became true"
        time.sleep(0.01)


@contextlib.contextmanager
def small_server(
    app: ASGIApp,
    limits: Limits | None = None,
    *,
    stall_s: float = 15.0,
    close_s: float = 5.0,
    **options: Any,
) -> Iterator[SmallServer]:
    """Serve an application on a free port of the loopback, in a thread."""
    limits = limits or Limits()
    door = Door(limits, stall_s=stall_s, close_s=close_s)
    config = uvicorn.Config(
        app, lifespan="off", **{**uvicorn_options(limits, door), "ws_ping_interval": 20, **options}
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    with _logged() as logged:
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive())
            yield SmallServer(listener.getsockname()[1], door, logged)
        finally:
            server.should_exit = True
            thread.join(30)
            listener.close()
        assert not thread.is_alive(), "the server did not end"
        eventually(lambda: len(door) == 0)


@contextlib.contextmanager
def _logged() -> Iterator[list[str]]:
    logged: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not record.name.startswith("websockets.client"):  # those of tests, in this process
                logged.append(self.format(record))

    handler = Keep(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield logged
    finally:
        logging.getLogger().removeHandler(handler)
