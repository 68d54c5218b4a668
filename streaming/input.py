"""A source under the program's wishes: flush, pause, resume, stop, and words of its own.

They are woven into the stream of audio, so the drivers never learn of them. A flush becomes
a `Flush` between chunks, and what the program has to say a `Notice`; while paused, a live
source's audio is thrown away (and shows as a gap) and any other source is left to wait; a
stop looks like the end of the input, so that everything heard is still finished.

What the source yields passes through `InputCheck` here, and a source that should give audio and
gives none is told of, so that words that were said do not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from .audio import AudioChunk, Flush
from .errors import SourceError, StreamingError
from .events import Notice
from .input_check import InputCheck
from .protocols import Pausable, Source, SourceItem

__all__ = ["STALL_S", "Input"]

_LOG = logging.getLogger(__name__)

STALL_S = 5.0
"""Devices say after three seconds that they have stalled, and why."""
_MOST_NOTICES = 64
_LEAVE_S = 2.0
"""How long a source may take to let go of a wait that was cancelled."""


class Input:
    """Iterates a source's items under these wishes. Use it from the event loop's thread.

    A source that fails ends the input; what was heard is finished like any other, and
    ``error`` tells.

    Args:
        source: where the audio comes from.
        stall_s: how long it may give nothing if it is live; None where nobody waits.
        hear: sees the audio before whoever iterates does.
    """

    def __init__(
        self,
        source: Source,
        *,
        stall_s: float | None = None,
        hear: Callable[[AudioChunk], None] | None = None,
    ) -> None:
        self.source = source
        self._hear = hear
        self._stall_s = stall_s
        self._check = InputCheck()
        self._items: AsyncIterator[SourceItem] | None = None
        self._pending: asyncio.Task[SourceItem] | None = None
        self._asked_s = 0.0
        self._heard = self._stalled = False
        self._explained = False
        """The last thing from the source was no audio: it may say why none follows."""
        self.error: StreamingError | None = None
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
        if self._paused:
            self._paused = False
            self._asked_s = asyncio.get_running_loop().time()
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
        self._reading = self._read() if self._hear is None else self._tapped(self._hear)
        return self._reading

    async def aclose(self) -> None:
        """Stop reading the source, in the middle if need be."""
        if self._reading is not None:
            await self._reading.aclose()

    async def _tapped(self, hear: Callable[[AudioChunk], None]) -> AsyncGenerator[SourceItem, None]:
        async with aclosing(self._read()) as items:
            async for item in items:
                if isinstance(item, AudioChunk):
                    hear(item)
                yield item

    async def _read(self) -> AsyncGenerator[SourceItem, None]:
        discarded = False
        try:
            # What the source has handed out is passed on even then: it may have been recorded.
            while not self._stopped or (self._arrived and not self._paused):
                if self._notices:
                    yield self._notices.popleft()
                    continue
                if self._flushes:
                    self._flushes = 0
                    yield Flush()
                    continue
                wants_audio = self.source.live or not self._paused
                if not await self._something(wants_audio):
                    for said in self._stall():
                        yield said
                    continue
                if not (wants_audio and self._arrived) or self._flushes:
                    continue
                if (items := self._take()) is None:
                    break
                for item in items:
                    if self._paused and isinstance(item, AudioChunk | Flush):
                        discarded = True
                    elif discarded and isinstance(item, AudioChunk):
                        discarded = False
                        yield replace(item, gap_reason="paused")
                    else:
                        yield item
            for item in (*self._notices, *self._check.finish()):
                yield item
        finally:
            self._ended = True
            await self._leave()

    @property
    def _arrived(self) -> bool:
        """The source has handed out something that was not taken yet."""
        return self._pending is not None and self._pending.done()

    async def _something(self, wants_audio: bool) -> bool:
        """Wait for the source, or a wish; False where a source that should give audio stalls."""
        clock = asyncio.get_running_loop().time
        waiting: set[asyncio.Future[Any]] = set()
        if wants_audio:
            if self._pending is None:
                self._pending = asyncio.ensure_future(self._next())
                self._asked_s = clock()
            waiting.add(self._pending)
        if self._paused:
            self._asked_s = clock()
        patience_s = None
        flows = self.source.live and not (self._paused or self._stalled or self._explained)
        if self._stall_s is not None and flows:
            patience_s = max(0.0, self._asked_s + self._stall_s - clock())
        changed = asyncio.ensure_future(self._changed.wait())
        waiting.add(changed)
        try:
            done, _ = await asyncio.wait(
                waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            changed.cancel()
        self._changed.clear()
        return bool(done)

    async def _next(self) -> SourceItem:
        if self._items is None:
            self._items = aiter(self.source)
        return await anext(self._items)

    def _take(self) -> list[SourceItem] | None:
        """What the source has handed out, made sound; None if it has ended."""
        assert self._pending is not None
        done, self._pending = self._pending, None
        try:
            item = done.result()
            items = self._check.push(item)
        except StopAsyncIteration:
            return None
        except StreamingError as error:
            self.error = error
            return None
        except (Exception, asyncio.CancelledError) as error:  # nobody here has cancelled it
            self.error = SourceError(f"{type(self.source).__name__} failed: {error!r}")
            self.error.__cause__ = error
            return None
        self._explained = not isinstance(item, AudioChunk)
        if isinstance(item, AudioChunk):
            self._heard = True
            if self._stalled:
                self._stalled = False
                items.insert(0, Notice(code="flowing", message="audio comes again"))
        return items

    def _stall(self) -> Iterator[SourceItem]:
        self._stalled = True
        message = f"no audio for {self._stall_s:g} s; waiting for it"
        yield Notice(level="warning", code="stalled", message=message)
        if self._heard:
            yield Flush()  # what was said before should not wait for it

    async def _leave(self) -> None:
        """Stop waiting for the source; one that does not let go is left behind."""
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.wait({self._pending}, timeout=_LEAVE_S)
            if not self._pending.done():
                _LOG.error("%s does not let go", type(self.source).__name__)
                return
            if not self._pending.cancelled():
                self._pending.exception()  # seen
        if isinstance(self._items, AsyncGenerator):
            try:
                async with asyncio.timeout(_LEAVE_S):
                    await self._items.aclose()
            except Exception as error:
                _LOG.error("%s did not end well: %r", type(self.source).__name__, error)
