"""A bounded channel of audio between the task that reads a source and the one that uses it.

Its bound is in samples, since what must not grow is the delay. When it is full the writer
waits, or the oldest audio makes room; the gap that leaves is told by the chunk after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

from .audio import AudioChunk, Flush
from .events import Notice
from .options import Configure
from .protocols import SourceItem

__all__ = ["Channel", "ChannelClosed", "ChannelStatistics"]

_MOST_NOTICES = 64
_MOST_ITEMS = 4_096
"""However short the audio is between the rest."""


class ChannelClosed(Exception):  # noqa: N818 - a signal, like StopAsyncIteration
    """The channel was closed; a reader sees it after the last item."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What a channel holds and has held."""

    waiting_samples: int
    """Audio in it now."""
    peak_samples: int
    """Most audio that was ever in it."""
    dropped_samples: int
    """Audio that was dropped to make room."""


class Channel:
    """Passes chunks, flushes and notices on in order, within one event loop.

    Cancelling a waiting ``put`` or ``get`` loses nothing: an item is either still the caller's
    or in the channel, and either still in the channel or returned.

    Args:
        capacity_samples: audio held at most. A longer chunk is taken alone.
        overflow: "wait" makes the writer wait for room; "drop_oldest" drops whole chunks, the
            oldest first, and gives the next one a gap with the reason "overload".
    """

    def __init__(
        self, capacity_samples: int, *, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> None:
        if capacity_samples < 1:
            raise ValueError(f"capacity must be at least one sample, not {capacity_samples}")
        self._capacity = capacity_samples
        self._drops = overflow == "drop_oldest"
        self._items: deque[SourceItem] = deque()
        self._waiting = 0
        self._peak = 0
        self._dropped = 0
        self._lost = False
        self._closed = False
        self._error: BaseException | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def put(self, item: SourceItem) -> None:
        """Add an item, when there is room for it.

        Raises:
            ChannelClosed: the channel was closed before the item was in.
        """
        if not self._drops:
            while not self._closed and self._full(item):
                self._writable.clear()
                await self._writable.wait()
        if self._closed:
            raise ChannelClosed
        if isinstance(item, AudioChunk):
            while self._waiting and not self._fits(item):
                self._drop()
            self._items.append(item)
            self._waiting += len(item.samples)
            self._peak = max(self._peak, self._waiting)
        elif not (isinstance(item, Flush) and self._items and isinstance(self._items[-1], Flush)):
            # A second flush with no audio between says nothing new, and the last wish counts.
            if isinstance(item, Configure) and self._items and type(self._items[-1]) is Configure:
                self._items.pop()
            self._items.append(item)
            if isinstance(item, Notice):
                self._forget_notices()
        while self._drops and self._waiting and len(self._items) > _MOST_ITEMS:
            self._drop()
        self._readable.set()

    async def get(self) -> SourceItem:
        """Take the next item, when there is one.

        Raises:
            ChannelClosed: the channel is closed and empty.
            BaseException: what ``close`` was given, likewise.
        """
        await self.wait()
        return self._take()

    def get_nowait(self) -> SourceItem | None:
        """Take the next item; None if there is none yet. Raises like ``get``."""
        return self._take() if self._items or self._closed else None

    async def wait(self) -> None:
        """Return once ``get_nowait`` has something to give or to raise; takes nothing."""
        while not self._items and not self._closed:
            self._readable.clear()
            await self._readable.wait()

    def close(self, error: BaseException | None = None) -> None:
        """No more items. What is in the channel is still read, then ``error`` is raised.

        Closing again changes nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._error = error
        self._readable.set()
        self._writable.set()

    def statistics(self) -> ChannelStatistics:
        """What the channel holds and has held."""
        return ChannelStatistics(self._waiting, self._peak, self._dropped)

    def _full(self, item: SourceItem) -> bool:
        """Whether an item has to wait."""
        if len(self._items) >= _MOST_ITEMS:
            return True
        return isinstance(item, AudioChunk) and self._waiting > 0 and not self._fits(item)

    def _fits(self, chunk: AudioChunk) -> bool:
        return self._waiting + len(chunk.samples) <= self._capacity

    def _take(self) -> SourceItem:
        if not self._items:
            raise self._error or ChannelClosed
        item = self._items.popleft()
        self._writable.set()
        if not isinstance(item, AudioChunk):
            return item
        self._waiting -= len(item.samples)
        if self._lost:
            self._lost = False
            item = replace(item, gap_reason="overload")
        return item

    def _forget_notices(self) -> None:
        """Keep the notices bounded too; the oldest say least."""
        places = [i for i, item in enumerate(self._items) if isinstance(item, Notice)]
        if len(places) > _MOST_NOTICES:
            self._remove(places[0])

    def _drop(self) -> None:
        """Drop the oldest chunk; a flush before it stays."""
        place = next(i for i, item in enumerate(self._items) if isinstance(item, AudioChunk))
        dropped = self._items[place]
        assert isinstance(dropped, AudioChunk)
        self._remove(place)
        self._waiting -= len(dropped.samples)
        self._dropped += len(dropped.samples)
        self._lost = True

    def _remove(self, place: int) -> None:
        """Remove an item, and one of two flushes that meet then."""
        del self._items[place]
        around = list(self._items)[max(0, place - 1) : place + 1]
        if len(around) == 2 and all(isinstance(item, Flush) for item in around):
            del self._items[place]
