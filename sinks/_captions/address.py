"""Addresses: as people write them, as requests name them, and why one cannot be had."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Sequence

from streaming.errors import ConfigurationError

__all__ = ["is_loopback", "parse_address", "parse_host", "reason"]

_ADDRESS = re.compile(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?([0-9]{1,5})")
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


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


def parse_host(values: Sequence[str]) -> tuple[str, str]:
    """Read a request's ``Host``.

    Args:
        values: of that header.

    Returns:
        Name in lower case, an IPv6 address in brackets, and ``:PORT`` or ""; both "" where
        there is not exactly one value, or it is none.
    """
    found = _HOST.fullmatch(values[0].lower()) if len(values) == 1 else None
    return (found[1], found[2] or "") if found else ("", "")


def is_loopback(host: str) -> bool:
    """True for a name or address, in brackets or not, that only this machine reaches."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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
