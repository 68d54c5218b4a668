"""What the loudspeaker says, removed from what the microphone hears.

The filter finds the delay of the echo by itself, as long as what is played is known no later
than it is heard. This module keeps what was played, and finds the piece of it that belongs to
a piece of the microphone's audio.
"""

from __future__ import annotations

import numpy as np

from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds

from ._echo_filter import EchoFilter
from ._sliding_least import SlidingLeast

__all__ = ["ArrivalClock", "EchoRemover"]

LEAD_S = 0.06
"""How much earlier than by arrival times the played audio is taken to be: the two devices
hand over their audio with different delays, and an echo must not come before its sound."""
STEP_S = 0.03
"""Clocks of two devices drift apart; the pieces are matched anew once by so much."""
_KEPT_S = 12.0
"""Played audio that is kept for microphone audio that comes later: what a device gathers in ten
seconds before it is read, and what arrives while the two are read up to now."""
_BUCKET_S = 5.0
_BUCKETS = 6


class ArrivalClock:
    """When sample 0 of a live stream was heard, by the arrivals of the last half minute.

    Audio can be handed over late but not before it was heard, so the earliest arrival tells.
    """

    def __init__(self) -> None:
        self._zero_s = SlidingLeast(_BUCKET_S, _BUCKETS)

    def observe(self, arrival_s: float, end_sample: int) -> None:
        """Note when audio up to a sample arrived, on a clock of the caller's."""
        self._zero_s.add(arrival_s, arrival_s - end_sample / SAMPLE_RATE)

    @property
    def zero_s(self) -> float:
        """On the same clock; infinity while nothing has arrived."""
        return self._zero_s.least


class EchoRemover:
    """Takes what is played and what is heard, each in its own sample numbers.

    Raises:
        ConfigurationError: a package is not installed.
    """

    def __init__(self) -> None:
        self._filter = EchoFilter()
        self._played = np.zeros(0, np.float32)
        self._played_end = 0
        self._shift: int | None = None

    def played(self, samples: Samples, start_sample: int) -> None:
        """Keep audio that was played; what is missing before it counts as silence."""
        missing = min(max(0, start_sample - self._played_end), samples_from_seconds(_KEPT_S))
        parts = (self._played, np.zeros(missing, np.float32), samples)
        self._played = np.concatenate(parts)[-samples_from_seconds(_KEPT_S) :]
        self._played_end = start_sample + len(samples)

    def needs(self, end_sample: int, ahead_s: float) -> int:
        """End of the played audio that belongs to heard audio which ends at a sample.

        Args:
            end_sample: of what was heard.
            ahead_s: how much later sample 0 was played than heard, by arrival times.
        """
        shift = samples_from_seconds(LEAD_S - ahead_s)
        if self._shift is None or abs(shift - self._shift) > samples_from_seconds(STEP_S):
            self._shift = shift
        return end_sample + self._shift

    @property
    def played_end(self) -> int:
        """One past the newest played sample."""
        return self._played_end

    def remove(self, heard: Samples, played_end: int) -> Samples:
        """The heard audio without the echo of what was played up to then; same shape."""
        first = self._played_end - len(self._played)
        reference = np.zeros(len(heard), np.float32)
        start = played_end - len(heard)
        low, high = max(start, first), min(played_end, self._played_end)
        if low < high:
            reference[low - start : high - start] = self._played[low - first : high - first]
        return self._filter.process(heard, reference)
