"""The Slaney mel filter bank that Whisper models were trained with.

The filters follow the mel scale of Slaney's Auditory Toolbox (1998): linear below 1 kHz,
logarithmic above, each triangle scaled to unit area. Whisper keeps the values librosa once
computed, and model files carry a copy of them, so the rounding is part of the format:
triangles in float64, stored as float32, then scaled in float64 and stored as float32 again.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .audio import SAMPLE_RATE

__all__ = ["N_BINS", "N_FFT", "slaney_filters"]

N_FFT = 400
"""Samples in an analysis window: 25 ms."""
N_BINS = N_FFT // 2 + 1
"""Frequency bins of its real spectrum."""

_LINEAR_HZ_PER_MEL = 200.0 / 3
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _mel_from_hz(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hz / _BREAK_HZ) / _LOG_STEP)


def _hz_from_mel(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    hz = _LINEAR_HZ_PER_MEL * mel
    above = mel >= _BREAK_MEL
    hz[above] = _BREAK_HZ * np.exp(_LOG_STEP * (mel[above] - _BREAK_MEL))
    return hz


@cache
def slaney_filters(n_mels: int) -> NDArray[np.float32]:
    """Filters that turn a power spectrum of ``N_BINS`` bins into ``n_mels`` bands.

    Args:
        n_mels: 80, or 128 for large-v3 and its relatives.

    Returns:
        float32, shape ``(n_mels, N_BINS)``, read-only, 0 Hz to 8 kHz; bit for bit the values
        in whisper.cpp's model files.
    """
    bins_hz = np.linspace(0.0, SAMPLE_RATE / 2, N_BINS)
    edges_hz = _hz_from_mel(np.linspace(0.0, _mel_from_hz(SAMPLE_RATE / 2), n_mels + 2))
    distance = edges_hz[:, None] - bins_hz[None, :]
    width = np.diff(edges_hz)
    filters = np.empty((n_mels, N_BINS), np.float32)
    for band in range(n_mels):
        rising = -distance[band] / width[band]
        falling = distance[band + 2] / width[band + 1]
        filters[band] = np.maximum(0.0, np.minimum(rising, falling))
    filters += 0.0  # which zero a maximum of 0.0 and -0.0 is differs between processors
    # In place: numpy multiplies in float64 and rounds the product back to float32.
    filters *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    filters.setflags(write=False)
    return filters
