from __future__ import annotations

import asyncio
import tracemalloc

import numpy as np
import pytest
from virtual_time import run_virtual

from sources.synthetic import Noise, Silence, SyntheticSource, Tone
from streaming.audio import SAMPLE_RATE, Samples
from streaming.errors import ConfigurationError


def render(*segments: Silence | Tone | Noise, chunk_s: float = 0.1, seed: int = 0) -> Samples:
    async def scenario() -> Samples:
        source = SyntheticSource(segments, pace="fast", chunk_s=chunk_s, seed=seed)
        async with source:
            return np.concatenate([chunk.samples async for chunk in source])

    return asyncio.run(scenario())


def test_segments_follow_each_other_to_the_sample() -> None:
    samples = render(Silence(1.0), Tone(0.5), Silence(0.25))
    assert len(samples) == 28_000
    assert not samples[:16_000].any()
    assert np.abs(samples[16_000:24_000]).max() == pytest.approx(0.1, rel=1e-3)
    assert not samples[24_000:].any()


def test_a_tone_has_its_frequency_and_no_seams() -> None:
    samples = render(Tone(3.0, frequency_hz=1_000, amplitude=0.5))
    time_s = np.arange(48_000) / SAMPLE_RATE
    np.testing.assert_allclose(samples, 0.5 * np.sin(2 * np.pi * 1_000 * time_s), atol=1e-6)


@pytest.mark.parametrize("color", ["white", "pink"])
def test_noise_has_the_level_asked_for(color: str) -> None:
    samples = render(Noise(20.0, "pink" if color == "pink" else "white", amplitude=0.05))
    assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.05, rel=0.1)


@pytest.mark.parametrize(("color", "slope_db"), [("white", 0.0), ("pink", -3.0)])
def test_noise_falls_by_its_slope_per_octave(color: str, slope_db: float) -> None:
    samples = render(Noise(60.0, "pink" if color == "pink" else "white", amplitude=0.05))
    blocks = samples[: len(samples) // 8192 * 8192].reshape(-1, 8192) * np.hanning(8192)
    power = np.mean(np.abs(np.fft.rfft(blocks)) ** 2, axis=0)
    octaves = [power[8 << k : 16 << k].mean() for k in range(8)]
    levels_db = 10 * np.log10(octaves)
    slope = np.polyfit(np.arange(8), levels_db, 1)[0]
    assert slope == pytest.approx(slope_db, abs=0.4)


def test_the_same_seed_gives_the_same_audio_whatever_the_chunks() -> None:
    segments: list[Tone | Noise] = [Noise(1.3), Tone(0.4), Noise(0.7, "pink")]
    first = render(*segments, chunk_s=0.1, seed=3)
    np.testing.assert_array_equal(first, render(*segments, chunk_s=0.37, seed=3))
    assert not np.array_equal(first, render(*segments, seed=4))


def test_loud_noise_is_clipped_at_full_scale() -> None:
    assert np.abs(render(Noise(1.0, amplitude=1.0))).max() == 1.0


def test_realtime_pace_takes_as_long_as_the_audio() -> None:
    async def scenario() -> list[float]:
        clock = asyncio.get_running_loop().time
        source = SyntheticSource([Tone(0.3)])
        async with source:
            return [round(clock(), 6) async for _ in source]

    assert run_virtual(scenario()) == [0.1, 0.2, 0.3]


def test_fast_pace_lets_other_tasks_run() -> None:
    async def scenario() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async with SyntheticSource([Silence(10.0)], pace="fast") as source:
            async for _ in source:
                pass
        task.cancel()
        return turns

    assert asyncio.run(scenario()) >= 100


def test_a_day_of_audio_takes_no_memory() -> None:
    async def scenario() -> None:
        async with SyntheticSource([Noise(86_400.0)], pace="fast") as source:
            for _ in range(500):
                await anext(source)

    tracemalloc.start()
    asyncio.run(scenario())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (Silence(-1.0), "cannot last -1.0 s"),
        (Silence(float("inf")), "cannot last inf s"),
        (Tone(1.0, frequency_hz=9_000), "frequency_hz must lie between 0 and 8000"),
        (Tone(1.0, amplitude=2.0), "amplitude must lie between 0 and 1"),
        (Noise(1.0, amplitude=float("nan")), "amplitude must lie between 0 and 1"),
        (Noise(1.0, color="brown"), "unknown noise 'brown'"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_segment_is_refused(segment: Silence | Tone | Noise, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SyntheticSource([segment])
