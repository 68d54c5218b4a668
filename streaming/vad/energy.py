"""Voice activity by loudness over an adaptive noise floor."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from ..audio import Samples

__all__ = ["EnergyVad"]

_SMOOTHING = 0.7
_BLOCK_FRAMES = 25
_BLOCKS = 8
_MIN_BIAS = 1.5
_FIRST_FLOOR = 1e-5
_LEAST_FLOOR = 1e-7
_MIDPOINT_DB = 9.0
_SLOPE_DB = 1.5


class EnergyVad:
    """Needs no package and no model; good for clean recordings of one voice.

    The noise floor is the least smoothed power of the last four seconds, corrected for the
    bias of a minimum: minimum statistics (R. Martin, "Noise power spectral density
    estimation based on optimal smoothing and minimum statistics", 2001), over the whole
    band and with fixed smoothing. The probability is a logistic curve over the frame's
    level above that floor: 0.5 at 9 dB. Until four seconds have been heard the floor is at
    most -50 dBFS, so that a stream may begin with speech; it never falls under -70 dBFS,
    so digital silence does not make a whisper of dither loud.
    """

    frame_samples = 320
    """20 ms."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the stream so far."""
        self._smoothed: float | None = None
        self._minima = deque([_FIRST_FLOOR / _MIN_BIAS] * _BLOCKS, maxlen=_BLOCKS)
        self._block_minimum = math.inf
        self._block_frames = 0

    def process(self, frame: Samples) -> float:
        """Probability that the frame is speech, given the frames before it."""
        power = float(np.var(frame, dtype=np.float64))  # without the microphone's offset
        if self._smoothed is None:
            self._smoothed = power
        self._smoothed = _SMOOTHING * self._smoothed + (1 - _SMOOTHING) * power
        self._block_minimum = min(self._block_minimum, self._smoothed)
        self._block_frames += 1
        floor = max(_LEAST_FLOOR, _MIN_BIAS * min(self._block_minimum, *self._minima))
        if self._block_frames == _BLOCK_FRAMES:
            self._minima.append(self._block_minimum)
            self._block_minimum = math.inf
            self._block_frames = 0
        level_db = 10 * math.log10(max(power, _LEAST_FLOOR) / floor)
        return 1 / (1 + math.exp((_MIDPOINT_DB - level_db) / _SLOPE_DB))
