"""Any faults at any points, at any pace: the promises of the event log hold, and the run ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
from bounded import bounded
from fakes import Noise, ScriptedSource, chunks_of, say
from faults import GARBAGE, Fault, FaultyBackend, FaultySink, block, fail, raising, run_faulty
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from streaming.audio import AudioChunk
from streaming.errors import BackendError, SinkError, SourceError
from streaming.events import Event, Notice, SessionEnded
from streaming.pipeline import Pace
from streaming.protocols import SourceItem

SCRIPT = say(6, 4, 3)
CHUNKS = chunks_of(SCRIPT.audio())

PASS_FAULTS: dict[str, Fault] = {
    "raises": fail(BackendError("no")),
    "bug": fail(ZeroDivisionError("no")),
    "memory": fail(MemoryError()),
    **GARBAGE,
}
SINK_FAULTS: dict[str, Callable[[Event], Awaitable[None]]] = {
    "full": raising(SinkError("the disk is full")),
    "bug": raising(ZeroDivisionError("no")),
    "blocks": block,
}


class Faulty(ScriptedSource):
    """Does something else instead of, or before, some of its chunks."""

    def __init__(self, faults: dict[int, str], *, live: bool, paced: bool) -> None:
        super().__init__(CHUNKS, live=live, paced=paced)
        self.faults = faults

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        number = 0
        async for item in super().__aiter__():
            fault = self.faults.get(number, "")
            number += 1
            assert isinstance(item, AudioChunk)
            if fault == "stalls":
                await asyncio.sleep(30.0 if self.paced else 0.0)
            elif fault == "lost":
                continue
            elif fault == "not finite":
                item = AudioChunk(np.full_like(item.samples, np.nan), item.start_sample)
            elif fault == "again":
                yield AudioChunk(item.samples, max(0, item.start_sample - 4000))
            elif fault == "raises":
                raise SourceError("the cable is out")
            elif fault == "bug":
                raise ZeroDivisionError("no")
            yield item


def places(most: int, what: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[int, Any]]:
    return st.dictionaries(st.integers(0, most), what, max_size=6)


@bounded(60)
@given(
    pace=st.sampled_from(["realtime", "simulated"]),
    live=st.booleans(),
    passes=places(25, st.sampled_from(sorted(PASS_FAULTS))),
    breaks=st.booleans(),
    sinks=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(sorted(SINK_FAULTS))), max_size=3),
    source=places(
        len(CHUNKS), st.sampled_from(["stalls", "lost", "not finite", "again", "raises", "bug"])
    ),
    seed=st.integers(0, 100),
)
def test_whatever_fails_the_promises_hold_and_the_run_ends(
    pace: Pace,
    live: bool,
    passes: dict[int, str],
    breaks: bool,
    sinks: list[tuple[int, str]],
    source: dict[int, str],
    seed: int,
) -> None:
    if not (live and pace == "realtime"):
        sinks = [(at, kind) for at, kind in sinks if kind != "blocks"]  # it is waited for
    always = PASS_FAULTS["raises"] if breaks else None
    faults = {number: PASS_FAULTS[name] for number, name in passes.items()}
    sound = {number: _nothing for number in range(10)} if breaks else {}
    backend = FaultyBackend(
        SCRIPT,
        noise=Noise(unsure=0.2, jitter_s=0.05, loops=0.1, deaf=0.1),
        seed=seed,
        faults={**sound, **faults},
        always=always,
    )
    good = FaultySink(10**9, block)
    bad = [FaultySink(at, SINK_FAULTS[kind]) for at, kind in sinks]
    ran = run_faulty(
        backend,
        SCRIPT,
        source=Faulty(source, live=live, paced=pace == "realtime"),
        sinks=[*bad, good],
        pace=pace,
        runner=run_virtual,
    )
    assert good.events == ran.events  # whose promises are checked
    assert isinstance(ran.events[-1], SessionEnded)
    failed = [sink for sink in bad if sink.given > sink.at]
    told = [e for e in ran.events if isinstance(e, Notice) and e.code.startswith("sink_")]
    assert len(told) <= len(failed)
    assert all(sink.left == 1 for sink in (good, *bad))
    if ran.error is None:
        assert ran.reason == "end_of_stream"
        assert not failed
        assert not {"raises", "bug"} & set(source.values())
    else:
        assert ran.reason in ("end_of_stream", "source_error", "backend_error")


def _nothing(hypothesis: Any, window: Any) -> Any:
    return hypothesis
