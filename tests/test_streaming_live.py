from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from concurrent.futures import Future
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import (
    HangingBackend,
    ListSink,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    say,
    until,
    worker_for,
)
from virtual_time import run_virtual

from streaming.audio import AudioChunk, seconds
from streaming.backends.pool import BackendPool, Decoded
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    SessionEnded,
    SpeechEnded,
    SpeechStarted,
    Stats,
)
from streaming.pipeline import Pipeline
from streaming.protocols import Window

TWO_MINUTES = say(*[10] * 24, gap_s=0.06)


def said(events: list[Event]) -> list[str]:
    return [w.text for e in events if isinstance(e, Committed) for w in e.words]


async def collect(pipeline: Pipeline) -> list[Event]:
    async with pipeline, aclosing(pipeline.events()) as events:
        return [event async for event in events]


@pytest.mark.parametrize("live", [True, False])
def test_events_come_on_the_clock_and_the_end_of_input_drains_everything(live: bool) -> None:
    script = say(6, 4)

    async def scenario() -> list[Event]:
        with worker_for(ScriptedBackend(script)) as worker:
            source = ScriptedSource(chunks_of(script.audio()), live=live, paced=True)
            return await collect(Pipeline(source, worker, make_parts()))

    events = run_virtual(scenario())
    assert check_events(events) == []
    assert said(events) == [word.text for word in script.words]
    assert [type(e) for e in events].count(SessionEnded) == 1
    # Speech is found as it is said, and its end once the silence has passed.
    started = [e for e in events if isinstance(e, SpeechStarted)]
    ended = [e for e in events if isinstance(e, SpeechEnded)]
    assert [e.clock_s - e.at_s for e in started] == pytest.approx([0.5] * 2, abs=0.15)
    assert ended[0].clock_s - ended[0].at_s == pytest.approx(0.7, abs=0.15)
    assert events[-1].clock_s >= script.duration_s - 0.2


def test_a_pass_is_due_as_long_after_it_is_asked_for_as_its_patience_lasts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = say(6, end_s=0.0)
    backend = ScriptedBackend(script)
    deadlines_s: list[float | None] = []

    class AtOnce(BackendPool):
        def submit(self, window: Window, *, deadline_s: float | None = None) -> Future[Decoded]:
            deadlines_s.append(deadline_s)
            future: Future[Decoded] = Future()
            future.set_result(Decoded(backend.decode(window), 0.0, 0.0))
            return future

    async def scenario() -> None:
        worker = AtOnce(lambda: backend)
        source = ScriptedSource(chunks_of(script.audio()), live=True, paced=True)
        await collect(Pipeline(source, worker, make_parts(chunk_s=0.7), owns_worker=True))

    monkeypatch.setattr("streaming.passes.time", SimpleNamespace(monotonic=lambda: 1000.0))
    run_virtual(scenario())
    # Nothing is shown yet, then the text runs on, and at last the final waits.
    assert deadlines_s == [1000.1, 1000.7, 1000.7, 1000.7, 1000.0]


def test_waiting_for_another_session_s_pass_is_told_apart_from_the_own_passes() -> None:
    script = say(2)
    backend, submitted = HangingBackend(script), asyncio.Event()

    class Watched(BackendPool):
        def submit(self, window: Window, *, deadline_s: float | None = None) -> Future[Decoded]:
            submitted.set()
            return super().submit(window, deadline_s=deadline_s)

    async def scenario() -> list[Event]:
        worker = Watched(lambda: backend)
        worker.submit(Window(start_sample=0, mel=np.zeros((80, 100), np.float32)))
        await until(backend.entered.is_set, every_s=0.001)
        submitted.clear()
        source = ScriptedSource(chunks_of(script.audio()))
        pipeline = Pipeline(source, worker, make_parts(), owns_worker=True)
        running = asyncio.ensure_future(collect(pipeline))
        await submitted.wait()
        await asyncio.sleep(0.2)
        backend.release.set()
        return await running

    (stats,) = [e for e in asyncio.run(scenario()) if isinstance(e, Stats)]
    assert stats.queue_delay_max_s is not None
    assert stats.queue_delay_max_s >= 0.2 > stats.compute_s


def test_stream_time_starts_when_the_first_sample_was_said() -> None:
    script = say(3)

    async def scenario() -> list[Event]:
        await asyncio.sleep(50.0)
        with worker_for(ScriptedBackend(script)) as worker:
            source = ScriptedSource(chunks_of(script.audio(), 4800), live=True, paced=True)
            return await collect(Pipeline(source, worker, make_parts()))

    events = run_virtual(scenario())
    (started,) = [e for e in events if isinstance(e, SpeechStarted)]
    assert started.clock_s == pytest.approx(0.6)  # the chunk that confirms it has come


def test_a_file_waits_while_passes_hang_and_loses_nothing() -> None:
    async def scenario() -> tuple[int, list[Event]]:
        backend = HangingBackend(TWO_MINUTES)
        with worker_for(backend) as worker:
            source = ScriptedSource(chunks_of(TWO_MINUTES.audio()))
            running = asyncio.ensure_future(collect(Pipeline(source, worker, make_parts())))
            await until(backend.entered.is_set)
            await asyncio.sleep(60.0)  # it reads as much as it may
            taken = source.taken
            backend.release.set()
            return taken, await running

    taken, events = run_virtual(scenario())
    assert taken * 0.1 < 60.0 < TWO_MINUTES.duration_s
    assert check_events(events) == []
    assert not [e for e in events if isinstance(e, AudioDropped)]
    assert said(events) == [word.text for word in TWO_MINUTES.words]


def test_a_live_source_loses_the_oldest_audio_and_every_lost_second_is_told() -> None:
    sink = ListSink()

    async def scenario() -> None:
        backend = HangingBackend(TWO_MINUTES)
        with worker_for(backend) as worker:
            source = ScriptedSource(chunks_of(TWO_MINUTES.audio()), live=True, paced=True)
            running = asyncio.ensure_future(collect(Pipeline(source, worker, make_parts(), [sink])))
            await until(lambda: source.taken >= 1000, every_s=1.0)
            backend.release.set()
            await running

    run_virtual(scenario())
    events = sink.events
    assert check_events(events) == []
    dropped = [(e.start_s, e.end_s) for e in events if isinstance(e, AudioDropped)]
    assert {e.reason for e in events if isinstance(e, AudioDropped)} == {"overload"}
    assert sum(end - start for start, end in dropped) > 30
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.audio_s == pytest.approx(TWO_MINUTES.duration_s)
    # Every word was either heard or lies in what was dropped, with what was cut off around it.
    heard = set(said(events))
    for word in TWO_MINUTES.words:
        lost = any(start - 1.0 < word.end_s and word.start_s < end for start, end in dropped)
        assert (word.text in heard) or lost
    assert len(heard) > 50
    assert [e for e in events if isinstance(e, Notice) and e.code == "overload"]


def test_cancelling_stops_within_a_moment_while_a_pass_hangs() -> None:
    async def scenario() -> None:
        backend = HangingBackend(TWO_MINUTES)
        sink = ListSink()
        source = ScriptedSource(chunks_of(TWO_MINUTES.audio()))
        worker = BackendPool(lambda: backend)
        pipeline = Pipeline(source, worker, make_parts(), [sink], owns_worker=True)
        running = asyncio.ensure_future(collect(pipeline))
        await until(backend.entered.is_set, every_s=0.001)
        began = time.perf_counter()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert time.perf_counter() - began < 0.1
        assert backend.aborts >= 1
        assert not source.is_open
        assert not sink.is_open
        assert asyncio.all_tasks() == {asyncio.current_task()}
        backend.release.set()
        assert worker.close(timeout_s=5)

    asyncio.run(scenario())


def test_a_program_can_end_while_a_pass_hangs() -> None:
    program = """
import asyncio
from fakes import *
from streaming.pipeline import Pipeline
from streaming.backends.pool import BackendPool
script = say(10)
backend = HangingBackend(script)
async def main():
    source = ScriptedSource(chunks_of(script.audio()))
    async with Pipeline(source, BackendPool(lambda: backend), make_parts()) as pipeline:
        await pipeline.run()
async def outer():
    running = asyncio.ensure_future(main())
    while not backend.entered.is_set():
        await asyncio.sleep(0.01)
    running.cancel()
    try:
        await running
    except asyncio.CancelledError:
        print("cancelled")
asyncio.run(outer())
"""
    tests = Path(__file__).parent
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("cancelled\n", "", 0)
    assert time.perf_counter() - began < 10  # the pass would hang for twenty seconds


def test_a_source_that_ends_at_once_is_a_whole_session() -> None:
    async def scenario() -> list[Event]:
        with worker_for(ScriptedBackend(say(1))) as worker:
            return await collect(Pipeline(ScriptedSource([]), worker, make_parts()))

    events = run_virtual(scenario())
    assert [e.type for e in events] == ["session_started", "stats", "session_ended"]


def test_a_gap_in_a_live_source_ends_the_utterance_and_the_clock_goes_on() -> None:
    script = say(3, start_s=0.0, end_s=0.0)
    later = np.full(16_000, 0.2, np.float32)
    items = [*chunks_of(script.audio()), *chunks_of(later, start_sample=80_000)]
    items[-10] = AudioChunk(items[-10].samples, 80_000, "reconnect")

    async def scenario() -> list[Event]:
        with worker_for(ScriptedBackend(script)) as worker:
            source = ScriptedSource(items, live=True, paced=True)
            return await collect(Pipeline(source, worker, make_parts()))

    events = run_virtual(scenario())
    assert check_events(events) == []
    (dropped,) = [e for e in events if isinstance(e, AudioDropped)]
    assert (dropped.start_s, dropped.end_s) == (script.duration_s, seconds(80_000))
    assert dropped.reason == "reconnect"
    assert [e.reason for e in events if isinstance(e, Final)] == ["flush", "end_of_stream"]
    assert events[-1].clock_s >= 5.9


def test_pause_resume_and_flush_while_it_runs() -> None:
    script = say(40, gap_s=0.06)

    async def scenario() -> list[Event]:
        with worker_for(ScriptedBackend(script)) as worker:
            source = ScriptedSource(chunks_of(script.audio()), live=True, paced=True)
            pipeline = Pipeline(source, worker, make_parts())
            running = asyncio.ensure_future(collect(pipeline))
            await until(lambda: source.taken >= 30, every_s=0.1)
            assert pipeline.running
            pipeline.flush()
            await asyncio.sleep(3.0)
            pipeline.pause()
            await asyncio.sleep(3.0)
            pipeline.resume()
            await asyncio.sleep(2.0)
            pipeline.stop()
            return await running

    events = run_virtual(scenario())
    assert check_events(events) == []
    reasons = [e.reason for e in events if isinstance(e, Final)]
    assert reasons == ["flush", "flush", "end_of_stream"]
    (dropped,) = [e for e in events if isinstance(e, AudioDropped)]
    assert dropped.reason == "paused"
    assert dropped.end_s - dropped.start_s == pytest.approx(3.0, abs=0.2)
    assert events[-1].clock_s == pytest.approx(11.0, abs=0.2)
