from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources._resample import MAX_RATE, MIN_RATE, Resampler, mix_down
from streaming.audio import SAMPLE_RATE, Samples
from streaming.errors import SourceError

RATES = [1_000, 8_000, 11_025, 12_345, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000, 192_000]


def noise(n: int) -> Samples:
    return np.random.default_rng(n).uniform(-0.5, 0.5, n).astype(np.float32)


def sine(rate: int, frequency_hz: float, duration_s: float = 1.0) -> Samples:
    time_s = np.arange(round(rate * duration_s)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def resample(rate: int, samples: Samples) -> Samples:
    resampler = Resampler(rate)
    return np.concatenate([resampler.push(samples), resampler.flush()])


@given(
    rate=st.sampled_from(RATES),
    length=st.integers(0, 5_000),
    steps=st.lists(st.integers(1, 1_500), min_size=1, max_size=20),
)
@settings(max_examples=60, deadline=None)
def test_any_chunking_gives_the_one_shot_result_bit_for_bit(
    rate: int, length: int, steps: list[int]
) -> None:
    samples = noise(length)
    resampler = Resampler(rate)
    pieces: list[Samples] = []
    start = 0
    while start < length:
        step = steps[len(pieces) % len(steps)]
        pieces.append(resampler.push(samples[start : start + step]))
        start += step
    pieces.append(resampler.flush())
    np.testing.assert_array_equal(np.concatenate(pieces), resample(rate, samples))


@given(rate=st.integers(MIN_RATE, 200_000), length=st.integers(0, 4_000))
@settings(max_examples=60, deadline=None)
def test_length_is_kept_within_a_sample(rate: int, length: int) -> None:
    out = resample(rate, noise(length))
    assert abs(len(out) - length * SAMPLE_RATE / rate) <= 1
    assert out.dtype == np.float32


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000, 96_000, MAX_RATE])
def test_a_tone_keeps_its_pitch_level_and_place(rate: int) -> None:
    out = resample(rate, sine(rate, 1_000))
    inner = slice(1_000, 15_000)  # away from the edges, where the filter sees silence
    np.testing.assert_allclose(out[inner], sine(SAMPLE_RATE, 1_000)[inner], atol=2e-4)


@pytest.mark.parametrize("frequency_hz", [8_500, 12_000, 20_000])
def test_what_16_khz_cannot_carry_is_removed_not_folded_back(frequency_hz: float) -> None:
    out = resample(48_000, sine(48_000, frequency_hz))
    assert np.abs(out[1_000:15_000]).max() < 1e-4


def test_after_a_flush_a_new_piece_starts_afresh() -> None:
    resampler = Resampler(44_100)
    first = np.concatenate([resampler.push(noise(9_000)), resampler.flush()])
    again = np.concatenate([resampler.push(noise(9_000)), resampler.flush()])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_output_stays_within_full_scale(rate: int) -> None:
    loud = np.tile(np.array([3e38, -3e38, 1.5, -1.0], np.float32).repeat(50), 20)
    out = resample(rate, loud)
    assert np.abs(out).max() == 1.0


@pytest.mark.parametrize("rate", [0, -1, MIN_RATE - 1, MAX_RATE + 1])
def test_a_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(SourceError, match=f"cannot resample {rate} Hz"):
        Resampler(rate)


def test_channels_are_averaged() -> None:
    stereo = np.array([[0.5, -0.5], [1.0, 0.0], [0.25, 0.25]], np.float32)
    np.testing.assert_array_equal(mix_down(stereo), np.array([0.0, 0.5, 0.25], np.float32))


@pytest.mark.parametrize(
    ("dtype", "low", "middle"),
    [(np.int16, -(2**15), 0), (np.int32, -(2**31), 0), (np.uint8, 0, 128)],
)
def test_integers_are_taken_at_full_scale(dtype: type, low: int, middle: int) -> None:
    out = mix_down(np.array([low, middle], dtype))
    np.testing.assert_array_equal(out, np.array([-1.0, 0.0], np.float32))


def test_mixing_down_copies_and_leaves_its_input_alone() -> None:
    samples = np.array([0.5, 0.25], np.float32)
    mixed = mix_down(samples)
    mixed[:] = 0
    np.testing.assert_array_equal(samples, np.array([0.5, 0.25], np.float32))
