"""The outline of a recording of any length, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..audio import SAMPLE_RATE, AudioChunk, Samples

__all__ = ["MOST_STEPS", "Envelope", "Waveform"]

MOST_STEPS = 32_768
"""Steps of an outline at most: an hour has one every 0.16 s."""
_FIRST_STEP_SAMPLES = SAMPLE_RATE // 100


@dataclass(frozen=True, slots=True)
class Waveform:
    """Lowest and highest sample of every step, in parts of the loudest one."""

    step_s: float
    low: NDArray[np.float32]
    """Shape (n,), -1 to 1."""
    high: NDArray[np.float32]
    peak: float
    """The loudest sample, 0 to 1."""

    @property
    def length_s(self) -> float:
        """Of the audio."""
        return len(self.low) * self.step_s


class Envelope:
    """Takes audio piece by piece; steps are joined in pairs when there are too many.

    Args:
        most_steps: an even number.
    """

    def __init__(self, most_steps: int = MOST_STEPS) -> None:
        self._step_samples = _FIRST_STEP_SAMPLES
        self._low = np.zeros(most_steps, np.float32)
        self._high = np.zeros(most_steps, np.float32)
        self._end_sample = 0

    def push(self, chunk: AudioChunk) -> None:
        """Take the next piece; what is missing before it is silence."""
        samples: Samples = chunk.samples
        start = chunk.start_sample
        self._end_sample = chunk.end_sample
        while chunk.end_sample > len(self._low) * self._step_samples:
            self._join_pairs()
        first = start // self._step_samples
        # Where a step begins inside the chunk; the first one may have begun before it.
        edges = np.arange(first + 1, -(-chunk.end_sample // self._step_samples))
        starts = np.concatenate(([0], edges * self._step_samples - start)).astype(np.int64)
        steps = slice(first, first + len(starts))
        np.minimum(self._low[steps], np.minimum.reduceat(samples, starts), out=self._low[steps])
        np.maximum(self._high[steps], np.maximum.reduceat(samples, starts), out=self._high[steps])

    def finish(self) -> Waveform:
        """The outline of what was pushed."""
        n_steps = -(-self._end_sample // self._step_samples)
        low, high = self._low[:n_steps], self._high[:n_steps]
        peak = float(max(-low.min(initial=0.0), high.max(initial=0.0)))
        scale = np.float32(1 / peak if peak else 1.0)
        return Waveform(self._step_samples / SAMPLE_RATE, low * scale, high * scale, peak)

    def _join_pairs(self) -> None:
        for kept, lowest in ((self._low, np.minimum), (self._high, np.maximum)):
            half = len(kept) // 2
            kept[:half] = lowest(kept[::2], kept[1::2])
            kept[half:] = 0.0
        self._step_samples *= 2
