"""A larger model beside the live one, on every driver."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import aclosing, closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from fakes import (
    HangingBackend,
    ListSink,
    Noise,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    say,
    until,
    worker_for,
)
from virtual_time import run_virtual

from streaming.audio import AudioChunk, Flush
from streaming.backends.pool import BackendPool, Decoded
from streaming.errors import BackendError, ModelError
from streaming.evaluation import check_events
from streaming.events import (
    Event,
    Final,
    Notice,
    Refined,
    SessionEnded,
    SessionStarted,
    Stats,
    event_to_json,
)
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Backend, Window

SCRIPT = say(6, 4, 5)
MANY = say(*[2] * 14)
PACES = ["realtime", "fast", "simulated"]


def large(script: Any = SCRIPT, **options: Any) -> ScriptedBackend:
    return ScriptedBackend(script, model="large", **options)


def hanging(script: Any = MANY) -> HangingBackend:
    backend = HangingBackend(script)
    backend.model = "large"
    return backend


def source(script: Any = SCRIPT, **options: Any) -> ScriptedSource:
    return ScriptedSource(chunks_of(script.audio()), **options)


@contextmanager
def pipeline(
    audio: ScriptedSource,
    live: ScriptedBackend,
    final: ScriptedBackend | BackendPool | None,
    sink: ListSink | None = None,
    **options: Any,
) -> Iterator[Pipeline]:
    """A pipeline on workers that are closed afterwards."""
    worker = final if isinstance(final, BackendPool) else None
    if final is not None and worker is None:
        worker = BackendPool(lambda: final)  # type: ignore[arg-type, return-value]
    parts = make_parts()
    sinks = [] if sink is None else [sink]
    with worker_for(live) as live_worker:
        try:
            yield Pipeline(audio, live_worker, parts, sinks, final_worker=worker, **options)
        finally:
            if isinstance(final, HangingBackend):
                final.release.set()
            if worker is not None:
                worker.close()


async def collect(made: Pipeline) -> list[Event]:
    async with made, aclosing(made.events()) as events:
        return [event async for event in events]


def run(
    final: ScriptedBackend | None, pace: Pace, *, script: Any = SCRIPT, **options: Any
) -> list[Event]:
    """Run on a script; at pace simulated a pass costs 0.3 s."""
    options = {**({"pass_cost_s": 0.3} if pace == "simulated" else {}), **options}

    async def scenario() -> list[Event]:
        with pipeline(source(script), ScriptedBackend(script), final, pace=pace, **options) as made:
            return await collect(made)

    return asyncio.run(scenario())


def finals_of(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final) and event.words]


def refined_of(events: list[Event]) -> dict[int, Refined]:
    return {event.utterance: event for event in events if isinstance(event, Refined)}


def notices_of(events: list[Event]) -> list[str]:
    """But those about the load, which a clock that jumps makes look high."""
    load = ("overload", "keeping_up")
    return [e.message for e in events if isinstance(e, Notice) and e.code not in load]


# -- whatever drives --------------------------------------------------------------------------


@pytest.mark.parametrize("pace", PACES)
def test_every_utterance_is_refined_after_it_is_final(pace: Pace) -> None:
    events = run(large(), pace)
    assert check_events(events) == []
    refined = refined_of(events)
    assert [(f.utterance, f.text) for f in finals_of(events)] == [
        (number, refined[number].text) for number in sorted(refined)
    ]
    assert len(refined) == 3
    assert {event.model for event in refined.values()} == {"large"}
    assert notices_of(events) == []
    started = events[0]
    assert isinstance(started, SessionStarted)
    assert "final_model" in started.options


@pytest.mark.parametrize("pace", PACES)
def test_without_a_final_model_nothing_is_refined_nor_promised(pace: Pace) -> None:
    events = run(None, pace)
    assert not refined_of(events)
    started = events[0]
    assert isinstance(started, SessionStarted)
    assert "final_model" not in started.options


@pytest.mark.parametrize("pace", PACES)
def test_a_final_model_that_fails_ends_the_refining_and_the_run_tells_at_the_end(
    pace: Pace,
) -> None:
    sink = ListSink()

    async def scenario() -> None:
        final = large(fails_at=1)
        with pipeline(source(), ScriptedBackend(SCRIPT), final, sink, pace=pace) as made:
            await collect(made)

    with pytest.raises(BackendError, match="script says"):
        asyncio.run(scenario())
    assert check_events(sink.events) == []
    assert [e.model for e in refined_of(sink.events).values()] == ["large", "script", "script"]
    errors = [e for e in sink.events if isinstance(e, Notice) and e.level == "error"]
    assert [e.code for e in errors] == ["final_model_error"]
    ended = sink.events[-1]
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "end_of_stream"


@pytest.mark.parametrize("pace", ["fast", "simulated"])  # the number of passes is certain there
def test_a_live_model_that_fails_leaves_no_final_without_an_answer(pace: Pace) -> None:
    sink = ListSink()

    async def scenario() -> None:
        live = ScriptedBackend(SCRIPT, fails_from=9)
        with pipeline(source(), live, large(), sink, pace=pace) as made:
            await collect(made)

    with pytest.raises(BackendError, match="script says"):
        asyncio.run(scenario())
    assert check_events(sink.events) == []
    assert finals_of(sink.events)


@pytest.mark.parametrize("pace", PACES)
def test_a_final_model_that_cannot_be_had_is_told_before_anything_is_opened(pace: Pace) -> None:
    def load() -> Backend:
        raise ModelError("no such model")

    sink, final = ListSink(), BackendPool(load)
    final.start()
    assert isinstance(final.loaded.exception(5), ModelError)

    async def scenario() -> None:
        with pipeline(source(), ScriptedBackend(SCRIPT), final, sink, pace=pace) as made:
            await collect(made)

    with pytest.raises(ModelError, match="no such model"):
        asyncio.run(scenario())
    assert sink.events == []


def test_a_worker_of_its_own_is_closed_with_the_pipeline() -> None:
    for owned in (False, True):
        final = large()
        worker = BackendPool(lambda final=final: final)  # type: ignore[misc]
        with pipeline(
            source(), ScriptedBackend(SCRIPT), worker, pace="fast", owns_final_worker=owned
        ) as made:
            asyncio.run(collect(made))
            if owned:
                with pytest.raises(BackendError, match="closed"):
                    worker.submit(final.windows[0])
            else:
                assert worker.submit(final.windows[0]).result(5)


# -- live -------------------------------------------------------------------------------------


def test_no_live_text_waits_for_a_final_model_and_the_end_waits_ten_seconds() -> None:
    async def scenario() -> list[Event]:
        audio = source(live=True, paced=True)
        with pipeline(audio, ScriptedBackend(SCRIPT), hanging()) as made:
            return await collect(made)

    events = run_virtual(scenario())
    assert check_events(events) == []
    finals = finals_of(events)
    assert len(finals) == 3
    assert [e for e in events if isinstance(e, Final | Refined)][:3] == finals
    assert [e.text for e in refined_of(events).values()] == [f.text for f in finals]
    assert {e.model for e in refined_of(events).values()} == {"script"}
    assert notices_of(events) == ["not refined before the end: utterance 0, 1, 2"]
    assert events[-1].clock_s - finals[-1].clock_s == pytest.approx(10.0, abs=0.1)


def test_too_many_that_wait_are_told_while_the_stream_goes_on() -> None:
    async def scenario() -> list[Event]:
        audio = source(MANY, live=True, paced=True)
        with pipeline(audio, ScriptedBackend(MANY), hanging()) as made:
            return await collect(made)

    events = run_virtual(scenario())
    assert check_events(events) == []
    assert len(finals_of(events)) == 14
    told = [e for e in events if isinstance(e, Notice) and e.code == "not_refined"]
    assert [e.message.split(":")[0] for e in told[:-1]] == [
        f"utterance {number} was not refined" for number in range(9, 14)
    ]
    assert told[0].clock_s == finals_of(events)[9].clock_s


@pytest.mark.parametrize("pace", PACES)
def test_only_live_passes_have_a_deadline(pace: Pace) -> None:
    deadlines_s: dict[str, list[float | None]] = {"script": [], "large": []}

    class Watched(BackendPool):
        def submit(self, window: Window, *, deadline_s: float | None = None) -> Future[Decoded]:
            deadlines_s[self.loaded.result().model].append(deadline_s)
            return super().submit(window, deadline_s=deadline_s)

    async def scenario() -> None:
        with closing(Watched(large)) as final, closing(Watched(lambda: live)) as worker:
            await collect(Pipeline(source(), worker, make_parts(), pace=pace, final_worker=final))

    live = ScriptedBackend(SCRIPT)
    asyncio.run(scenario())
    assert {s is not None for s in deadlines_s["script"]} == {pace == "realtime"}
    assert deadlines_s["large"] == [None] * 3


def test_a_file_waits_for_the_final_model_and_every_utterance_is_refined() -> None:
    script = say(*[2] * 24)

    async def scenario() -> tuple[list[int], list[Event]]:
        final, sink = hanging(script), ListSink()
        n_finals = []
        with pipeline(source(script), ScriptedBackend(script), final, sink) as made:
            running = asyncio.ensure_future(collect(made))
            await until(lambda: final.entered.is_set() and len(finals_of(sink.events)) >= 9)
            for _ in range(2):
                await asyncio.sleep(600.0)
                await asyncio.to_thread(time.sleep, 0.1)  # threads have time of their own
                n_finals.append(len(finals_of(sink.events)))
            final.release.set()
            return n_finals, await running

    n_finals, events = run_virtual(scenario())
    assert n_finals[0] == n_finals[1]
    # One is being heard and eight wait; as many as eight more were closed already, and had their
    # last pass by the live model still to come.
    assert 9 <= n_finals[0] <= 17
    assert check_events(events) == []
    assert notices_of(events) == []
    assert {e.model for e in refined_of(events).values()} == {"large"}
    assert len(refined_of(events)) == 24


def test_a_file_that_has_ended_waits_for_as_long_as_it_takes() -> None:
    async def scenario() -> list[Event]:
        final, audio = hanging(), source(say(4))
        with pipeline(audio, ScriptedBackend(say(4)), final) as made:
            running = asyncio.ensure_future(collect(made))
            await until(final.entered.is_set)
            await asyncio.sleep(600.0)
            assert not running.done()
            final.release.set()
            return await running

    events = run_virtual(scenario())
    assert [e.model for e in refined_of(events).values()] == ["large"]
    assert notices_of(events) == []


def test_a_file_that_is_stopped_waits_ten_seconds() -> None:
    async def scenario() -> tuple[list[Event], float]:
        final, audio = hanging(), source(MANY, paced=True)
        with pipeline(audio, ScriptedBackend(MANY), final) as made:
            running = asyncio.ensure_future(collect(made))
            await until(final.entered.is_set, every_s=0.1)
            made.stop()
            clock = asyncio.get_running_loop().time
            stopped_s = clock()
            return await running, clock() - stopped_s

    events, took_s = run_virtual(scenario())
    assert check_events(events) == []
    assert took_s == pytest.approx(10.0, abs=0.5)
    assert "not refined before the end: utterance 0" in notices_of(events)[0]


def test_a_file_that_is_stopped_after_its_end_waits_ten_seconds_from_then() -> None:
    async def scenario() -> tuple[list[Event], float]:
        final, sink, audio = hanging(), ListSink(), source(paced=True)
        clock = asyncio.get_running_loop().time
        with pipeline(audio, ScriptedBackend(SCRIPT), final, sink) as made:
            running = asyncio.ensure_future(collect(made))
            await until(lambda: len(finals_of(sink.events)) == 3, every_s=0.1)
            await asyncio.sleep(30.0)
            assert not running.done()
            made.stop()
            stopped_s = clock()
            return await running, clock() - stopped_s

    events, took_s = run_virtual(scenario())
    assert check_events(events) == []
    assert took_s == pytest.approx(10.0, abs=0.6)
    assert notices_of(events) == ["not refined before the end: utterance 0, 1, 2"]


def test_cancelling_stops_within_a_moment_while_the_final_model_hangs() -> None:
    async def scenario() -> None:
        final, sink, audio = hanging(), ListSink(), source(MANY)
        with pipeline(audio, ScriptedBackend(MANY), final, sink) as made:
            running = asyncio.ensure_future(collect(made))
            await until(final.entered.is_set, every_s=0.001)
            began = time.perf_counter()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert time.perf_counter() - began < 0.1
            assert final.aborts >= 1
            assert not audio.is_open
            assert not sink.is_open
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_listening_begins_while_the_final_model_still_loads() -> None:
    go, final = threading.Event(), large()

    def load() -> Backend:
        go.wait(20)
        return final

    async def scenario() -> list[Event]:
        got: list[Event] = []
        with pipeline(source(), ScriptedBackend(SCRIPT), BackendPool(load)) as made:
            async with made, aclosing(made.events()) as events:
                async for event in events:
                    got.append(event)
                    if isinstance(event, Final) and event.utterance == 1:
                        assert not refined_of(got)
                        go.set()
        return got

    events = asyncio.run(scenario())
    assert check_events(events) == []
    assert {e.model for e in refined_of(events).values()} == {"large"}


def test_a_final_model_that_cannot_be_loaded_in_the_end_is_told_as_soon_as_it_is_known() -> None:
    go, sink = threading.Event(), ListSink()

    def load() -> Backend:
        go.wait(20)
        raise ModelError("the network went away")

    class Late(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
            go.set()
            await until(lambda: notices_of(sink.events), every_s=0.001)
            async for item in super().__aiter__():
                yield item

    async def scenario() -> None:
        audio = Late(chunks_of(SCRIPT.audio()), live=True)
        with pipeline(audio, ScriptedBackend(SCRIPT), BackendPool(load), sink) as made:
            await collect(made)

    with pytest.raises(ModelError, match="the network went away"):
        asyncio.run(scenario())
    assert check_events(sink.events) == []
    assert notices_of(sink.events) == ["the network went away"]
    assert {e.model for e in refined_of(sink.events).values()} == {"script"}


def test_sessions_share_a_final_model_and_each_hears_its_own() -> None:
    async def scenario() -> list[list[Event]]:
        final = BackendPool(large)
        with (
            pipeline(source(), ScriptedBackend(SCRIPT), final) as one,
            pipeline(source(say(7)), ScriptedBackend(say(7)), final) as other,
        ):
            return list(await asyncio.gather(collect(one), collect(other)))

    for events, n_utterances in zip(asyncio.run(scenario()), (3, 1), strict=True):
        assert check_events(events) == []
        assert len(refined_of(events)) == n_utterances
        assert {e.model for e in refined_of(events).values()} == {"large"}


def test_a_shared_final_model_that_was_closed_is_told_and_the_text_goes_on() -> None:
    sink, final = ListSink(), BackendPool(large)

    async def scenario() -> None:
        with pipeline(source(), ScriptedBackend(SCRIPT), final, sink) as made:
            async with made:
                assert final.close(timeout_s=5)
                await made.run()

    with pytest.raises(BackendError, match="closed"):
        asyncio.run(scenario())
    assert check_events(sink.events) == []
    assert len(finals_of(sink.events)) == 3
    assert {e.model for e in refined_of(sink.events).values()} == {"script"}


# -- simulated and fast -----------------------------------------------------------------------


def test_the_final_model_has_a_virtual_core_of_its_own() -> None:
    events = run(large(MANY), "simulated", script=MANY, pass_cost_s=2.5)
    assert check_events(events) == []
    refined, free_s = refined_of(events), 0.0
    for final in finals_of(events):
        free_s = max(free_s, final.clock_s) + 2.5
        assert refined[final.utterance].clock_s == pytest.approx(free_s)


def test_the_live_log_is_what_it_is_without_a_final_model() -> None:
    def live_log(final: ScriptedBackend | None) -> list[str]:
        events = run(final, "simulated")
        return [
            event_to_json(replace(event, seq=0))
            for event in events
            if not isinstance(event, Refined | SessionStarted | SessionEnded | Stats)
        ]

    assert live_log(large()) == live_log(None)


def test_with_a_given_cost_the_log_is_the_same_byte_for_byte() -> None:
    noise = Noise(unsure=0.5, jitter_s=0.1, loops=0.4, deaf=0.2)
    logs = [
        [event_to_json(event) for event in run(large(MANY, noise=noise), "simulated", script=MANY)]
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert any('"refined"' in line for line in logs[0])


def test_at_pace_fast_an_utterance_is_refined_before_more_is_read() -> None:
    events = run(large(), "fast")
    spoken = [e for e in events if isinstance(e, Final | Refined)]
    assert [type(e) for e in spoken] == [Final, Refined] * 3
    for final, refined in zip(spoken[::2], spoken[1::2], strict=True):
        assert final.seq + 1 == refined.seq


def test_at_pace_fast_no_final_waits_for_the_final_model() -> None:
    async def scenario() -> None:
        final = hanging()
        with pipeline(source(), ScriptedBackend(SCRIPT), final, pace="fast") as made:
            async with made, aclosing(made.events()) as events:
                async for event in events:
                    if isinstance(event, Final) and event.utterance == 0:
                        assert final.passes == 0
                        final.release.set()

    asyncio.run(scenario())
