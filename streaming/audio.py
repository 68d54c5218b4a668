"""Audio values: what sources yield and the rate everything inside runs at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SAMPLE_RATE",
    "AudioChunk",
    "Flush",
    "Samples",
    "quietest_point",
    "samples_from_seconds",
    "seconds",
]

SAMPLE_RATE = 16_000
"""Hertz. Whisper's rate, and the only one inside; sources resample at the edge."""

Samples = NDArray[np.float32]
"""Mono audio: float32 in [-1, 1], shape ``(n,)``, 16 kHz."""


def samples_from_seconds(duration_s: float) -> int:
    """Nearest whole number of samples."""
    return round(duration_s * SAMPLE_RATE)


def seconds(n_samples: int) -> float:
    """Seconds that a number of samples lasts."""
    return n_samples / SAMPLE_RATE


def quietest_point(samples: Samples) -> int:
    """Middle of the quietest 0.2 s; the middle of all where there is not as much."""
    width = samples_from_seconds(0.2)
    if len(samples) <= width:
        return len(samples) // 2
    summed = np.cumsum(np.concatenate(([0.0], samples.astype(np.float64) ** 2)))
    return int(np.argmin(summed[width:] - summed[:-width])) + width // 2


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """A piece of audio at its absolute place in the stream.

    A chunk that starts after the end of the one before it marks a gap: audio that is lost.
    Chunks never overlap and never go back.
    """

    samples: Samples
    """Mono float32 in [-1, 1], shape ``(n,)``, n > 0."""
    start_sample: int
    """Absolute index of the first sample, counted from the start of the stream."""
    gap_reason: str = ""
    """Why audio before this chunk is missing ("overflow", "reconnect", ...), if it is."""

    @property
    def end_sample(self) -> int:
        """Index one past the last sample."""
        return self.start_sample + len(self.samples)

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return seconds(len(self.samples))


@dataclass(frozen=True, slots=True)
class Flush:
    """A source's request to close the utterance now, without waiting for silence."""
