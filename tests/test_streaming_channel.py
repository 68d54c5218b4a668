from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.audio import AudioChunk, Flush
from streaming.channel import Channel, ChannelClosed
from streaming.events import Notice
from streaming.protocols import SourceItem


def chunk(start: int, length: int = 100) -> AudioChunk:
    return AudioChunk(np.zeros(length, np.float32), start)


def starts(items: list[SourceItem]) -> list[int | str]:
    return [item.start_sample if isinstance(item, AudioChunk) else "flush" for item in items]


async def drain(channel: Channel) -> list[SourceItem]:
    items = []
    while True:
        try:
            items.append(await channel.get())
        except ChannelClosed:
            return items


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_items_come_out_in_order_and_then_the_end() -> None:
    async def scenario() -> None:
        channel = Channel(1_000)
        for item in (chunk(0), Flush(), chunk(100)):
            await channel.put(item)
        channel.close()
        assert starts(await drain(channel)) == [0, "flush", 100]
        with pytest.raises(ChannelClosed):
            channel.get_nowait()

    asyncio.run(scenario())


def test_a_full_channel_makes_the_writer_wait_until_there_is_room() -> None:
    async def scenario() -> None:
        channel = Channel(250)
        await channel.put(chunk(0))
        await channel.put(chunk(100))
        writing = asyncio.create_task(channel.put(chunk(200)))
        await settle()
        assert not writing.done()
        assert channel.statistics().waiting_samples == 200
        assert channel.get_nowait() is not None
        await writing
        channel.close()
        assert starts(await drain(channel)) == [100, 200]
        assert channel.statistics().dropped_samples == 0

    asyncio.run(scenario())


def test_a_flush_never_waits_for_room() -> None:
    async def scenario() -> None:
        channel = Channel(100)
        await channel.put(chunk(0))
        await asyncio.wait_for(channel.put(Flush()), 1)
        assert channel.get_nowait() is not None
        assert channel.get_nowait() == Flush()

    asyncio.run(scenario())


def test_a_full_dropping_channel_drops_the_oldest_and_says_so() -> None:
    async def scenario() -> None:
        channel = Channel(300, overflow="drop_oldest")
        for start in range(0, 600, 100):
            await channel.put(chunk(start))
        channel.close()
        items = await drain(channel)
        assert starts(items) == [300, 400, 500]
        reasons = [item.gap_reason for item in items if isinstance(item, AudioChunk)]
        assert reasons == ["overload", "", ""]
        assert channel.statistics().dropped_samples == 300
        assert channel.statistics().peak_samples == 300

    asyncio.run(scenario())


def test_a_flush_among_dropped_audio_survives_once() -> None:
    async def scenario() -> None:
        channel = Channel(200, overflow="drop_oldest")
        for item in (chunk(0), Flush(), chunk(100), Flush(), chunk(200), chunk(300)):
            await channel.put(item)
        channel.close()
        assert starts(await drain(channel)) == ["flush", 200, 300]

    asyncio.run(scenario())


def test_flushes_without_audio_between_are_one() -> None:
    async def scenario() -> None:
        channel = Channel(100)
        for _ in range(1_000):
            await channel.put(Flush())
        channel.close()
        assert starts(await drain(channel)) == ["flush"]

    asyncio.run(scenario())


@pytest.mark.parametrize("overflow", ["wait", "drop_oldest"])
def test_a_chunk_longer_than_the_channel_is_taken_alone(overflow: str) -> None:
    async def scenario() -> None:
        channel = Channel(100, overflow="wait" if overflow == "wait" else "drop_oldest")
        await asyncio.wait_for(channel.put(chunk(0, 5_000)), 1)
        item = await channel.get()
        assert isinstance(item, AudioChunk)
        assert len(item.samples) == 5_000

    asyncio.run(scenario())


def test_a_cancelled_put_leaves_the_item_outside() -> None:
    async def scenario() -> None:
        channel = Channel(100)
        await channel.put(chunk(0))
        writing = asyncio.create_task(channel.put(chunk(100)))
        await settle()
        writing.cancel()
        await asyncio.wait({writing})
        assert writing.cancelled()
        channel.close()
        assert starts(await drain(channel)) == [0]

    asyncio.run(scenario())


@pytest.mark.parametrize("turns_before_cancelling", [0, 1, 2, 3])
def test_a_cancelled_get_leaves_the_item_inside_or_returns_it(
    turns_before_cancelling: int,
) -> None:
    async def scenario() -> None:
        channel = Channel(100)
        reading = asyncio.create_task(channel.get())
        await settle()
        await channel.put(chunk(0))
        for _ in range(turns_before_cancelling):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading})
        got = [] if reading.cancelled() else [reading.result()]
        channel.close()
        assert starts(got + await drain(channel)) == [0]

    asyncio.run(scenario())


def test_waiting_takes_nothing_and_can_be_cancelled() -> None:
    async def scenario() -> None:
        channel = Channel(100)
        waiting = asyncio.create_task(channel.wait())
        await settle()
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait({waiting})
        assert channel.get_nowait() is None
        await channel.put(chunk(0))
        await channel.wait()
        await channel.wait()
        item = channel.get_nowait()
        assert isinstance(item, AudioChunk)

    asyncio.run(scenario())


def test_a_source_s_error_comes_after_what_it_still_gave() -> None:
    async def scenario() -> None:
        channel = Channel(1_000)
        await channel.put(chunk(0))
        channel.close(ValueError("the cable was pulled"))
        channel.close()
        assert (await channel.get()) is not None
        for _ in range(2):
            with pytest.raises(ValueError, match="cable"):
                await channel.get()

    asyncio.run(scenario())


def test_closing_wakes_a_waiting_reader_and_a_waiting_writer() -> None:
    async def scenario() -> None:
        empty, full = Channel(100), Channel(100)
        await full.put(chunk(0))
        tasks = [asyncio.create_task(empty.get()), asyncio.create_task(full.put(chunk(100)))]
        await settle()
        empty.close()
        full.close()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, ChannelClosed)

    asyncio.run(scenario())


def test_two_readers_share_what_comes() -> None:
    async def scenario() -> None:
        channel = Channel(1_000)
        tasks = [asyncio.create_task(channel.get()) for _ in range(2)]
        await settle()
        await channel.put(chunk(0))
        await settle()
        await channel.put(chunk(100))
        assert sorted(map(str, starts(await asyncio.gather(*tasks)))) == ["0", "100"]

    asyncio.run(scenario())


def test_a_channel_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Channel(0)


@given(
    script=st.lists(st.one_of(st.integers(1, 60), st.just("flush"), st.just("get")), max_size=60),
    capacity=st.integers(1, 150),
)
@settings(max_examples=150, deadline=None)
def test_dropping_keeps_order_bounds_and_accounts_for_every_sample(
    script: list[int | str], capacity: int
) -> None:
    async def scenario() -> None:
        channel = Channel(capacity, overflow="drop_oldest")
        pushed = taken = end = 0
        for step in [*script, *["get"] * len(script)]:
            if isinstance(step, int):
                await channel.put(chunk(pushed, step))
                pushed += step
            elif step == "flush":
                await channel.put(Flush())
            else:
                item = channel.get_nowait()
                if isinstance(item, AudioChunk):
                    assert item.start_sample >= end
                    assert (item.gap_reason == "overload") == (item.start_sample > end)
                    end = item.end_sample
                    taken += len(item.samples)
            statistics = channel.statistics()
            assert statistics.waiting_samples <= max(capacity, 60)
            dropped = statistics.dropped_samples
            assert taken + dropped + statistics.waiting_samples == pushed
        assert channel.get_nowait() is None

    asyncio.run(scenario())


def test_notices_keep_their_place_and_are_bounded_too() -> None:
    async def scenario() -> None:
        channel = Channel(250, overflow="drop_oldest")
        await channel.put(chunk(0))
        for number in range(1000):
            await channel.put(Notice(code=str(number)))
        await channel.put(chunk(100))
        await channel.put(chunk(200))
        channel.close()
        items = await drain(channel)
        codes = [item.code for item in items if isinstance(item, Notice)]
        assert codes == [str(number) for number in range(1000 - len(codes), 1000)]
        assert 10 <= len(codes) <= 100
        assert [i.start_sample for i in items[-2:] if isinstance(i, AudioChunk)] == [100, 200]

    asyncio.run(scenario())


def test_flushes_between_notices_are_bounded_too() -> None:
    async def scenario() -> None:
        channel = Channel(250)
        for number in range(1000):
            await channel.put(Notice(code=str(number)))
            await channel.put(Flush())
        channel.close()
        items = await drain(channel)
        assert len(items) <= 200
        assert items[-1] == Flush()
        assert isinstance(items[-2], Notice)
        assert items[-2].code == "999"

    asyncio.run(scenario())
