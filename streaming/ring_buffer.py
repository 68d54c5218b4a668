"""Ring buffer of samples, addressed by absolute sample index."""

from __future__ import annotations

import numpy as np

from .audio import Samples
from .errors import ConfigurationError, OverwrittenError

__all__ = ["RingBuffer"]


class RingBuffer:
    """The newest ``capacity`` samples of a stream, addressed as the stream counts them.

    All memory is taken at construction. Writing overwrites the oldest samples; reading
    what was overwritten is an error and never garbage.
    """

    def __init__(self, capacity: int, start_sample: int = 0) -> None:
        """Make an empty buffer.

        Args:
            capacity: most samples held at once, at least 1.
            start_sample: absolute index of the first sample that will be written.

        Raises:
            ConfigurationError: ``capacity`` is less than 1.
        """
        if capacity < 1:
            raise ConfigurationError(f"a ring buffer must hold at least 1 sample, not {capacity}")
        self._samples = np.zeros(capacity, np.float32)
        self.clear(start_sample)

    @property
    def capacity(self) -> int:
        """Most samples held at once."""
        return len(self._samples)

    @property
    def start_sample(self) -> int:
        """Index of the oldest sample held."""
        return max(self._first_sample, self._end_sample - len(self._samples))

    @property
    def end_sample(self) -> int:
        """Index one past the newest sample."""
        return self._end_sample

    def write(self, samples: Samples) -> None:
        """Append samples, float32 of shape ``(n,)``; more than ``capacity`` leaves the newest."""
        capacity = len(self._samples)
        newest = samples[-capacity:]
        at = (self._end_sample + len(samples) - len(newest)) % capacity
        before_wrap = min(len(newest), capacity - at)
        self._samples[at : at + before_wrap] = newest[:before_wrap]
        self._samples[: len(newest) - before_wrap] = newest[before_wrap:]
        self._end_sample += len(samples)

    def read(self, start: int, end: int) -> Samples:
        """Copy of the samples ``start`` to ``end`` (exclusive), float32 of shape ``(n,)``.

        Raises:
            OverwrittenError: part of the range is overwritten or not written yet.
        """
        if not self.start_sample <= start <= end <= self._end_sample:
            raise OverwrittenError(
                f"samples {start} to {end} are not in the ring buffer, "
                f"which holds {self.start_sample} to {self._end_sample}"
            )
        at = start % len(self._samples)
        tail = self._samples[at : at + (end - start)]
        head = self._samples[: end - start - len(tail)]
        return np.concatenate((tail, head))

    def clear(self, start_sample: int) -> None:
        """Forget everything; the next sample written is number ``start_sample``."""
        self._first_sample = start_sample
        self._end_sample = start_sample
