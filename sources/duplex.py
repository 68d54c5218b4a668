"""Both ends of a call: the microphone, and what the machine plays, on one clock.

On loudspeakers the microphone hears the other end too; that echo is removed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from streaming.audio import AudioChunk, samples_from_seconds
from streaming.errors import SourceError
from streaming.protocols import Source, SourceItem

from ._echo import ArrivalClock, EchoRemover
from ._fan import Fan

__all__ = ["CHUNK_S", "duplex"]

CHUNK_S = 0.05
"""What the two should come in: heard audio waits for what is played."""

_CATCH_UP_LIMIT_S = 1.0
"""How long the two may take at first to show when they began."""
_PATIENCE_S = 0.25
"""How long heard audio waits for what was played; a device that plays nothing may say nothing."""

_Step = tuple[Sequence[SourceItem], Sequence[SourceItem]]


def duplex(near: Source, far: Source, *, remove_echo: bool = True) -> tuple[Source, Source]:
    """Two sources that run together: what ``near`` hears without ``far``, and ``far``.

    Sample 0 of both is the same moment; the device that started later begins with silence.

    Args:
        near: live audio of the microphone.
        far: live audio of what is played.
        remove_echo: False leaves what the microphone hears as it is: with headphones, say.

    Raises:
        ConfigurationError: the package for echo cancellation is not installed.
    """
    fan = Fan(_Duplex(near, far, EchoRemover() if remove_echo else None), 2)
    return fan.members[0], fan.members[1]


@dataclass(slots=True)
class _End:
    """One of the two, as far as it was read."""

    source: Source
    clock: ArrivalClock
    items: AsyncIterator[SourceItem] | None = None
    pending: asyncio.Task[SourceItem] | None = None
    pad: int = 0
    """Silence before its first sample: it started so much later than the other."""
    begun: bool = False
    asked_s: float = 0.0
    caught_up: bool = False
    """It made us wait: what it gives is new, and not from before we asked."""
    ended: bool = False
    error: SourceError | None = None

    def ask(self, now_s: float) -> None:
        """Ask for the next item, if none is asked for."""
        if self.items is None:
            self.items = aiter(self.source)
        if self.pending is None and not self.ended:
            self.asked_s = now_s
            self.pending = asyncio.ensure_future(anext(self.items))

    def take(self, now_s: float) -> list[SourceItem]:
        """What has come, if anything has."""
        if self.pending is None or not self.pending.done():
            return []
        done, self.pending = self.pending, None
        try:
            item = done.result()
        except (StopAsyncIteration, SourceError) as end:
            self.ended = True
            self.error = end if isinstance(end, SourceError) else None
            return []
        if isinstance(item, AudioChunk):
            self.clock.observe(now_s, item.end_sample)
            self.caught_up |= now_s - self.asked_s > item.duration_s / 2
        return [item]


class _Duplex:
    live = True

    def __init__(self, near: Source, far: Source, remover: EchoRemover | None) -> None:
        self._near = _End(near, ArrivalClock())
        self._far = _End(far, ArrivalClock())
        self._remover = remover
        self._heard: deque[tuple[float, SourceItem]] = deque()
        """Of the microphone, until what was played is known; with the time of arrival."""
        self._said: deque[SourceItem] = deque()
        """Of what is played, until it is handed on."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for end in (self._near, self._far):
                await stack.enter_async_context(end.source)
            self._stack = stack.pop_all()
        self._clock = asyncio.get_running_loop().time
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pending = [end.pending for end in (self._near, self._far) if end.pending]
        for task in pending:
            task.cancel()
        try:
            await asyncio.gather(*pending, return_exceptions=True)
        finally:
            await self._stack.__aexit__(exc_type, exc, traceback)

    def __aiter__(self) -> AsyncIterator[_Step]:
        return self._steps()

    async def _steps(self) -> AsyncGenerator[_Step, None]:
        await self._catch_up()
        while True:
            while self._said:
                yield [], self._moved(self._far, self._near, self._said.popleft())
            for item in self._cleared():
                yield self._moved(self._near, self._far, item), []
            for end in (self._near, self._far):
                if end.error is not None:
                    raise end.error
            if self._near.ended and self._far.ended:
                return
            await self._wait(self._due_s())
            self._read()

    def _read(self) -> None:
        """Take what has come."""
        now_s = self._clock()
        for item in self._near.take(now_s):
            self._heard.append((now_s, item))
        for item in self._far.take(now_s):
            if self._remover is not None and isinstance(item, AudioChunk):
                self._remover.played(item.samples, item.start_sample)
            self._said.append(item)

    async def _catch_up(self) -> None:
        """Read what has gathered since the devices started: their clocks show only after it."""
        until_s = self._clock() + _CATCH_UP_LIMIT_S
        ends = (self._near, self._far)
        while not all(end.caught_up or end.ended for end in ends) and self._clock() < until_s:
            await self._wait(until_s - self._clock())
            self._read()

    @property
    def _ahead_s(self) -> float:
        """How much later sample 0 of what is played is than sample 0 of what is heard."""
        ahead_s = self._far.clock.zero_s - self._near.clock.zero_s
        return ahead_s if math.isfinite(ahead_s) else 0.0

    async def _wait(self, timeout_s: float | None) -> None:
        """Until something comes, or heard audio has waited long enough."""
        pending = []
        for end in (self._near, self._far):
            end.ask(self._clock())
            if end.pending is not None:
                pending.append(end.pending)
        if pending:
            await asyncio.wait(pending, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    def _moved(self, end: _End, other: _End, item: SourceItem) -> list[SourceItem]:
        """An item on the clock that both share."""
        if not isinstance(item, AudioChunk):
            return [item]
        silence = []
        if not end.begun:
            end.begun = True
            later_s = end.clock.zero_s - other.clock.zero_s
            end.pad = samples_from_seconds(max(0.0, later_s)) if math.isfinite(later_s) else 0
            if end.pad:
                silence = [AudioChunk(np.zeros(end.pad, np.float32), 0)]
        return [*silence, replace(item, start_sample=item.start_sample + end.pad)]

    def _due_s(self) -> float | None:
        """How long the oldest heard audio may wait on."""
        return max(0.0, self._heard[0][0] + _PATIENCE_S - self._clock()) if self._heard else None

    def _cleared(self) -> Iterator[SourceItem]:
        """Heard audio, without echo, that need not wait any longer."""
        while self._heard:
            arrival_s, item = self._heard[0]
            if self._remover is not None and isinstance(item, AudioChunk):
                needed = self._remover.needs(item.end_sample, self._ahead_s)
                ended = self._far.ended or self._near.error is not None
                late = ended or self._clock() >= arrival_s + _PATIENCE_S
                if self._remover.played_end < needed and not late:
                    return
                item = replace(item, samples=self._remover.remove(item.samples, needed))
            self._heard.popleft()
            yield item
