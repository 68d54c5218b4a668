"""A recording, with the gaps and flushes that the session of its time met."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from streaming.audio import AudioChunk, Flush, samples_from_seconds
from streaming.errors import ConfigurationError, SourceError
from streaming.events import AudioDropped, Event, Flushed
from streaming.protocols import Source, SourceItem

__all__ = ["ReplaySource"]


@dataclass(frozen=True, slots=True)
class _Mark:
    start_sample: int
    end_sample: int
    """That of a flush is its start."""
    reason: str | None
    """Why the audio between them was lost; None for a flush."""


class ReplaySource:
    """Gives a session to hear what another one heard.

    A file has silence where audio was lost, and nothing where somebody closed an utterance;
    the log of the session has both. With the same options, at pace simulated and with a fixed
    pass cost, the run over a recording of `sources.record.RecordingSource` and its log says
    what the run said over the source itself.

    Args:
        source: the recording, not entered yet.
        log: events of one session that heard it.

    Raises:
        ConfigurationError: the log has several sessions.
    """

    live = False

    def __init__(self, source: Source, log: Iterable[Event]) -> None:
        self._source = source
        self._marks: deque[_Mark] = deque()
        sessions = set()
        for event in log:
            sessions.add(event.session)
            if isinstance(event, Flushed):
                self._marks.append(_Mark(event.at_sample, event.at_sample, None))
            elif isinstance(event, AudioDropped):
                self._marks.append(_lost(event))
        if len(sessions) > 1:
            raise ConfigurationError("the event log has several sessions; replay one at a time")
        self.n_marks = len(self._marks)
        """Gaps and flushes."""
        self._gap_reason = ""
        self._ready: deque[SourceItem] = deque()
        self._items: AsyncIterator[SourceItem] | None = None

    async def __aenter__(self) -> Self:
        await self._source.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._source.__aexit__(exc_type, exc, traceback)

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        self._items = aiter(self._source)
        return self

    async def __anext__(self) -> SourceItem:
        if self._items is None:
            raise SourceError("a source is iterated inside `async with`")
        while not self._ready:
            try:
                item = await anext(self._items)
            except StopAsyncIteration:
                self._ready.extend(Flush() for mark in self._marks if mark.reason is None)
                self._marks.clear()
                if self._ready:
                    break
                raise
            self._ready.extend(self._pieces(item) if isinstance(item, AudioChunk) else [item])
        return self._ready.popleft()

    def _pieces(self, chunk: AudioChunk) -> Iterator[SourceItem]:
        """A chunk without what was lost of it, and with the flushes."""
        while self._marks and self._marks[0].start_sample < chunk.end_sample:
            mark = self._marks[0]
            if mark.start_sample > chunk.start_sample:
                before, chunk = _cut(chunk, mark.start_sample)
                yield self._heard(before)
            if mark.reason is None:
                yield Flush()
            else:
                self._gap_reason = mark.reason
                if mark.end_sample >= chunk.end_sample:
                    return
                _, chunk = _cut(chunk, max(mark.end_sample, chunk.start_sample))
            self._marks.popleft()
        yield self._heard(chunk)

    def _heard(self, chunk: AudioChunk) -> AudioChunk:
        reason, self._gap_reason = self._gap_reason or chunk.gap_reason, ""
        return replace(chunk, gap_reason=reason)


def _lost(event: AudioDropped) -> _Mark:
    if event.end_sample:
        return _Mark(event.start_sample, event.end_sample, event.reason)
    start, end = samples_from_seconds(event.start_s), samples_from_seconds(event.end_s)
    return _Mark(start, end, event.reason)


def _cut(chunk: AudioChunk, at_sample: int) -> tuple[AudioChunk, AudioChunk]:
    n_before = at_sample - chunk.start_sample
    after = AudioChunk(chunk.samples[n_before:], at_sample)
    return replace(chunk, samples=chunk.samples[:n_before]), after
