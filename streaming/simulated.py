"""Drives a session on a virtual clock.

In ``simulated`` pace audio arrives as it was said, a tenth of a second at a time whatever the
chunks are, each pass takes what it really took (or a fixed cost), and nothing waits: every
event has the ``clock_s`` it would have had in a live run on a core for each model. With a
fixed cost the log is the same from run to run.

In ``fast`` pace due work is awaited before more audio is read, as on a machine without
limits, and ``clock_s`` is the wall time that the run has taken so far.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from .audio import AudioChunk, seconds
from .events import Event
from .input import Input
from .passes import Work
from .protocols import SourceItem
from .regular import Regular
from .session import Session, pieces

__all__ = ["drive_fast", "drive_simulated"]


@dataclass(slots=True)
class _Core:
    """One model as the virtual clock sees it: busy with at most one piece of work."""

    work: Work
    cost_s: float = 0.0
    done_at_s: float = math.inf
    """Infinity while nothing runs."""


class _VirtualCores:
    """A core for each model."""

    def __init__(self, works: Sequence[Work], pass_cost_s: float | None) -> None:
        self._cores = [_Core(work) for work in works]
        self._pass_cost_s = pass_cost_s

    @property
    def _first(self) -> _Core:
        return min(self._cores, key=lambda core: core.done_at_s)

    @property
    def next_s(self) -> float:
        """When the next one is done; infinity while none is busy."""
        return self._first.done_at_s

    async def start(self, now_s: float) -> None:
        """Begin what is due on the cores that are free."""
        for core in self._cores:
            if core.done_at_s == math.inf and (took_s := await _decode(core.work)) is not None:
                core.cost_s = took_s if self._pass_cost_s is None else self._pass_cost_s
                core.done_at_s = now_s + core.cost_s

    async def finish(self) -> list[Event]:
        """End what is done first, and begin what is due by then."""
        core = self._first
        now_s, core.done_at_s = core.done_at_s, math.inf
        events = core.work.finish(now_s, core.cost_s)
        await self.start(now_s)
        return events


async def _decode(work: Work) -> float | None:
    """Do what is due, up to its `Work.finish`.

    Returns:
        Seconds that it took; None if nothing was due.
    """
    work.start()
    if work.running is None:
        return None
    await asyncio.wait([work.running])
    decoded = None if work.running.exception() else work.running.result()
    return decoded.compute_s if decoded else 0.0


async def _regular(items: Input) -> AsyncGenerator[SourceItem, None]:
    regular = Regular()
    async for item in items:
        for piece in regular.push(item):
            yield piece
    for piece in regular.flush():
        yield piece


async def drive_simulated(
    session: Session,
    items: Input,
    works: Sequence[Work],
    *,
    pass_cost_s: float | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the session's events on the virtual clock.

    Args:
        session: a fresh session.
        items: the audio; never dropped, it waits on the virtual clock too.
        works: its passes, and its refinements if there are any.
        pass_cost_s: what every pass takes; None takes what it really took.
    """
    cores = _VirtualCores(works, pass_cost_s)
    now_s = 0.0
    for event in session.start(now_s):
        yield event
    async with aclosing(_regular(items)) as arriving:
        async for piece in arriving:
            arrival_s = seconds(session.audio_end)
            if isinstance(piece, AudioChunk):
                arrival_s = seconds(piece.end_sample)
            while cores.next_s <= arrival_s or (cores.next_s < math.inf and not session.has_room):
                now_s = cores.next_s
                for event in await cores.finish():
                    yield event
            now_s = max(now_s, arrival_s)
            for event in session.take(piece, now_s):
                yield event
            await cores.start(now_s)
    for event in session.finish(now_s):
        yield event
    await cores.start(now_s)
    while cores.next_s < math.inf:
        now_s = cores.next_s
        for event in await cores.finish():
            yield event
    for event in session.end(now_s, items.error):
        yield event


async def drive_fast(
    session: Session, items: Input, works: Sequence[Work]
) -> AsyncGenerator[Event, None]:
    """Yield the session's events as fast as the machine can."""
    zero_s = time.perf_counter()

    def clock_s() -> float:
        return time.perf_counter() - zero_s

    async def decode_due() -> AsyncIterator[Event]:
        for work in works:
            while await _decode(work) is not None:
                for event in work.finish(clock_s()):
                    yield event

    for event in session.start(0.0):
        yield event
    async for item in items:
        for piece in pieces(item):
            for event in session.take(piece, clock_s()):
                yield event
            async for event in decode_due():
                yield event
    for event in session.finish(clock_s()):
        yield event
    async for event in decode_due():
        yield event
    for event in session.end(clock_s(), items.error):
        yield event
