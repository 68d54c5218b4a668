"""The transport of a connection: small buffers, and what arrives is taken in sips."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Tap"]

_SIP_BYTES = 8_192
"""Taken from a connection at a time. asyncio reads 256 KiB: of the smallest frames they would keep
the parser, and with it everybody, busy for three seconds."""
_SEND_BUFFER = 65_536
"""Bytes that the system may hold for a peer. By default it is megabytes, minutes of old text
that a client who fell behind would have to read first."""
_VANISHED_S = 30
"""Time after which the system gives up a peer that acknowledges nothing."""


class Tap:
    """The transport, as uvicorn's protocols see it.

    What was read is handed on in sips, so that others have their turn between, and closing
    twice is the same as once.

    Args:
        transport: of asyncio.
        loop: hands on the sips.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        _tune(transport)
        self.rest = b""
        """Read, and not handed on yet: at most what asyncio reads at a time."""
        self._transport = transport
        self._loop = loop
        self._take: Callable[[bytes], None]
        self._open = True
        self._turn: asyncio.Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def feed(self, data: bytes, take: Callable[[bytes], None]) -> None:
        """Hand on what was read, in turns."""
        self.rest += data
        self._take = take
        if self._turn is None:
            self._sip()

    def pause_reading(self) -> None:
        """Hand on nothing more."""
        self._open = False
        self._go_on()

    def resume_reading(self) -> None:
        """Hand on the rest, and what comes then."""
        self._open = True
        self._go_on()

    def close(self) -> None:
        """Close, once: TLS that was closed twice cannot be aborted."""
        if not self._transport.is_closing():
            self._transport.close()

    def _sip(self) -> None:
        self._turn = None
        if self._open and self.rest and not self._transport.is_closing():
            sip, self.rest = self.rest[:_SIP_BYTES], self.rest[_SIP_BYTES:]
            self._take(sip)
        self._go_on()

    def _go_on(self) -> None:
        if self._transport.is_closing():  # and TLS cannot be asked to read any more
            self.rest = b""
        elif not self._open:
            self._transport.pause_reading()
        elif not self.rest:
            self._transport.resume_reading()
        elif self._turn is None:
            self._transport.pause_reading()
            self._turn = self._loop.call_soon(self._sip)


def _tune(transport: asyncio.Transport) -> None:
    transport.set_write_buffer_limits(_SEND_BUFFER)
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_USER_TIMEOUT", _VANISHED_S * 1000),
        ("TCP_KEEPIDLE", _VANISHED_S),
        ("TCP_KEEPINTVL", _VANISHED_S // 3),
        ("TCP_KEEPCNT", 3),
    ):
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
