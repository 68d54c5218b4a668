"""One viewer: a bounded queue of events, and a task that empties it at the viewer's pace."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .wire import message

__all__ = ["ALIVE_S", "Viewer"]

ALIVE_S = 10.0
"""A viewer hears something at least this often, so that it can tell silence from a dead line."""
_MOST_WAITING = 256
"""Events that may wait for a viewer; then all of them are skipped."""


class Viewer:
    """Takes events without waiting and hands them on, each once and in order.

    One that is too slow is skipped ahead: told how many events it missed, it gets a fresh
    snapshot and then what comes after that.

    Args:
        snapshot: makes the message that tells all there is.
        stall_limit_s: a message that the viewer does not take within this time ends it.
    """

    def __init__(self, snapshot: Callable[[], bytes], stall_limit_s: float) -> None:
        self._snapshot = snapshot
        self._stall_limit_s = stall_limit_s
        self._waiting: deque[Sequence[bytes]] = deque()
        self._skipped = 0
        self._ends = False
        self._gone = False
        self._wake = asyncio.Event()

    def put(self, messages: Sequence[bytes]) -> None:
        """The messages of one event."""
        if len(self._waiting) >= _MOST_WAITING:
            self._skipped = len(self._waiting)
            self._waiting.clear()
        if self._skipped:
            self._skipped += 1
        else:
            self._waiting.append(messages)
        self._wake.set()

    def end(self) -> None:
        """Nothing will follow what waits."""
        self._ends = True
        self._wake.set()

    def leave(self) -> None:
        """The viewer has gone."""
        self._gone = True
        self._wake.set()

    async def feed(self, send: Callable[[bytes], Awaitable[Any]]) -> None:
        """Send a snapshot and then the events until there are no more.

        Raises:
            TimeoutError: the viewer takes nothing any more.
        """
        pending: Sequence[bytes] = [self._snapshot()]
        while not self._gone:
            for data in pending:
                async with asyncio.timeout(self._stall_limit_s):
                    await send(data)
            pending = await self._next()
            if not pending:
                return

    async def _next(self) -> Sequence[bytes]:
        """The messages to send now; none at the end."""
        while True:
            if self._skipped:
                # No waiting from here to the return: the snapshot is what comes after the skip.
                skipped, self._skipped = self._skipped, 0
                return [message({"type": "skipped", "events": skipped}), self._snapshot()]
            if self._waiting:
                return self._waiting.popleft()
            if self._ends or self._gone:
                return []
            self._wake.clear()
            try:
                async with asyncio.timeout(ALIVE_S):
                    await self._wake.wait()
            except TimeoutError:
                return [message({"type": "alive"})]
