from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from fakes import ScriptedSource, chunks_of
from virtual_time import run_virtual

from streaming.audio import AudioChunk, Flush
from streaming.errors import SourceError
from streaming.events import Notice
from streaming.input import Input
from streaming.protocols import SourceItem


def audio(n_chunks: int) -> list[AudioChunk]:
    """Chunks of 0.1 s."""
    return chunks_of(np.zeros(1600 * n_chunks, np.float32))


def places(items: list[SourceItem]) -> list[int | str]:
    """Number of each chunk, or what else it is."""
    return [
        i.start_sample // 1600 if isinstance(i, AudioChunk) else type(i).__name__.lower()
        for i in items
    ]


async def collect(items: Input) -> list[SourceItem]:
    return [item async for item in items]


def test_without_wishes_the_source_comes_through_as_it_is() -> None:
    given: list[SourceItem] = [*audio(2), Flush()]
    given += [*chunks_of(np.zeros(1600, np.float32), start_sample=3200)]
    assert asyncio.run(collect(Input(ScriptedSource(given)))) == given


def test_a_flush_comes_between_chunks_and_many_at_once_are_one() -> None:
    async def scenario() -> list[SourceItem]:
        items = Input(ScriptedSource(audio(4), paced=True))
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.25)
        items.flush()
        items.flush()
        return await collecting

    assert places(run_virtual(scenario())) == [0, 1, "flush", 2, 3]


def test_a_pause_of_a_live_source_throws_its_audio_away_and_says_so() -> None:
    async def scenario() -> list[SourceItem]:
        items = Input(ScriptedSource(audio(8), live=True, paced=True))
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.25)
        items.pause()
        items.pause()
        await asyncio.sleep(0.3)
        items.resume()
        return await collecting

    got = run_virtual(scenario())
    assert places(got) == [0, 1, "flush", 5, 6, 7]
    assert [i.gap_reason for i in got if isinstance(i, AudioChunk)] == ["", "", "paused", "", ""]


class Told(ScriptedSource):
    """Is told of pauses."""

    def __init__(self) -> None:
        super().__init__(audio(2))
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self) -> None:
        self.told.append("resume")


def test_a_source_that_wants_to_know_is_told_of_pauses_once() -> None:
    async def scenario() -> None:
        source = Told()
        items = Input(source)
        items.pause()
        items.pause()
        items.resume()
        assert source.told == ["pause", "resume"]

    asyncio.run(scenario())


def test_a_pause_of_a_file_makes_it_wait_and_loses_nothing() -> None:
    async def scenario() -> None:
        source = ScriptedSource(audio(6), paced=True)
        items = Input(source)
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.25)
        items.pause()
        await asyncio.sleep(30.0)
        assert source.taken <= 4
        items.resume()
        got = await collecting
        assert places(got) == [0, 1, "flush", 2, 3, 4, 5]
        assert {i.gap_reason for i in got if isinstance(i, AudioChunk)} == {""}

    run_virtual(scenario())


@pytest.mark.parametrize("live", [True, False])
def test_a_paused_input_costs_no_work(live: bool) -> None:
    steps = 0

    class Waiting(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
            yield audio(1)[0]
            await asyncio.sleep(0.01)
            yield audio(2)[1]
            await asyncio.sleep(1000)

    async def scenario() -> None:
        nonlocal steps
        items = Input(Waiting([], live=live))
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.005)
        items.pause()
        await asyncio.sleep(0.02)  # what was asked for before the pause has come meanwhile
        waiting = asyncio.all_tasks()
        for _ in range(50):
            await asyncio.sleep(0)
        steps = len(asyncio.all_tasks() - waiting)
        items.stop()
        await collecting

    asyncio.run(scenario())
    assert steps == 0


@pytest.mark.parametrize("paused", [True, False])
@pytest.mark.parametrize("live", [True, False])
def test_a_stop_ends_the_input_at_once(live: bool, paused: bool) -> None:
    async def scenario() -> None:
        items = Input(ScriptedSource(audio(600), live=live, paced=True))
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.25)
        if paused:
            items.pause()
            await asyncio.sleep(1.0)
        before_s = asyncio.get_running_loop().time()
        items.stop()
        got = await collecting
        assert asyncio.get_running_loop().time() == before_s
        assert places(got)[:2] == [0, 1]
        assert items.error is None
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())


def test_a_stop_loses_nothing_that_the_source_has_handed_out() -> None:
    async def scenario() -> tuple[list[SourceItem], int]:
        source = ScriptedSource(audio(4), paced=True)
        items = Input(source)
        reading = aiter(items)
        got = [await anext(reading)]
        asyncio.get_running_loop().call_later(0.05, items.say, Notice())
        got.append(await anext(reading))
        await asyncio.sleep(0.1)  # meanwhile comes the next chunk
        items.flush()
        items.stop()
        return [*got, *[item async for item in reading]], source.taken

    items, taken = run_virtual(scenario())
    assert (places(items), taken) == ([0, "notice", "flush", 1], 2)


def test_a_source_that_fails_ends_the_input_and_the_error_is_kept() -> None:
    items = Input(ScriptedSource(audio(2), error="the cable is out"))
    assert places(asyncio.run(collect(items))) == [0, 1]
    assert isinstance(items.error, SourceError)
    assert str(items.error) == "the cable is out"


def test_any_other_fault_ends_the_input_and_is_kept_as_the_cause() -> None:
    class Faulty(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
            yield audio(1)[0]
            raise ZeroDivisionError

    items = Input(Faulty([]))
    assert places(asyncio.run(collect(items))) == [0]
    assert isinstance(items.error, SourceError)
    assert str(items.error) == "Faulty failed: ZeroDivisionError()"
    assert isinstance(items.error.__cause__, ZeroDivisionError)


def test_a_source_that_ends_while_paused_ends_the_input() -> None:
    async def scenario() -> list[SourceItem]:
        items = Input(ScriptedSource(audio(5), live=True, paced=True))
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.25)
        items.pause()
        return await collecting

    assert places(run_virtual(scenario())) == [0, 1, "flush"]


def test_cancelling_the_reader_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        reading = asyncio.ensure_future(collect(Input(ScriptedSource(audio(50), paced=True))))
        await asyncio.sleep(0.25)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())


def test_what_the_program_says_comes_between_chunks_and_at_the_end() -> None:
    first, late = Notice(message="first"), Notice(message="late")

    async def scenario() -> tuple[list[SourceItem], bool]:
        items = Input(ScriptedSource(audio(2), paced=True))
        assert items.say(first)
        collecting = asyncio.ensure_future(collect(items))
        await asyncio.sleep(0.15)
        items.stop()
        assert items.say(late)
        return await collecting, items.say(Notice(message="too late"))

    got, taken = run_virtual(scenario())
    assert [i for i in got if isinstance(i, Notice)] == [first, late]
    assert (got[0], got[-1]) == (first, late)
    assert not taken


def test_a_paused_source_may_still_speak() -> None:
    notice = Notice(message="unplugged?")
    given: list[SourceItem] = [notice, *audio(1)]

    async def scenario() -> list[SourceItem]:
        items = Input(ScriptedSource(given, live=True))
        items.pause()
        return await collect(items)

    got = run_virtual(scenario())
    assert [type(i) for i in got] == [Flush, Notice]
