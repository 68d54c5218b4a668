from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from encoded_audio import tone
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sources.push import PushSource
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, Samples, samples_from_seconds, seconds
from streaming.errors import ConfigurationError, SourceError


def noise(n: int) -> Samples:
    return np.random.default_rng(n).uniform(-0.5, 0.5, n).astype(np.float32)


async def drain(source: PushSource) -> list[AudioChunk | Flush]:
    async with source:
        return [item async for item in source]


def audio(items: list[AudioChunk | Flush]) -> Samples:
    pieces = [item.samples for item in items if isinstance(item, AudioChunk)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def test_what_was_pushed_is_read_to_the_end() -> None:
    source = PushSource()
    samples = noise(40_000)
    for start in range(0, 40_000, 7_000):
        source.push(samples[start : start + 7_000])
    source.end()
    items = asyncio.run(drain(source))
    np.testing.assert_array_equal(audio(items), samples)
    position = 0
    for item in items:
        assert isinstance(item, AudioChunk)
        assert (item.start_sample, item.gap_reason) == (position, "")
        position = item.end_sample


def test_a_thread_can_push_while_the_loop_reads() -> None:
    samples = noise(160_000)
    source = PushSource()

    def produce() -> None:
        for start in range(0, len(samples), 1_000):
            source.push(samples[start : start + 1_000])
            time.sleep(0.0005)
        source.end()

    thread = threading.Thread(target=produce)
    thread.start()
    items = asyncio.run(drain(source))
    thread.join()
    np.testing.assert_array_equal(audio(items), samples)


def test_pushes_of_several_threads_all_arrive_whole() -> None:
    source = PushSource(sample_rate=48_000)

    def produce(level: float) -> None:
        for _ in range(50):
            source.push(np.full(480, level, np.float32))

    threads = [threading.Thread(target=produce, args=(0.1 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.end()
    items = asyncio.run(drain(source))
    assert len(audio(items)) == 4 * 50 * 160


def test_a_waiting_reader_wakes_at_once_when_audio_comes() -> None:
    async def scenario() -> None:
        source = PushSource()
        async with source:
            for _ in range(3):
                reading = asyncio.ensure_future(anext(source))
                await asyncio.sleep(0.01)
                assert not reading.done()
                threading.Thread(target=source.push, args=(noise(160),)).start()
                item = await asyncio.wait_for(reading, 1)
                assert isinstance(item, AudioChunk)
            reading = asyncio.ensure_future(anext(source))
            await asyncio.sleep(0.01)
            threading.Thread(target=source.end).start()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(_result(reading), 1)

    async def _result(reading: asyncio.Future[AudioChunk | Flush]) -> None:
        await asyncio.wait({reading})
        error = reading.exception()
        assert error is not None
        raise error

    asyncio.run(scenario())


def test_a_cancelled_wait_takes_nothing() -> None:
    async def scenario() -> None:
        source = PushSource()
        async with source:
            for turns in range(4):
                reading = asyncio.ensure_future(anext(source))
                await asyncio.sleep(0.01)
                source.push(noise(160))
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait({reading})
                item = await anext(source) if reading.cancelled() else reading.result()
                assert isinstance(item, AudioChunk)
                assert item.start_sample == turns * 160

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("rate", "channels", "convert"),
    [
        (48_000, 2, lambda x: np.stack([x, x], axis=1)),
        (8_000, 1, lambda x: x[:, None]),
        (44_100, 1, lambda x: (x * 32767).astype(np.int16)),
        (16_000, 3, lambda x: np.stack([3 * x, 0 * x, 0 * x], axis=1)),
        (24_000, 1, lambda x: x.astype(np.float64)),
    ],
)
def test_any_rate_shape_and_type_becomes_16_khz_mono(
    rate: int, channels: int, convert: Callable[[Samples], NDArray[Any]]
) -> None:
    source = PushSource(rate, channels)
    data = convert(tone(1.0, rate))
    for start in range(0, rate, rate // 50):
        source.push(data[start : start + rate // 50])
    source.end()
    samples = audio(asyncio.run(drain(source)))
    assert len(samples) == SAMPLE_RATE
    inner = slice(1_000, 15_000)
    np.testing.assert_allclose(samples[inner], tone(1.0, SAMPLE_RATE)[inner], atol=5e-4)


def test_the_caller_may_reuse_its_buffer() -> None:
    source = PushSource()
    buffer = noise(1_600)
    expected = buffer.copy()
    source.push(buffer)
    buffer[:] = 0
    source.end()
    np.testing.assert_array_equal(audio(asyncio.run(drain(source))), expected)


def test_a_flush_comes_after_everything_pushed_before_it() -> None:
    source = PushSource(sample_rate=48_000)
    source.push(noise(48_000))
    source.flush()
    source.flush()
    source.push(noise(24_000))
    source.end()
    items = asyncio.run(drain(source))
    place = items.index(Flush())
    assert len(audio(items[:place])) == 16_000
    assert len(audio(items[place:])) == 8_000
    assert items.count(Flush()) == 1


def test_overflow_drops_the_oldest_and_shows_as_a_gap() -> None:
    source = PushSource(capacity_s=1.0)
    samples = noise(5 * SAMPLE_RATE)
    source.push(samples)
    assert source.buffered_s == 1.0
    source.end()
    items = asyncio.run(drain(source))
    first = items[0]
    assert isinstance(first, AudioChunk)
    assert (first.start_sample, first.gap_reason) == (4 * SAMPLE_RATE, "overflow")
    assert all(isinstance(item, AudioChunk) and not item.gap_reason for item in items[1:])
    np.testing.assert_array_equal(audio(items), samples[4 * SAMPLE_RATE :])


def test_a_gap_in_the_middle_is_told_where_it_is() -> None:
    async def scenario() -> list[tuple[int, str]]:
        source = PushSource(capacity_s=0.2)
        async with source:
            source.push(noise(1_600))
            taken = [await anext(source)]
            source.push(noise(8_000))
            source.end()
            taken += [item async for item in source]
        return [(i.start_sample, i.gap_reason) for i in taken if isinstance(i, AudioChunk)]

    assert asyncio.run(scenario()) == [(0, ""), (6_400, "overflow"), (8_000, "")]


def test_a_flush_amid_dropped_audio_survives() -> None:
    source = PushSource(capacity_s=0.2)
    for _ in range(4):
        source.push(noise(3_200))
        source.flush()
    source.end()
    items = asyncio.run(drain(source))
    assert [isinstance(item, Flush) for item in items] == [True, False, False, True]


@given(
    script=st.lists(st.one_of(st.integers(1, 4_000), st.sampled_from(["flush", "take"]))),
    capacity_s=st.floats(0.1, 0.5),
)
@settings(max_examples=80, deadline=None)
def test_every_sample_is_either_read_in_its_place_or_in_a_reported_gap(
    script: list[int | str], capacity_s: float
) -> None:
    async def scenario() -> None:
        source = PushSource(capacity_s=capacity_s)
        everything = noise(200_000)
        pushed = end = 0
        async with source:
            for step in [*script, "end", *["take"] * 500]:
                if isinstance(step, int):
                    source.push(everything[pushed : pushed + step])
                    pushed += step
                elif step == "flush":
                    source.flush()
                elif step == "end":
                    source.end()
                elif source.buffered_s:
                    item = await anext(source)
                    if isinstance(item, AudioChunk):
                        expected = everything[item.start_sample : item.end_sample]
                        np.testing.assert_array_equal(item.samples, expected)
                        assert (item.gap_reason == "overflow") == (item.start_sample > end)
                        assert item.start_sample >= end
                        end = item.end_sample
                assert source.buffered_s <= seconds(samples_from_seconds(capacity_s))
            assert end == pushed

    asyncio.run(scenario())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_array_with_a_sample_that_is_no_number_is_refused_whole(value: float) -> None:
    source = PushSource()
    bad = noise(1_000)
    bad[500] = value
    with pytest.raises(SourceError, match="not a number"):
        source.push(bad)
    source.push(noise(100))
    source.end()
    np.testing.assert_array_equal(audio(asyncio.run(drain(source))), noise(100))


@pytest.mark.parametrize(
    ("channels", "samples", "message"),
    [
        (1, np.zeros(10, np.int64), "float32 or int16 samples, not int64"),
        (1, np.zeros((10, 2), np.float32), r"shape \(n, 1\), not \(10, 2\) or \(n,\)"),
        (2, np.zeros(10, np.float32), r"shape \(n, 2\), not \(10,\)"),
        (1, np.zeros((2, 2, 2), np.float32), r"shape \(n, 1\)"),
        (1, b"\0\0", "not |S"),
    ],
)
def test_the_wrong_type_or_shape_is_refused(channels: int, samples: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        PushSource(channels=channels).push(samples)


def test_pushing_after_the_end_is_an_error_and_ending_twice_is_not() -> None:
    source = PushSource()
    source.end()
    source.end()
    with pytest.raises(SourceError, match="push after the end"):
        source.push(noise(10))
    with pytest.raises(SourceError, match="flush after the end"):
        source.flush()
    assert asyncio.run(drain(source)) == []


def test_pushing_when_nobody_reads_any_more_is_an_error() -> None:
    async def scenario() -> PushSource:
        async with PushSource() as source:
            source.push(noise(10))
        return source

    source = asyncio.run(scenario())
    assert source.buffered_s == 0
    with pytest.raises(SourceError, match="has ended"):
        source.push(noise(10))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1 channel"):
        PushSource(channels=0)
    with pytest.raises(ConfigurationError, match="capacity_s must lie between"):
        PushSource(capacity_s=0.0)
    with pytest.raises(SourceError, match="cannot resample 100 Hz"):
        PushSource(sample_rate=100)


def test_the_program_says_whether_the_audio_is_live() -> None:
    assert PushSource().live
    assert not PushSource(live=False).live
