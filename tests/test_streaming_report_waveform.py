from __future__ import annotations

import numpy as np
import pytest
from fakes import chunks_of
from hypothesis import given
from hypothesis import strategies as st

from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.report import Envelope, Waveform

STEP = 160


def outline(chunks: list[AudioChunk], most_steps: int = 64) -> Waveform:
    envelope = Envelope(most_steps)
    for chunk in chunks:
        envelope.push(chunk)
    return envelope.finish()


def noise(n_samples: int) -> Samples:
    return np.random.default_rng(n_samples).uniform(-0.5, 0.5, n_samples).astype(np.float32)


@given(
    st.integers(1, 40 * STEP),
    st.lists(st.integers(1, 900), min_size=1, max_size=8),
)
def test_the_outline_is_that_of_the_whole_however_it_is_cut(n: int, sizes: list[int]) -> None:
    samples = noise(n)
    waveform = outline(chunks_of(samples, sizes), most_steps=8)
    step = round(waveform.step_s * SAMPLE_RATE)
    assert step in (STEP * 2**power for power in range(4))
    steps = [samples[at : at + step] for at in range(0, n, step)]
    assert len(steps) == len(waveform.low) <= 8
    assert waveform.peak == pytest.approx(np.abs(samples).max())
    low = [min(0.0, float(each.min())) / waveform.peak for each in steps]
    high = [max(0.0, float(each.max())) / waveform.peak for each in steps]
    np.testing.assert_allclose(waveform.low, low, rtol=1e-5)
    np.testing.assert_allclose(waveform.high, high, rtol=1e-5)


def test_lost_audio_is_silence_of_its_length() -> None:
    waveform = outline([AudioChunk(noise(STEP), 0), AudioChunk(noise(STEP), 5 * STEP)])
    assert len(waveform.low) == 6
    assert waveform.high[1:5].tolist() == [0.0] * 4
    assert waveform.high[5] > 0


def test_silence_and_nothing_have_an_outline() -> None:
    silence = outline([AudioChunk(np.zeros(1000, np.float32), 0)])
    assert silence.peak == 0.0
    assert silence.length_s == pytest.approx(0.07)
    assert outline([]).length_s == 0.0


def test_hours_take_no_more_steps_than_seconds() -> None:
    hour = 3600 * SAMPLE_RATE
    chunks = [AudioChunk(noise(1600), at) for at in range(0, hour, hour // 100)]
    waveform = outline(chunks, most_steps=1024)
    assert 512 < len(waveform.low) <= 1024
    assert waveform.high.max() == pytest.approx(1.0, abs=0.01)
