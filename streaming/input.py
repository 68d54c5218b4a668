"""A source under the program's wishes: flush, pause, resume, stop, and words of its own.

They are woven into the stream of audio, so the drivers never learn of them. A flush becomes
a `Flush` between chunks, and what the program has to say a `Notice`; while paused, a live
source's audio is thrown away (and shows as a gap) and any other source is left to wait; a
stop looks like the end of the input, so that everything heard is still finished.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from .audio import AudioChunk, Flush
from .errors import SourceError
from .events import Notice
from .protocols import Pausable, Source, SourceItem

__all__ = ["Input"]

_MOST_NOTICES = 64


class Input:
    """Iterates a source's items under these wishes. Use it from the event loop's thread.

    A source that fails ends the input; what was heard is finished like any other, and
    ``error`` tells.

    Args:
        source: where the audio comes from.
        hear: sees the audio before whoever iterates does.
    """

    def __init__(self, source: Source, hear: Callable[[AudioChunk], None] | None = None) -> None:
        self.source = source
        self._hear = hear
        self.error: SourceError | None = None
        self._changed = asyncio.Event()
        self._flushes = 0
        self._notices: deque[Notice] = deque(maxlen=_MOST_NOTICES)
        self._paused = False
        self._stopped = False
        self._ended = False
        self._reading: AsyncGenerator[SourceItem, None] | None = None

    def flush(self) -> None:
        """Close the running utterance without waiting for silence."""
        self._flushes += 1
        self._changed.set()

    def pause(self) -> None:
        """Close the running utterance and take no audio until `resume`."""
        if not self._paused:
            self._paused = True
            if isinstance(self.source, Pausable):
                self.source.pause()
            self.flush()

    def resume(self) -> None:
        """Take audio again."""
        self._paused = False
        if isinstance(self.source, Pausable):
            self.source.resume()
        self._changed.set()

    def say(self, notice: Notice) -> bool:
        """Put a notice between the audio; False where the input has ended already."""
        if not self._ended:
            self._notices.append(notice)
            self._changed.set()
        return not self._ended

    def stop(self) -> None:
        """Take the input as ended."""
        self._stopped = True
        self._changed.set()

    @property
    def stopped(self) -> bool:
        """Whether the program wished for the end."""
        return self._stopped

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        self._reading = self._read() if self._hear is None else self._heard(self._hear)
        return self._reading

    async def aclose(self) -> None:
        """Stop reading the source, in the middle if need be."""
        if self._reading is not None:
            await self._reading.aclose()

    async def _heard(self, hear: Callable[[AudioChunk], None]) -> AsyncGenerator[SourceItem, None]:
        async with aclosing(self._read()) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    hear(item)
                yield item

    async def _read(self) -> AsyncGenerator[SourceItem, None]:
        items = aiter(self.source)
        pending: asyncio.Task[SourceItem] | None = None
        discarded = False
        try:
            # What the source has handed out is passed on even then: it may have been recorded.
            while not self._stopped or (pending and pending.done() and not self._paused):
                if self._notices:
                    yield self._notices.popleft()
                    continue
                if self._flushes:
                    self._flushes = 0
                    yield Flush()
                    continue
                wants_audio = self.source.live or not self._paused
                if pending is None and wants_audio:
                    pending = asyncio.ensure_future(anext(items))
                changed = asyncio.ensure_future(self._changed.wait())
                try:
                    waiting: set[asyncio.Future[Any]] = {changed}
                    if pending is not None and wants_audio:
                        waiting.add(pending)
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                self._changed.clear()
                if not wants_audio or pending is None or not pending.done() or self._flushes:
                    continue
                try:
                    item, pending = pending.result(), None
                except (StopAsyncIteration, SourceError) as end:
                    self.error = end if isinstance(end, SourceError) else None
                    pending = None
                    break
                if self._paused and isinstance(item, AudioChunk | Flush):
                    discarded = True
                    continue
                if discarded and isinstance(item, AudioChunk):
                    item, discarded = replace(item, gap_reason="paused"), False
                yield item
            while self._notices:
                yield self._notices.popleft()
        finally:
            self._ended = True
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            if isinstance(items, AsyncGenerator):
                await items.aclose()
