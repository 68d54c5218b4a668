"""Several sources out of one origin, kept side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from streaming.audio import AudioChunk, samples_from_seconds
from streaming.errors import SourceError
from streaming.protocols import SourceItem

__all__ = ["Fan", "Origin"]

_LEAD_SAMPLES = samples_from_seconds(0.5)
"""How much one member may have been given that another has not taken: events of sessions that
run side by side then lie side by side too, also where nothing else holds the quicker one back."""


class Origin(Protocol):
    """Like a source, but what it yields has a place for each member's items."""

    live: bool

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Sequence[Sequence[SourceItem]]]: ...


class Fan:
    """Shares an origin among ``n`` sources, in ``members``.

    It is entered with the first of them and left with the last. All that take part are entered
    before one is read, so that each has the audio from its beginning; one that has been left no
    longer holds the others back. An error of the origin reaches every member, after the items
    before it.
    """

    def __init__(self, origin: Origin, n: int) -> None:
        self.origin = origin
        self.members = tuple(_Member(self, number) for number in range(n))
        self._items: list[deque[SourceItem]] = [deque() for _ in range(n)]
        self._open: set[int] = set()
        self._entering = asyncio.Lock()
        self._entered = self._left = False
        self._iterator: AsyncIterator[Sequence[Sequence[SourceItem]]] | None = None
        self._taken = asyncio.Event()
        self._pull: asyncio.Task[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    async def enter(self, number: int) -> None:
        """Open a member.

        Raises:
            SourceError: the others are being read already, or were.
        """
        async with self._entering:
            if self._iterator is not None or self._left:
                raise SourceError("sources that go together are entered before one of them is read")
            if not self._entered:
                await self.origin.__aenter__()
                self._entered = True
            self._open.add(number)

    async def leave(self, number: int, exc_info: tuple[Any, Any, Any]) -> None:
        """Close a member; once is enough."""
        if number not in self._open:
            return
        self._open.discard(number)
        self._items[number].clear()
        self._taken.set()
        if not self._open:
            self._left = True
            try:
                if self._pull is not None:
                    self._pull.cancel()
                    await asyncio.wait([self._pull])
            finally:
                await self.origin.__aexit__(*exc_info)

    async def next(self, number: int) -> SourceItem:
        """The next item of a member."""
        items = self._items[number]
        while not items:
            if number not in self._open:
                raise SourceError("a source is iterated inside `async with`")
            if self._ended:
                raise self._error or StopAsyncIteration
            if self._pull is None or self._pull.done():
                self._pull = asyncio.ensure_future(self._advance())
            # Waiting is all that is cancelled with a member: the others want the item too.
            await asyncio.wait([self._pull])
        item = items.popleft()
        self._taken.set()
        return item

    async def _advance(self) -> None:
        """Hand out what the origin yields next, once nobody lags too far behind."""
        while any(self._held(number) > _LEAD_SAMPLES for number in self._open):
            self._taken.clear()
            await self._taken.wait()
        if self._iterator is None:
            self._iterator = aiter(self.origin)
        try:
            step = await anext(self._iterator)
        except StopAsyncIteration:
            self._ended = True
        except Exception as error:
            self._ended, self._error = True, error
        else:
            for number in self._open:
                self._items[number].extend(step[number])

    def _held(self, number: int) -> int:
        return sum(len(i.samples) for i in self._items[number] if isinstance(i, AudioChunk))


class _Member:
    """One of the sources of a fan."""

    def __init__(self, fan: Fan, number: int) -> None:
        self._fan = fan
        self._number = number
        self.live = fan.origin.live

    @property
    def length_s(self) -> float | None:
        """Length of the whole input, where the origin knows it."""
        return getattr(self._fan.origin, "length_s", None)

    async def __aenter__(self) -> Self:
        await self._fan.enter(self._number)
        self.live = self._fan.origin.live  # some know only once they are open
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._fan.leave(self._number, (exc_type, exc, traceback))

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        return self

    async def __anext__(self) -> SourceItem:
        return await self._fan.next(self._number)
