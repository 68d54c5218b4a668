"""What is published to viewers: one board, and a queue for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from streaming.errors import ConfigurationError, SinkError
from streaming.events import Event, event_to_json

from .board import Board
from .viewer import Viewer
from .wire import message

__all__ = ["Publisher", "TooManyViewersError"]

_INCOMING_EVERY_S = 0.05
"""A viewer that sends without end is slowed down to one message in this time."""


class TooManyViewersError(SinkError):
    """There are as many viewers as there may be."""


class Publisher:
    """A sink that shows its events to viewers, whoever serves them.

    A viewer may come at any time, also after the end, and sees what came before. Viewers never
    hold the session up: each has a bounded queue and is skipped ahead where it does not keep up.

    Args:
        clear_after_s: silence after which the page clears the screen, unless it was told
            otherwise; 0 leaves the text.
        max_viewers: at once.
        stall_limit_s: a viewer that takes nothing for this long is given up.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    def __init__(
        self,
        *,
        clear_after_s: float = 6.0,
        max_viewers: int = 100,
        stall_limit_s: float = 15.0,
    ) -> None:
        if not 0 <= clear_after_s <= 3600:
            raise ConfigurationError(
                f"captions can be cleared after 0 (never) to 3600 s, not {clear_after_s:g}"
            )
        if max_viewers < 0 or stall_limit_s <= 0:
            raise ConfigurationError("captions need a number of viewers and some patience")
        self._clear_after_s = clear_after_s
        self._max_viewers = max_viewers
        self._stall_limit_s = stall_limit_s
        self._board = Board()
        self._viewers: set[Viewer] = set()
        self._ended = False

    async def __aenter__(self) -> Self:
        self._board = Board()
        self._ended = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    @property
    def n_viewers(self) -> int:
        """Viewers that are there now."""
        return len(self._viewers)

    async def write(self, event: Event) -> None:
        """Hand the event to all viewers; does not wait for any of them."""
        changed = self._board.push(event, _now_s())
        if not self._viewers:
            return
        messages = [event_to_json(event).encode("utf-8", "replace")]
        if changed is not None:
            messages.append(message(changed))
        for viewer in self._viewers:
            viewer.put(messages)

    def end(self) -> None:
        """Nothing more will be written: viewers get what waits for them, and `follow` returns."""
        self._ended = True
        for viewer in self._viewers:
            viewer.end()

    async def follow(
        self, send: Callable[[bytes], Awaitable[Any]], incoming: AsyncIterable[object]
    ) -> None:
        """Serve one viewer until the end, or until it goes.

        Args:
            send: sends a message, JSON in UTF-8; waits while the viewer has no room for it.
            incoming: what the viewer sends, which is ignored and slowed down. It ends, or
                raises, when the viewer has gone.

        Raises:
            TooManyViewersError: there is no place for one more.
            TimeoutError: the viewer takes nothing any more.
            Exception: what ``send`` or ``incoming`` raise.
        """
        if len(self._viewers) >= self._max_viewers:
            raise TooManyViewersError(f"there are {self._max_viewers} viewers already")
        viewer = Viewer(self._snapshot, self._stall_limit_s)
        self._viewers.add(viewer)
        if self._ended:
            viewer.end()
        ignoring = asyncio.create_task(_ignore(incoming, viewer))
        try:
            await viewer.feed(send)
            if ignoring.done():
                ignoring.result()
        finally:
            self._viewers.discard(viewer)
            ignoring.cancel()
            await asyncio.gather(ignoring, return_exceptions=True)

    def _snapshot(self) -> bytes:
        body = self._board.snapshot(_now_s())
        return message({"type": "snapshot", "clear_after_s": self._clear_after_s, **body})


async def _ignore(incoming: AsyncIterable[object], viewer: Viewer) -> None:
    """Take what the viewer sends, and notice when it goes."""
    try:
        async for _ in incoming:
            await asyncio.sleep(_INCOMING_EVERY_S)
    finally:
        viewer.leave()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
