"""Echo cancellation over real speech, and two live sources on one clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fakes import ScriptedSource, chunks_of
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual

from sources._echo import ArrivalClock, EchoRemover
from sources.duplex import duplex
from sources.file import FileSource
from streaming.audio import AudioChunk, Samples
from streaming.errors import SourceError
from streaming.events import Notice
from streaming.protocols import Source, SourceItem
from streaming.testing import check_source


def level_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


@pytest.fixture(scope="module")
def speech(jfk: object) -> Samples:
    async def read() -> Samples:
        async with FileSource(str(jfk), pace="fast") as source:
            return np.concatenate([c.samples async for c in source])

    return asyncio.run(read())


def echo_of(played: Samples, delay_s: float) -> Samples:
    """As a room gives it back: later, quieter, with half a second of reverberation."""
    tail = np.random.default_rng(3).standard_normal(8000) * np.exp(-np.arange(8000) / 1200) * 0.01
    room = np.concatenate([np.zeros(round(16_000 * delay_s)), [0.5], tail])
    n = len(played) + len(room)
    echo = np.fft.irfft(np.fft.rfft(played, n) * np.fft.rfft(room, n), n)
    return np.asarray(echo[: len(played)], dtype=np.float32)


class Device(ScriptedSource):
    """A live source whose audio arrives ``late_s`` after it was heard, from ``start_s`` on."""

    def __init__(self, items: Sequence[SourceItem], start_s: float = 0.0, late_s: float = 0.0):
        super().__init__(items, live=True, paced=True)
        self.wait_s = start_s + late_s

    async def __aiter__(self):  # type: ignore[no-untyped-def,override]
        await asyncio.sleep(self.wait_s)
        async for item in super().__aiter__():
            yield item


class GatheredDevice(Device):
    """A live source that began to record ``gathered_s`` before it is read."""

    gathered_s = 9.0

    async def __aiter__(self):  # type: ignore[no-untyped-def,override]
        clock = asyncio.get_running_loop().time
        began_s = clock() - self.gathered_s
        for item in self.items:
            assert isinstance(item, AudioChunk)
            await asyncio.sleep(max(0.0, began_s + item.end_sample / 16_000 - clock()))
            yield item


async def drain(source: Source) -> list[tuple[float, SourceItem]]:
    async with source:
        return [(asyncio.get_running_loop().time(), item) async for item in source]


def run(near: Source, far: Source, *, remove_echo: bool = True) -> tuple[list, list]:  # type: ignore[type-arg]
    async def scenario() -> tuple[list, list]:  # type: ignore[type-arg]
        one, two = duplex(near, far, remove_echo=remove_echo)
        both = await asyncio.gather(drain(one), drain(two))
        return both[0], both[1]

    return run_virtual(scenario())


def audio_of(items: list[tuple[float, SourceItem]]) -> Samples:
    """All of it; it must be without gaps."""
    chunks = [item for _, item in items if isinstance(item, AudioChunk)]
    end = 0
    for chunk in chunks:
        assert chunk.start_sample == end
        end = chunk.end_sample
    return np.concatenate([chunk.samples for chunk in chunks])


@pytest.mark.parametrize("delay_s", [0.0, 0.08, 0.3])
@pytest.mark.parametrize("late_s", [(0.02, 0.08), (0.1, 0.02)])
def test_what_is_played_vanishes_from_what_is_heard(
    delay_s: float, late_s: tuple[float, float], speech: Samples
) -> None:
    heard = echo_of(speech, delay_s)
    near, far = run(
        Device(chunks_of(heard, 320), late_s=late_s[0]),
        Device(chunks_of(speech, 320), late_s=late_s[1]),
    )
    cleaned = audio_of(near)
    settled = slice(4 * 16_000, len(heard))  # the filter learns the room first
    assert level_db(cleaned[settled]) < level_db(heard[settled]) - 15
    assert np.array_equal(audio_of(far)[-len(speech) :], speech)


def test_what_is_played_vanishes_from_what_gathered_before_both_were_read(speech: Samples) -> None:
    heard = echo_of(speech, 0.08)
    near, _ = run(GatheredDevice(chunks_of(heard, 800)), GatheredDevice(chunks_of(speech, 800)))
    cleaned = audio_of(near)
    settled = slice(4 * 16_000, 9 * 16_000)
    assert level_db(cleaned[settled]) < level_db(heard[settled]) - 15


def test_what_gathered_does_not_hold_up_the_event_loop(speech: Samples) -> None:
    async def scenario() -> float:
        audio = chunks_of(speech[: 9 * 16_000], 800)
        near, far = duplex(GatheredDevice(audio), GatheredDevice(audio))
        longest_s = 0.0

        async def watch() -> None:
            nonlocal longest_s
            while True:
                before_s = time.thread_time()
                await asyncio.sleep(0)
                longest_s = max(longest_s, time.thread_time() - before_s)

        watching = asyncio.ensure_future(watch())
        await asyncio.gather(drain(near), drain(far))
        watching.cancel()
        return longest_s

    assert asyncio.run(scenario()) < 0.1


def test_what_is_said_stays_while_nothing_is_played(speech: Samples) -> None:
    silence = np.zeros_like(speech)
    near, _ = run(Device(chunks_of(speech, 320)), Device(chunks_of(silence, 320)))
    cleaned = audio_of(near)
    assert len(cleaned) == len(speech)
    assert level_db(cleaned) == pytest.approx(level_db(speech), abs=1.0)


def test_without_echo_cancellation_the_audio_is_untouched(speech: Samples) -> None:
    near, far = run(
        Device(chunks_of(speech, 320)), Device(chunks_of(speech, 480)), remove_echo=False
    )
    assert np.array_equal(audio_of(near), speech)
    assert np.array_equal(audio_of(far), speech)


@pytest.mark.parametrize(("near_s", "far_s"), [(0.0, 0.4), (0.4, 0.0)])
def test_the_device_that_starts_later_begins_with_silence(near_s: float, far_s: float) -> None:
    audio = np.full(16_000, 0.25, np.float32)
    near, far = run(
        Device(chunks_of(audio, 320), start_s=near_s),
        Device(chunks_of(audio, 320), start_s=far_s),
        remove_echo=False,
    )
    starts = [int(np.flatnonzero(audio_of(items))[0]) for items in (near, far)]
    assert starts[1] - starts[0] == pytest.approx(16_000 * (far_s - near_s), abs=160)
    assert min(starts) == 0


def test_heard_audio_does_not_wait_long_for_a_device_that_says_nothing() -> None:
    audio = np.full(16_000 * 6, 0.25, np.float32)
    silent = Device(chunks_of(np.zeros(16_000, np.float32), 1600), start_s=5.0)
    near, _ = run(Device(chunks_of(audio, 320)), silent)
    late = [at_s - item.end_sample / 16_000 for at_s, item in near if isinstance(item, AudioChunk)]
    assert max(late[150:]) < 0.3  # at first both are waited for, to set their clocks


def test_gaps_and_notices_of_both_keep_their_place() -> None:
    audio = chunks_of(np.zeros(16_000, np.float32), 320)
    moved = [replace(c, start_sample=c.start_sample + 8000) for c in audio[25:]]
    moved[0] = replace(moved[0], gap_reason="overflow")
    word = Notice(message="unplugged?")
    given: list[SourceItem] = [*audio[:25], word, *moved]
    for near, far in ((Device(given), Device(audio)), (Device(audio), Device(given))):
        heard, played = run(near, far)
        items = [item for _, item in (heard if near.items is given else played)]
        at = items.index(word)
        before, after = items[at - 1], items[at + 1]
        assert isinstance(before, AudioChunk)
        assert isinstance(after, AudioChunk)
        assert (before.end_sample, after.start_sample) == (8000, 16_000)
        assert after.gap_reason == "overflow"


@given(
    late_s=st.lists(st.floats(0.0, 0.5), min_size=20, max_size=100),
    zero_s=st.floats(0.0, 1e6),
)
@settings(max_examples=50, deadline=None)
def test_the_clock_of_a_stream_is_that_of_its_earliest_arrival(
    late_s: list[float], zero_s: float
) -> None:
    clock = ArrivalClock()
    for number, late in enumerate(late_s, 1):
        clock.observe(zero_s + 0.1 * number + late, 1600 * number)
    assert clock.zero_s == pytest.approx(zero_s + min(late_s), abs=1e-6)


def test_played_audio_is_kept_for_seconds_only() -> None:
    remover = EchoRemover()
    for at in range(0, 16_000 * 30, 1600):
        remover.played(np.zeros(1600, np.float32), at)
    remover.played(np.zeros(1600, np.float32), 16_000 * 3600)  # after a gap of an hour
    assert len(remover._played) <= 16_000 * 12
    heard = np.full(1600, 0.1, np.float32)
    assert len(remover.remove(heard, remover.needs(1600, 0.0))) == 1600


@pytest.mark.parametrize("which", [0, 1])
def test_an_error_of_either_comes_after_what_was_heard(which: int) -> None:
    audio = chunks_of(np.full(16_000, 0.1, np.float32), 320)
    broken, other = Device(audio[:40]), Device(audio)
    broken.error = "the device is gone"
    ends = (broken, other) if which == 0 else (other, broken)
    got: list[SourceItem] = []

    async def hear(near: Source) -> None:
        async with near:
            async for item in near:
                got.append(item)  # noqa: PERF401 - kept when it raises

    async def scenario() -> None:
        near, far = duplex(*ends)
        waiting = asyncio.ensure_future(drain(far))
        with pytest.raises(SourceError, match="the device is gone"):
            await hear(near)
        await asyncio.gather(waiting, return_exceptions=True)

    run_virtual(scenario())
    assert len(got) in (39, 40, 41)


@pytest.mark.parametrize("which", [0, 1])
def test_each_end_keeps_the_contract(which: int) -> None:
    def make() -> Source:
        audio = chunks_of(np.full(16_000 * 2, 0.25, np.float32), 800)
        return duplex(Device(audio, start_s=0.3), Device(audio, start_s=0.1))[which]

    run_virtual(check_source(make))


def test_both_devices_are_closed_though_leaving_is_cancelled() -> None:
    class Slow(Device):
        """Takes a second to give up a wait."""

        async def __aiter__(self):  # type: ignore[no-untyped-def,override]
            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)
            yield Notice(message="never")

    async def scenario() -> None:
        ends = Slow([]), Slow([])
        near, _ = duplex(*ends, remove_echo=False)
        await near.__aenter__()
        reading = asyncio.ensure_future(anext(aiter(near)))
        await asyncio.sleep(2)
        leaving = asyncio.ensure_future(near.__aexit__(None, None, None))
        await asyncio.sleep(0.5)
        leaving.cancel()
        await asyncio.gather(leaving, reading, return_exceptions=True)
        assert leaving.cancelled()
        assert not any(end.is_open for end in ends)

    run_virtual(scenario())
