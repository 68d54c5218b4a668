from __future__ import annotations

import numpy as np
import pytest

from streaming.audio import SAMPLE_RATE, samples_from_seconds
from streaming.mel import IncrementalMel
from streaming.windows import LONGEST_SAMPLES, first_cut, log_mel

NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 60 * SAMPLE_RATE).astype(np.float32)


def test_what_fits_into_one_window_is_not_cut() -> None:
    assert first_cut(NOISE[:0]) is None
    assert first_cut(NOISE[: LONGEST_SAMPLES - 1]) is None
    assert first_cut(NOISE[:LONGEST_SAMPLES]) is not None


def test_the_cut_is_where_it_is_quietest_and_not_early() -> None:
    samples = NOISE.copy()
    for at_s in (5.0, 21.5, 40.0):
        at = samples_from_seconds(at_s)
        samples[at : at + 4800] = 0.0
    cut = first_cut(samples)
    assert cut is not None
    assert 21.5 <= cut / SAMPLE_RATE <= 21.8


@pytest.mark.parametrize("n_mels", [80, 128])
def test_the_mel_is_that_of_the_stretch_alone(n_mels: int) -> None:
    samples = NOISE[:50_000]
    mel = IncrementalMel(n_mels, 400, 1000)
    for at in range(0, len(samples), 777):
        mel.push(samples[at : at + 777])
    mel.flush()
    assert np.array_equal(log_mel(samples, n_mels), mel.window(0, mel.end_frame))
    assert log_mel(samples, n_mels).shape == (n_mels, 50_000 // 160)


@pytest.mark.parametrize("n_samples", [0, 1, 159, 160, 200])
def test_next_to_no_audio_has_next_to_no_mel(n_samples: int) -> None:
    assert log_mel(NOISE[:n_samples], 80).shape == (80, n_samples // 160)
