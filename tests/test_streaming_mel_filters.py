from __future__ import annotations

import numpy as np
import pytest

from streaming.mel_filters import N_BINS, slaney_filters

# Values that librosa 0.11 gives for sr=16000, n_fft=400: (band, bin, weight).
LIBROSA_80 = [
    (0, 1, 0.02486259490251541),
    (1, 2, 0.022871771827340126),
    (9, 10, 0.006945197004824877),
    (39, 41, 0.011486922390758991),
    (69, 131, 0.00487553421407938),
    (79, 190, 0.0022320549469441175),
    (79, 199, 0.0004487590049393475),
    (10, 12, 0.0),
]


@pytest.mark.parametrize(("band", "frequency_bin", "weight"), LIBROSA_80)
def test_filters_are_librosas_to_the_last_bit(band: int, frequency_bin: int, weight: float) -> None:
    assert slaney_filters(80)[band, frequency_bin] == np.float32(weight)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_filters_are_float32_of_the_right_shape(n_mels: int) -> None:
    filters = slaney_filters(n_mels)
    assert filters.shape == (n_mels, N_BINS)
    assert filters.dtype == np.float32


@pytest.mark.parametrize("n_mels", [80, 128])
def test_no_filter_is_negative_not_even_its_zeros(n_mels: int) -> None:
    assert not np.signbit(slaney_filters(n_mels)).any()


@pytest.mark.parametrize("n_mels", [80, 128])
def test_every_band_hears_something(n_mels: int) -> None:
    assert (slaney_filters(n_mels).max(axis=1) > 0).all()


def test_wide_filters_have_unit_area() -> None:
    area = slaney_filters(80)[60:].sum(axis=1) * 40.0  # a bin is 40 Hz wide
    np.testing.assert_allclose(area, 1.0, atol=0.02)


def test_shared_filters_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        slaney_filters(80)[0, 0] = 1.0
