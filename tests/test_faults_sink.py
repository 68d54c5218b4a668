"""A sink that raises, blocks, or does not close: the others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import (
    ListSink,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    say,
    worker_for,
)
from faults import ENDS_S, FaultySink, Ran, block, raising, run_faulty
from virtual_time import run_virtual

from sinks.notices import NoticesSink
from streaming import delivery, leaving
from streaming.errors import BackendError, NobodyReadsError, SinkError
from streaming.evaluation import check_events
from streaming.events import Committed, Event, Notice, SessionEnded
from streaming.group import PipelineGroup
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Sink

SCRIPT = say(6, 4)
SAID = [word.text for word in SCRIPT.words]
PACES: list[Pace] = ["realtime", "fast", "simulated"]
FULL = SinkError("cannot write talk.txt: No space left on device")


def run(*sinks: Sink, pace: Pace = "simulated", **options: Any) -> Ran:
    return run_faulty(ScriptedBackend(SCRIPT), SCRIPT, sinks=sinks, pace=pace, **options)


def said(events: list[Event]) -> list[str]:
    return [w.text for e in events if isinstance(e, Committed) for w in e.words]


def faults_told(sink: ListSink) -> list[tuple[str, str]]:
    return [
        (e.code, e.message)
        for e in sink.events
        if isinstance(e, Notice) and e.code.startswith("sink_")
    ]


# -- raises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("at", [0, 1, 7])
def test_a_sink_that_raises_is_closed_and_told_and_the_others_get_everything(
    at: int, pace: Pace
) -> None:
    good, bad = ListSink(), FaultySink(at, raising(FULL))
    ran = run(bad, good, pace=pace)
    assert ran.error is FULL  # in the end
    assert ran.text == SAID
    assert good.events == ran.events
    assert ran.reason == "end_of_stream"
    assert faults_told(good) == [("sink_failed", f"{FULL}; going on without it")]
    assert (bad.given, bad.left, bad.is_open) == (at + 1, 1, False)


@pytest.mark.parametrize("pace", PACES)
def test_anything_else_that_a_sink_raises_is_the_same_and_raised_as_it_is(pace: Pace) -> None:
    error, good = ZeroDivisionError("division by zero"), ListSink()
    ran = run(good, FaultySink(2, raising(error)), pace=pace)
    assert ran.error is error
    assert said(good.events) == SAID
    ((code, message),) = faults_told(good)
    assert code == "sink_failed"
    assert message.startswith("FaultySink: ZeroDivisionError('division by zero')")


def test_a_sink_that_fails_after_the_input_has_ended_is_told_among_the_events() -> None:
    class LateSink(ListSink):
        async def write(self, event: Event) -> None:
            if len(said(self.events)) == len(SAID):
                raise FULL
            await super().write(event)

    good = ListSink()
    ran = run(LateSink(), good, pace="fast")
    assert ran.error is FULL
    assert faults_told(good) == [("sink_failed", f"{FULL}; going on without it")]


def test_a_sink_that_fails_at_the_very_last_event_is_told_by_the_log_and_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def at_the_end(event: Event) -> None:
        if isinstance(event, SessionEnded):
            raise FULL

    good = ListSink()
    ran = run(FaultySink(0, at_the_end), good)
    assert ran.error is FULL
    assert check_events(good.events) == []
    assert "No space left" in caplog.text


@pytest.mark.parametrize("pace", PACES)
def test_the_only_sink_that_raises_ends_the_run_at_once(pace: Pace) -> None:
    bad = FaultySink(4, raising(FULL))
    events, error = plain_run(pace, bad)
    assert error is FULL
    assert len(events) == 4
    assert not bad.is_open


def test_the_run_ends_with_the_last_of_its_sinks() -> None:
    first, second = FaultySink(2, raising(FULL)), FaultySink(6, raising(SinkError("no network")))
    events, error = plain_run("fast", first, second)
    assert "no network" in str(error)
    assert len(events) == 6
    assert (first.left, second.left) == (1, 1)


def test_a_run_does_not_go_on_for_a_sink_that_only_tells_notices() -> None:
    events, error = plain_run("fast", FaultySink(4, raising(FULL)), NoticesSink())
    assert error is FULL
    assert len(events) == 4


def test_standard_output_that_nobody_reads_ends_the_run_at_once() -> None:
    events, error = plain_run("fast", FaultySink(4, raising(NobodyReadsError())), ListSink())
    assert isinstance(error, BrokenPipeError)
    assert len(events) == 4


@pytest.mark.parametrize(
    "fault", [BrokenPipeError("its own"), asyncio.CancelledError()], ids=["pipe", "cancelled"]
)
def test_a_pipe_or_a_task_of_a_sink_s_own_that_ends_is_a_fault_like_others(
    fault: BaseException,
) -> None:
    good = ListSink()
    events, error = plain_run("fast", FaultySink(4, raising(fault)), good)
    assert error is not None
    assert isinstance(events[-1], SessionEnded)
    assert good.events == events
    assert [e.code for e in events if isinstance(e, Notice)] == ["sink_failed"]


def plain_run(pace: Pace, *sinks: Sink) -> tuple[list[Event], BaseException | None]:
    """A run that may break off."""
    events: list[Event] = []

    async def scenario() -> None:
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            source = ScriptedSource(chunks_of(SCRIPT.audio()))
            async with (
                asyncio.timeout(ENDS_S),
                Pipeline(source, worker, make_parts(), sinks, pace=pace) as pipeline,
            ):
                async for event in pipeline.events():
                    events.append(event)  # noqa: PERF401 - what came before an error counts

    try:
        asyncio.run(scenario())
    except Exception as error:
        return events, error
    return events, None


# -- several sessions -----------------------------------------------------------------------------


def group_run(*sinks: Sink) -> BaseException | None:
    async def scenario() -> None:
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            pipelines = [
                Pipeline(
                    ScriptedSource(chunks_of(SCRIPT.audio())), worker, make_parts(), pace="fast"
                )
                for _ in range(2)
            ]
            async with asyncio.timeout(ENDS_S), PipelineGroup(pipelines, sinks) as group:
                await group.run()

    try:
        asyncio.run(scenario())
    except Exception as error:
        return error
    return None


def test_a_group_goes_on_without_a_sink_that_fails_and_raises_in_the_end() -> None:
    good, bad = ListSink(), FaultySink(5, raising(FULL))
    assert group_run(good, bad) is FULL
    assert check_events(good.events) == []
    assert len(said(good.events)) == 2 * len(SAID)
    assert faults_told(good) == [("sink_failed", f"{FULL}; going on without it")]
    assert bad.left == 1


def test_a_group_ends_with_the_last_of_its_sinks() -> None:
    bad = FaultySink(5, raising(FULL))
    assert group_run(bad) is FULL
    assert len(bad.events) == 5
    assert bad.left == 1


# -- blocks ---------------------------------------------------------------------------------------


def live_run(*sinks: Sink, **options: Any) -> Ran:
    source = ScriptedSource(chunks_of(SCRIPT.audio()), live=True, paced=True)
    return run(*sinks, source=source, pace="realtime", runner=run_virtual, **options)


def test_a_sink_that_holds_up_live_audio_is_left_after_ten_seconds_and_the_others_go_on() -> None:
    good, bad = ListSink(), FaultySink(3, block)
    ran = live_run(bad, good)
    assert isinstance(ran.error, SinkError)
    assert "FaultySink has taken nothing for 10 s" in str(ran.error)
    ((code, message),) = faults_told(good)
    assert code == "sink_blocked"
    assert message.endswith("; going on without it")
    assert ran.text == SAID  # the script is shorter than what the buffers hold
    assert (bad.given, bad.left) == (4, 1)
    blocked = next(e for e in ran.events if isinstance(e, Notice) and e.code == "sink_blocked")
    assert 10 <= blocked.clock_s <= 12


def test_a_sink_that_blocks_a_file_is_waited_for() -> None:
    async def slow(event: Event) -> None:
        await asyncio.sleep(3600.0)

    good, patient = ListSink(), FaultySink(3, slow)
    ran = run(patient, good, pace="realtime", runner=run_virtual)
    assert ran.error is None
    assert ran.text == SAID
    assert patient.events == good.events
    assert faults_told(good) == []


def test_the_only_sink_is_waited_for_live_as_well_which_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def pause(event: Event) -> None:
        if bad.given == 4:
            await asyncio.sleep(25.0)

    bad = FaultySink(0, pause)
    ran = live_run(bad)
    assert ran.error is None
    assert ran.text == SAID
    assert len(faults_told(bad)) == 1
    assert "FaultySink has taken nothing for 10 s; waiting for it" in caplog.text


# -- entering and leaving -------------------------------------------------------------------------


class Enters(ListSink):
    """Fails on entering."""

    async def __aenter__(self) -> Any:
        raise FULL


class Leaves(ListSink):
    """Does something on leaving."""

    def __init__(self, fault: Callable[[], Awaitable[None]]) -> None:
        super().__init__()
        self.fault = fault

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.fault()
        await super().__aexit__(*exc_info)


async def refuse() -> None:
    raise FULL


async def forever() -> None:
    await asyncio.Event().wait()


def test_a_sink_that_cannot_be_entered_fails_the_start_and_closes_the_others() -> None:
    first = ListSink()
    events, error = plain_run("fast", first, Enters())
    assert (events, error) == ([], FULL)
    assert not first.is_open


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_sink_that_raises_on_leaving_keeps_no_other_open(place: int) -> None:
    sinks: list[ListSink] = [ListSink(), ListSink()]
    sinks.insert(place, Leaves(refuse))
    ran = run(*sinks)
    assert ran.error is FULL
    assert ran.text == SAID
    assert [sink.is_open for sink in sinks] == [sink is sinks[place] for sink in sinks]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_sink_that_hangs_on_leaving_is_left_behind_in_time(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_LEAVE_S", 0.2)
    sinks: list[ListSink] = [ListSink(), ListSink()]
    sinks.insert(place, Leaves(forever))
    began_s = time.monotonic()
    ran = run(*sinks)
    assert time.monotonic() - began_s >= 0.2
    assert isinstance(ran.error, SinkError)
    assert str(ran.error) == "Leaves did not close within 0.2 s and was left behind"
    assert [sink.is_open for sink in sinks] == [sink is sinks[place] for sink in sinks]


def test_what_fails_on_leaving_hides_no_error(caplog: pytest.LogCaptureFixture) -> None:
    backend = ScriptedBackend(SCRIPT, fails_from=2)
    sinks = [ListSink(), Leaves(refuse)]
    ran = run_faulty(backend, SCRIPT, sinks=sinks, pace="simulated")
    assert isinstance(ran.error, BackendError)
    assert caplog.messages == [str(FULL)]
    assert not sinks[0].is_open


def test_a_sink_that_was_left_and_hangs_on_leaving_holds_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stuck(FaultySink):
        async def __aexit__(self, *exc_info: Any) -> None:
            await forever()

    monkeypatch.setattr(delivery, "_LEAVE_S", 0.2)
    good = ListSink()
    ran = run(Stuck(3, raising(FULL)), good)
    assert ran.error is FULL
    assert said(good.events) == SAID
    assert "Stuck did not close within 0.2 s" in caplog.text


def test_a_part_is_left_like_any_context_manager_where_nothing_is_wrong() -> None:
    async def scenario() -> None:
        sink = ListSink()
        async with sink:
            leave = leaving.leaving(sink, name="it", limit_s=1.0, fault=SinkError)
            await leave(None, None, None)
            assert not sink.is_open

    asyncio.run(scenario())
