from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Self

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

from streaming.audio import AudioChunk, Flush
from streaming.backends.pool import BackendPool
from streaming.errors import (
    BackendError,
    ConfigurationError,
    ModelError,
    SinkError,
    SourceError,
)
from streaming.evaluation import check_events
from streaming.events import Committed, Event, Final, Notice, Partial, SessionEnded, SessionStarted
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Backend

SCRIPT = say(6, 4)


def source(**options: Any) -> ScriptedSource:
    return ScriptedSource(chunks_of(SCRIPT.audio()), **options)


def said(events: list[Event]) -> list[str]:
    return [w.text for e in events if isinstance(e, Committed) for w in e.words]


def run(pipeline: Pipeline) -> None:
    async def scenario() -> None:
        async with pipeline:
            await pipeline.run()

    asyncio.run(scenario())


def test_every_sink_sees_every_event_in_order_and_before_the_caller() -> None:
    sinks = [ListSink(), ListSink()]

    async def scenario() -> list[Event]:
        got: list[Event] = []
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            pipeline = Pipeline(source(), worker, make_parts(), sinks, pace="fast")
            async with pipeline, aclosing(pipeline.events()) as events:
                async for event in events:
                    got.append(event)
                    assert sinks[0].events == sinks[1].events == got
        return got

    events = asyncio.run(scenario())
    assert check_events(events) == []
    assert said(events) == [word.text for word in SCRIPT.words]
    assert not sinks[0].is_open


def test_the_first_event_says_with_what() -> None:
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        sink = ListSink()
        run(Pipeline(source(), worker, make_parts(language="de"), [sink], pace="fast"))
    started = sink.events[0]
    assert isinstance(started, SessionStarted)
    assert (started.model, started.backend, started.language) == ("script", "scripted", "de")
    assert started.options["pace"] == "fast"
    assert len(started.session) == 32


def test_a_slow_sink_slows_the_pipeline_and_loses_nothing() -> None:
    class Slow(ListSink):
        async def write(self, event: Event) -> None:
            await asyncio.sleep(0.001)
            await super().write(event)

    sink = Slow()
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        run(Pipeline(source(), worker, make_parts(), [sink]))
    assert check_events(sink.events) == []
    assert said(sink.events) == [word.text for word in SCRIPT.words]


@pytest.mark.parametrize("pace", ["realtime", "fast", "simulated"])
def test_a_source_that_fails_is_finished_like_any_other_and_then_the_error_is_raised(
    pace: Any,
) -> None:
    sink = ListSink()
    with worker_for(ScriptedBackend(SCRIPT)) as worker, pytest.raises(SourceError, match="cable"):
        run(Pipeline(source(error="the cable is out"), worker, make_parts(), [sink], pace=pace))
    assert check_events(sink.events) == []
    assert said(sink.events) == [word.text for word in SCRIPT.words]
    notice, _, ended = sink.events[-3:]
    assert isinstance(notice, Notice)
    assert notice.message == "the cable is out"
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "source_error"


@pytest.mark.parametrize("pace", ["realtime", "fast", "simulated"])
def test_a_backend_that_goes_on_failing_ends_the_session_and_says_so(pace: Any) -> None:
    sink, audio = ListSink(), source()
    # Work that waits coalesces: few passes are certain.
    backend = ScriptedBackend(SCRIPT, fails_from=1)
    with worker_for(backend) as worker, pytest.raises(BackendError, match="script says"):
        run(Pipeline(audio, worker, make_parts(), [sink], pace=pace))
    assert isinstance(sink.events[-1], SessionEnded)
    assert sink.events[-1].reason == "backend_error"
    errors = [e for e in sink.events if isinstance(e, Notice) and e.level == "error"]
    assert [e.code for e in errors] == ["backend_error"]
    assert not audio.is_open
    assert not sink.is_open
    # What was shown is closed with what was committed, and nothing more.
    assert check_events(sink.events) == []
    shown = {e.utterance for e in sink.events if isinstance(e, Partial | Committed)}
    assert {e.utterance for e in sink.events if isinstance(e, Final)} == shown


@pytest.mark.parametrize("pace", ["realtime", "fast", "simulated"])
def test_the_only_sink_that_fails_ends_the_run_and_everything_is_closed(pace: Any) -> None:
    bad, audio = ListSink(fails_at=5), source()
    with worker_for(ScriptedBackend(SCRIPT)) as worker, pytest.raises(SinkError, match="full"):
        run(Pipeline(audio, worker, make_parts(), [bad], pace=pace))
    assert len(bad.events) == 5
    assert not audio.is_open
    assert not bad.is_open


def test_a_fault_in_a_source_is_not_taken_for_the_end_of_the_input() -> None:
    class Faulty(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
            yield chunks_of(SCRIPT.audio())[0]
            raise ZeroDivisionError

    with (
        worker_for(ScriptedBackend(SCRIPT)) as worker,
        pytest.raises(SourceError, match="Faulty failed") as failed,
    ):
        run(Pipeline(Faulty([]), worker, make_parts()))
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_a_source_that_cannot_be_opened_is_told_before_the_model_is_loaded() -> None:
    class Closed(ScriptedSource):
        async def __aenter__(self) -> Self:
            raise SourceError("no such file")

    worker = BackendPool(lambda: pytest.fail("loaded"))
    with pytest.raises(SourceError, match="no such file"):
        run(Pipeline(Closed([]), worker, make_parts(), owns_worker=True))


def test_a_model_that_cannot_be_loaded_closes_what_was_opened() -> None:
    def load() -> Backend:
        raise ModelError("no such model")

    audio, sink = source(), ListSink()
    with pytest.raises(ModelError, match="no such model"):
        run(Pipeline(audio, BackendPool(load), make_parts(), [sink]))
    assert not audio.is_open
    assert not sink.is_open
    assert sink.events == []


def test_a_worker_is_closed_with_its_owner_and_left_alone_by_others() -> None:
    backend = ScriptedBackend(SCRIPT)
    worker = BackendPool(lambda: backend)
    run(Pipeline(source(), worker, make_parts(), pace="fast"))
    run(Pipeline(source(), worker, make_parts(), pace="fast"))  # still open
    run(Pipeline(source(), worker, make_parts(), pace="fast", owns_worker=True))
    assert worker.close(timeout_s=5)
    assert backend.closed
    with pytest.raises(BackendError, match="closed"):
        run(Pipeline(source(), worker, make_parts(), pace="fast"))


@pytest.mark.parametrize("workers", [1, 2])
def test_two_pipelines_share_a_pool_and_each_hears_its_own(workers: int) -> None:
    class Two(ScriptedBackend):
        """Tells its streams apart by the prompt."""

        def decode(self, window: Any) -> Any:
            self.script = scripts[window.prompt]
            return super().decode(window)

    scripts = {"left": say(9, word_s=0.25), "right": say(12, 3)}
    sinks = {name: ListSink() for name in scripts}

    async def scenario() -> None:
        with worker_for(*[Two(SCRIPT) for _ in range(workers)]) as worker:

            async def one(name: str) -> None:
                audio = ScriptedSource(chunks_of(scripts[name].audio()))
                parts = make_parts(prompt=name)
                async with Pipeline(audio, worker, parts, [sinks[name]]) as pipeline:
                    await pipeline.run()

            await asyncio.gather(one("left"), one("right"))

    asyncio.run(scenario())
    for name, sink in sinks.items():
        assert check_events(sink.events) == []
        finals = [e for e in sink.events if isinstance(e, Final)]
        assert len(finals) == (1 if name == "left" else 2)
        assert said(sink.events) == [word.text for word in scripts[name].words]


def test_leaving_early_closes_everything_without_a_sound(caplog: pytest.LogCaptureFixture) -> None:
    audio, sink = source(), ListSink()

    async def scenario() -> None:
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            async with Pipeline(audio, worker, make_parts(), [sink]) as pipeline:
                async for event in pipeline.events():
                    if isinstance(event, Committed):
                        break
        assert not audio.is_open

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert caplog.records == []
    assert not sink.is_open


def test_a_pass_cost_needs_the_simulated_pace_and_sense() -> None:
    worker = BackendPool(lambda: ScriptedBackend(SCRIPT))
    with pytest.raises(ConfigurationError, match="--pass-cost needs --pace simulated"):
        Pipeline(source(), worker, make_parts(), pass_cost_s=0.1)
    for cost_s in (-0.1, 61.0, float("nan")):
        with pytest.raises(ConfigurationError, match="between 0 and 60"):
            Pipeline(source(), worker, make_parts(), pace="simulated", pass_cost_s=cost_s)


def test_events_need_the_pipeline_to_be_entered() -> None:
    worker = BackendPool(lambda: ScriptedBackend(SCRIPT))
    with pytest.raises(RuntimeError, match="async context manager"):
        asyncio.run(Pipeline(source(), worker, make_parts()).run())


class FaultySink(ListSink):
    """Says once that it is in trouble."""

    def __init__(self) -> None:
        super().__init__()
        self.report: Callable[[Notice], None] = lambda _: None

    async def write(self, event: Event) -> None:
        if isinstance(event, Committed) and not any(isinstance(e, Notice) for e in self.events):
            self.report(Notice(level="warning", code="trouble", message="the broker is gone"))
        await super().write(event)


def test_what_a_sink_reports_becomes_an_event_that_every_sink_sees() -> None:
    sinks = [ListSink(), FaultySink()]
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        run(Pipeline(source(), worker, make_parts(), sinks, pace="fast"))
    for sink in sinks:
        notices = [e for e in sink.events if isinstance(e, Notice)]
        assert {n.message for n in notices} == {"the broker is gone"}
        check_events(sink.events)


@pytest.mark.parametrize("pace", ["simulated", "fast"])
def test_the_delay_is_known_only_where_words_are_said_on_the_clock(pace: Pace) -> None:
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        pipeline = Pipeline(source(), worker, make_parts(), pace=pace)
        run(pipeline)
        assert (pipeline.status().delay_s is None) == (pace == "fast")


def test_what_is_reported_after_the_input_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        pipeline = Pipeline(source(), worker, make_parts(), pace="fast")
        assert pipeline.status().audio_s == 0
        run(pipeline)
        pipeline.say(Notice(message="3 events were not delivered"))
        assert pipeline.status().audio_s > 5
    assert "3 events were not delivered" in caplog.text


class Choosy(ScriptedBackend):
    """Takes no prompt at all."""

    def check_prompt(self, prompt: str) -> None:
        if prompt:
            raise ConfigurationError("too long")


def test_a_prompt_that_the_model_would_cut_is_told_before_an_output_is_touched() -> None:
    sink = ListSink()
    with worker_for(Choosy(SCRIPT)) as worker:
        parts = make_parts(hotwords=("Gutenberg",))
        pipeline = Pipeline(source(), worker, parts, [sink], pace="fast")
        entered = []

        async def scenario() -> None:
            async with pipeline:
                entered.append(sink.is_open)

        with pytest.raises(ConfigurationError, match="too long"):
            asyncio.run(scenario())
        assert entered == []


def test_a_prompt_that_the_final_model_would_cut_is_told_and_the_run_goes_on() -> None:
    sink = ListSink()
    with worker_for(ScriptedBackend(SCRIPT)) as worker, worker_for(Choosy(SCRIPT)) as final_worker:
        parts = make_parts(hotwords=("Gutenberg",))
        pipeline = Pipeline(source(), worker, parts, [sink], pace="fast", final_worker=final_worker)
        with pytest.raises(ConfigurationError, match="too long"):
            run(pipeline)
    assert said(sink.events) == [word.text for word in SCRIPT.words]
    assert [e.code for e in sink.events if isinstance(e, Notice)] == ["final_model_error"]
