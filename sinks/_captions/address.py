"""Where to listen: addresses as people write them, and why one cannot be had."""

from __future__ import annotations

import errno
import re
import socket

from streaming.errors import ConfigurationError

__all__ = ["parse_address", "reason"]

_ADDRESS = re.compile(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?([0-9]{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[::1]:PORT``, ``:PORT`` or ``PORT``.

    Returns:
        Host, 127.0.0.1 where none is named, and port, 0 for any free one.

    Raises:
        ConfigurationError: it is none of these.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(
            f"{text!r} is no address with a port; write 127.0.0.1:8765, [::1]:8765 or 8765"
        )
    host, port = (found[1] or "").strip("[]"), int(found[2])
    if port > 65_535:
        raise ConfigurationError(f"port {port} does not exist; choose one from 1024 to 65535")
    return host or "127.0.0.1", port


def reason(error: OSError | UnicodeError) -> str:
    """What is wrong with an address that cannot be listened on, and the way out."""
    if isinstance(error, UnicodeError):
        return "this is no name of a host; use 127.0.0.1"
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; choose another one, or 0 for any that is free"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are not for everybody; choose one from 1024 to 65535"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address; use 127.0.0.1, or 0.0.0.0 for all it has"
    return error.strerror or str(error)
