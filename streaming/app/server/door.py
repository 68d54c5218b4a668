"""How many connections there may be, and how long one may wait for its peer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable
from typing import Protocol

from .limits import Limits

__all__ = ["Door", "Visitor", "Wait"]

_STALL_S = 15.0
_CLOSE_S = 5.0
_TELL_EVERY_S = 60.0
_LOG = logging.getLogger(__name__)

Wait = tuple[float, Hashable]
"""How many seconds a connection may wait for its peer, and what differs once it has moved."""


class Visitor(Protocol):
    """A connection, as the door sees it."""

    def waits(self) -> Wait | None:
        """What it waits for; None where it is not for the peer."""

    def abort(self) -> None:
        """Give the peer up."""


class Door:
    """Counts the connections of a server, and shows those out that wait too long for their peer.

    Args:
        limits: of the server.
        stall_s: time in which a peer must take something of what it was sent.
        close_s: time in which a closed connection must be gone.
    """

    def __init__(
        self, limits: Limits, *, stall_s: float = _STALL_S, close_s: float = _CLOSE_S
    ) -> None:
        self.body_s = limits.request_s
        self.head_s = limits.request_s / 3
        self.stall_s = stall_s
        self.close_s = close_s
        self.turned_away = 0
        """Connections that came when there were as many as there may be."""
        self._most = limits.max_connections
        self._look_every_s = min(1.0, self.head_s / 4, stall_s / 4, close_s / 4)
        self._waits: dict[Visitor, tuple[Wait | None, float]] = {}
        self._looking = False
        self._untold = 0
        self._told_at: float | None = None

    def __len__(self) -> int:
        return len(self._waits)

    def enter(self, connection: Visitor) -> None:
        """Let a connection in; abort it where there are too many."""
        loop = asyncio.get_running_loop()
        self._waits[connection] = (None, loop.time())
        if len(self._waits) > self._most:
            connection.abort()
            self._turn_away(loop.time())
        if not self._looking:
            self._looking = True
            loop.call_later(self._look_every_s, self._look, loop)

    def leave(self, connection: Visitor) -> None:
        """Forget a connection that is gone, or that another protocol goes on with."""
        self._waits.pop(connection, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection, (before, since) in list(self._waits.items()):
            wait = connection.waits()
            if wait is None or wait != before:
                self._waits[connection] = (wait, now)
            elif now - since >= wait[0]:
                connection.abort()
        self._looking = bool(self._waits)
        if self._looking:
            loop.call_later(self._look_every_s, self._look, loop)

    def _turn_away(self, now: float) -> None:
        self.turned_away += 1
        self._untold += 1
        if self._told_at is None or now - self._told_at >= _TELL_EVERY_S:
            _LOG.warning(
                "there are %d connections, as many as --max-connections lets in; turned away: %d",
                self._most,
                self._untold,
            )
            self._untold, self._told_at = 0, now
