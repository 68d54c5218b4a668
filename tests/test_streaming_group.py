from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import numpy as np
import pytest
from fakes import ListSink, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from virtual_time import run_virtual

from sources._fan import Fan
from streaming.audio import AudioChunk
from streaming.backends.pool import BackendPool
from streaming.errors import ConfigurationError, SinkError, SourceError
from streaming.evaluation import check_events
from streaming.events import Committed, Event, Notice, SessionEnded
from streaming.group import PipelineGroup
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Source, SourceItem

SCRIPT = say(6, 4)


class Origin(ScriptedSource):
    """The same audio for two, a chunk of each at a time."""

    def __aiter__(self) -> AsyncIterator[Sequence[Sequence[SourceItem]]]:  # type: ignore[override]
        return self._both()

    async def _both(self) -> AsyncIterator[Sequence[Sequence[SourceItem]]]:
        async for item in super().__aiter__():
            yield [item], [item]


def pipelines(sources: Sequence[Source], worker: BackendPool, pace: Pace) -> list[Pipeline]:
    return [Pipeline(source, worker, make_parts(), pace=pace) for source in sources]


def run(group: PipelineGroup) -> list[Event]:
    async def scenario() -> list[Event]:
        async with group, aclosing(group.events()) as events:
            return [event async for event in events]

    return asyncio.run(scenario())


def by_session(events: Sequence[Event]) -> list[list[Event]]:
    names = list(dict.fromkeys(event.session for event in events))
    return [[event for event in events if event.session == name] for name in names]


def words(events: Sequence[Event]) -> list[str]:
    return [w.text for e in events if isinstance(e, Committed) for w in e.words]


@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_each_session_is_whole_and_every_sink_sees_both(pace: Pace) -> None:
    sinks = [ListSink(), ListSink()]
    fan = Fan(Origin(chunks_of(SCRIPT.audio())), 2)
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        events = run(PipelineGroup(pipelines(fan.members, worker, pace), sinks))
    assert [sink.events for sink in sinks] == [events, events]
    both = by_session(events)
    assert len(both) == 2
    for each in both:
        assert check_events(each) == []
        assert words(each) == words(both[0]) != []


def test_the_events_of_two_sessions_come_in_the_order_of_the_audio() -> None:
    fan = Fan(Origin(chunks_of(SCRIPT.audio())), 2)
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines(fan.members, worker, "fast"))

        async def scenario() -> None:
            async with group, aclosing(group.events()) as events:
                async for _ in events:
                    first, second = (status().audio_s for _, status in group.statuses())
                    assert abs(first - second) <= 1.0

        asyncio.run(scenario())


def test_the_failure_of_one_input_ends_the_others_after_what_was_heard() -> None:
    audio = chunks_of(SCRIPT.audio())
    broken = ScriptedSource(audio[:15], paced=True, live=True, error="the microphone is gone")
    other = ScriptedSource(audio, paced=True, live=True)

    sink = ListSink()
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines([broken, other], worker, "realtime"), [sink])
        with pytest.raises(SourceError, match="microphone is gone"):
            run(group)
    ends = [event for event in sink.events if isinstance(event, SessionEnded)]
    assert sorted(e.reason for e in ends) == ["end_of_stream", "source_error"]
    assert other.taken < len(audio)
    assert words(sink.events)


@pytest.mark.parametrize(
    ("second", "logged"), [("so is the loudspeaker", ["so is the loudspeaker"]), ("gone", [])]
)
def test_a_second_error_is_not_lost(
    second: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    both = [ScriptedSource([], error=text) for text in ("gone", second)]
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines(both, worker, "fast"))
        with pytest.raises(SourceError, match="gone"):
            run(group)
    assert caplog.messages == logged


class FullAtTheEnd(ListSink):
    """Fails where the second of two sessions ends."""

    async def write(self, event: Event) -> None:
        ended = any(isinstance(before, SessionEnded) for before in self.events)
        if ended and isinstance(event, SessionEnded):
            raise SinkError("the disk is full")
        await super().write(event)


def test_an_error_is_not_lost_where_a_sink_fails_before_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources = [ScriptedSource([], error="gone"), ScriptedSource(chunks_of(SCRIPT.audio()))]
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines(sources, worker, "fast"), [FullAtTheEnd()])
        with pytest.raises(SinkError, match="the disk is full"):
            run(group)
    assert caplog.messages == ["gone"]


def test_a_failing_sink_ends_all_at_once() -> None:
    fan = Fan(Origin(chunks_of(SCRIPT.audio())), 2)
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines(fan.members, worker, "fast"), [ListSink(fails_at=5)])
        with pytest.raises(SinkError, match="the disk is full"):
            run(group)


def test_what_is_said_is_among_the_events_once() -> None:
    fan = Fan(Origin(chunks_of(SCRIPT.audio())), 2)
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        group = PipelineGroup(pipelines(fan.members, worker, "fast"))
        group.say(Notice(message="hello"))
        events = run(group)
    assert [e.message for e in events if isinstance(e, Notice)] == ["hello"]


def test_simulated_pace_is_refused() -> None:
    fan = Fan(Origin(chunks_of(SCRIPT.audio())), 2)
    with (
        worker_for(ScriptedBackend(SCRIPT)) as worker,
        pytest.raises(ConfigurationError, match="--pace simulated"),
    ):
        PipelineGroup(pipelines(fan.members, worker, "simulated"))


def test_cancelling_stops_all_within_a_moment() -> None:
    async def scenario() -> None:
        chunks = chunks_of(np.zeros(16_000 * 60, np.float32))
        fan = Fan(Origin(chunks, paced=True, live=True), 2)
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            group = PipelineGroup(pipelines(fan.members, worker, "realtime"))
            async with group:
                running = asyncio.ensure_future(group.run())
                await asyncio.sleep(0.5)
                running.cancel()
                await asyncio.wait([running], timeout=0.2)
                assert running.cancelled()

    asyncio.run(scenario())


# -- the fan ------------------------------------------------------------------------------------


async def take(source: Source, n: int) -> list[SourceItem]:
    items = aiter(source)
    return [await anext(items) for _ in range(n)]


def test_a_member_does_not_run_ahead_of_one_that_lags() -> None:
    async def scenario() -> None:
        fan = Fan(Origin(chunks_of(np.zeros(32_000, np.float32))), 2)
        left, right = fan.members
        async with left, right:
            ahead = asyncio.ensure_future(take(left, 20))
            await asyncio.sleep(5.0)
            assert not ahead.done()
            assert isinstance(fan.origin, Origin)
            assert fan.origin.taken <= 7
            await take(right, 20)
            assert len(await ahead) == 20

    run_virtual(scenario())


def test_a_member_that_has_left_holds_nobody_back_and_the_last_closes_the_origin() -> None:
    async def scenario() -> None:
        origin = Origin(chunks_of(np.zeros(32_000, np.float32)))
        fan = Fan(origin, 2)
        left, right = fan.members
        async with left:
            async with right:
                await take(right, 1)
            assert origin.is_open
            items = await take(left, 20)
            assert [i.start_sample for i in items if isinstance(i, AudioChunk)] == [
                1600 * n for n in range(20)
            ]
        assert not origin.is_open

    run_virtual(scenario())


def test_cancelling_one_members_wait_costs_nobody_an_item() -> None:
    async def scenario() -> None:
        fan = Fan(Origin(chunks_of(np.zeros(8_000, np.float32)), paced=True), 2)
        left, right = fan.members
        async with left, right:
            for at in range(5):
                waiting = asyncio.ensure_future(take(left, 1))
                await asyncio.sleep(0.03)
                waiting.cancel()
                (one,), (two,) = await take(left, 1), await take(right, 1)
                assert isinstance(one, AudioChunk)
                assert isinstance(two, AudioChunk)
                assert one.start_sample == two.start_sample == 1600 * at

    run_virtual(scenario())


def test_an_error_reaches_every_member_after_the_audio_before_it() -> None:
    async def scenario() -> None:
        fan = Fan(Origin(chunks_of(np.zeros(3_200, np.float32)), error="torn"), 2)
        left, right = fan.members
        async with left, right:
            for member in (left, right):
                await take(member, 2)
                with pytest.raises(SourceError, match="torn"):
                    await take(member, 1)

    run_virtual(scenario())


def test_a_member_is_read_only_between_entering_and_leaving() -> None:
    async def scenario() -> None:
        left, right = Fan(Origin(chunks_of(np.zeros(8_000, np.float32))), 2).members
        with pytest.raises(SourceError, match="inside `async with`"):
            await take(left, 1)
        async with left, right:
            await take(left, 1)
        with pytest.raises(SourceError, match="inside `async with`"):
            await take(left, 1)

    run_virtual(scenario())


def test_a_member_that_would_miss_audio_is_refused() -> None:
    async def scenario() -> None:
        left, right = Fan(Origin(chunks_of(np.zeros(8_000, np.float32))), 2).members
        async with left:
            await take(left, 1)
            with pytest.raises(SourceError, match="entered before one of them is read"):
                await right.__aenter__()
            assert len(await take(left, 4)) == 4
        with pytest.raises(SourceError, match="entered before one of them is read"):
            await right.__aenter__()

    run_virtual(scenario())


def test_the_origin_is_closed_though_leaving_is_cancelled() -> None:
    class Stubborn(Origin):
        async def _both(self) -> AsyncIterator[Sequence[Sequence[SourceItem]]]:
            try:
                await asyncio.sleep(10)
            finally:
                await asyncio.sleep(1)
            yield [], []

    async def scenario() -> None:
        origin = Stubborn([])
        (member,) = Fan(origin, 1).members
        await member.__aenter__()
        waiting = asyncio.ensure_future(take(member, 1))
        await asyncio.sleep(0.1)
        leaving = asyncio.ensure_future(member.__aexit__(None, None, None))
        await asyncio.sleep(0.1)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert not origin.is_open
        with pytest.raises(SourceError):
            await waiting

    run_virtual(scenario())
