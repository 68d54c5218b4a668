"""Drives a session on a virtual clock.

In ``simulated`` pace audio arrives when its chunk would have ended live, each pass takes
what it really took (or a fixed cost), and nothing waits: every event has the ``clock_s`` it
would have had in a live run. With a fixed cost the log is the same from run to run.

In ``fast`` pace a due pass is awaited before more audio is read, as on a machine without
limits, and ``clock_s`` is the wall time that the run has taken so far.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from .audio import AudioChunk, Flush, seconds
from .backends.pool import BackendPool, Decoded
from .events import Event
from .input import Input
from .session import Session, pieces
from .transcriber import Pass

__all__ = ["drive_fast", "drive_simulated"]


@dataclass(frozen=True, slots=True)
class _Running:
    """A pass under way on the virtual clock."""

    due: Pass
    decoded: Decoded
    compute_s: float
    done_at_s: float


class _VirtualCore:
    """The backend as the virtual clock sees it: busy with at most one pass."""

    def __init__(self, session: Session, worker: BackendPool, pass_cost_s: float | None) -> None:
        self._session = session
        self._worker = worker
        self._pass_cost_s = pass_cost_s
        self.running: _Running | None = None

    async def start(self, now_s: float) -> None:
        """Begin the pass that is due, if any."""
        due = self._session.next_pass()
        if due is None:
            return
        decoded = await _decode(self._session, self._worker, due)
        cost_s = decoded.compute_s if self._pass_cost_s is None else self._pass_cost_s
        self.running = _Running(due, decoded, cost_s, now_s + cost_s)

    async def finish(self) -> list[Event]:
        """End the running pass and begin the next one that is due by then."""
        assert self.running is not None
        run, self.running = self.running, None
        events = self._session.complete(
            run.due, run.decoded.hypothesis, run.compute_s, run.done_at_s
        )
        await self.start(run.done_at_s)
        return events


async def _decode(session: Session, worker: BackendPool, due: Pass) -> Decoded:
    return await asyncio.wrap_future(worker.submit(session.window(due)))


async def drive_simulated(
    session: Session,
    items: Input,
    worker: BackendPool,
    *,
    pass_cost_s: float | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the session's events on the virtual clock.

    Args:
        session: a fresh session.
        items: the audio; never dropped, it waits on the virtual clock too.
        worker: decodes.
        pass_cost_s: what every pass takes; None takes what it really took.
    """
    core = _VirtualCore(session, worker, pass_cost_s)
    now_s = 0.0
    for event in session.start(now_s):
        yield event
    async for item in items:
        for piece in [item] if isinstance(item, Flush) else pieces(item):
            arrival_s = seconds(session.audio_end)
            if isinstance(piece, AudioChunk):
                arrival_s = seconds(piece.end_sample)
            while core.running and (core.running.done_at_s <= arrival_s or not session.has_room):
                now_s = core.running.done_at_s
                for event in await core.finish():
                    yield event
            now_s = max(now_s, arrival_s)
            events = (
                session.flush(now_s) if isinstance(piece, Flush) else session.feed(piece, now_s)
            )
            for event in events:
                yield event
            if core.running is None:
                await core.start(now_s)
    for event in session.finish(now_s):
        yield event
    if core.running is None:
        await core.start(now_s)
    while core.running:
        now_s = core.running.done_at_s
        for event in await core.finish():
            yield event
    for event in session.end(now_s, items.error):
        yield event


async def drive_fast(
    session: Session, items: Input, worker: BackendPool
) -> AsyncGenerator[Event, None]:
    """Yield the session's events as fast as the machine can."""
    zero_s = time.perf_counter()

    def clock_s() -> float:
        return time.perf_counter() - zero_s

    async def decode_due() -> list[Event]:
        events: list[Event] = []
        while (due := session.next_pass()) is not None:
            decoded = await _decode(session, worker, due)
            events += session.complete(
                due, decoded.hypothesis, decoded.compute_s, clock_s(), queue_s=decoded.queue_s
            )
        return events

    for event in session.start(0.0):
        yield event
    async for item in items:
        for piece in [item] if isinstance(item, Flush) else pieces(item):
            if isinstance(piece, Flush):
                events = session.flush(clock_s())
            else:
                events = session.feed(piece, clock_s())
            for event in events + await decode_due():
                yield event
    for event in session.finish(clock_s()) + await decode_due():
        yield event
    for event in session.end(clock_s(), items.error):
        yield event
