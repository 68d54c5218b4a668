"""Totals of a session in constant memory."""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np

from .audio import seconds
from .events import Stats

__all__ = ["DelayHistogram", "SessionMetrics"]

_BIN_S = 0.01
_BINS = 6_000
"""One minute; a longer delay counts in the last bin, its maximum is kept exactly."""
_RECENT_WORDS = 15
"""Words whose delays make the recent one: some five seconds of speech."""


class DelayHistogram:
    """Percentiles of delays to 10 ms, however many there are."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, dtype=np.int64)
        self._max_s: float | None = None

    def add(self, delay_s: float) -> None:
        """Count one delay; a negative one counts as zero."""
        delay_s = max(delay_s, 0.0)
        self._counts[min(int(delay_s / _BIN_S), _BINS - 1)] += 1
        self._max_s = delay_s if self._max_s is None else max(self._max_s, delay_s)

    def percentile(self, percent: float) -> float | None:
        """Upper edge of the bin that holds the percentile; None if nothing was counted."""
        if self._max_s is None:
            return None
        cumulated = np.cumsum(self._counts)
        rank = max(1, int(np.ceil(percent / 100 * cumulated[-1])))
        edge = (int(np.searchsorted(cumulated, rank)) + 1) * _BIN_S
        return min(edge, self._max_s)

    @property
    def max_s(self) -> float | None:
        """The longest delay."""
        return self._max_s


class SessionMetrics:
    """What the `Stats` event reports, and what changes from moment to moment.

    Args:
        timed: False where the clock is not that of the audio: there are no delays then.
    """

    def __init__(self, *, timed: bool = True) -> None:
        self._timed = timed
        self.audio_samples = 0
        self.compute_s = 0.0
        self.passes = 0
        self.peak_queue_s = 0.0
        self.delays = DelayHistogram()
        self._recent: deque[float] = deque(maxlen=_RECENT_WORDS)
        self.queue_delays = DelayHistogram()

    def committed(self, delay_s: float) -> None:
        """Count a committed word."""
        if self._timed:
            self.delays.add(delay_s)
            self._recent.append(max(delay_s, 0.0))

    @property
    def recent_delay_s(self) -> float | None:
        """Median over the newest words."""
        return median(self._recent) if self._recent else None

    @property
    def real_time_factor(self) -> float:
        """Compute time per second of audio."""
        audio_s = seconds(self.audio_samples)
        return self.compute_s / audio_s if audio_s else 0.0

    def pass_done(self, compute_s: float, *, backlog_s: float, queue_s: float) -> None:
        """Count a pass.

        Args:
            compute_s: what it took.
            backlog_s: audio that arrived behind it.
            queue_s: how long it waited for other sessions' passes before.
        """
        self.passes += 1
        self.compute_s += compute_s
        self.peak_queue_s = max(self.peak_queue_s, backlog_s)
        self.queue_delays.add(queue_s)

    def stats(self) -> Stats:
        """The event, not yet stamped."""
        return Stats(
            audio_s=seconds(self.audio_samples),
            compute_s=self.compute_s,
            real_time_factor=self.real_time_factor,
            passes=self.passes,
            delay_p50_s=self.delays.percentile(50),
            delay_p95_s=self.delays.percentile(95),
            delay_max_s=self.delays.max_s,
            peak_queue_s=self.peak_queue_s,
            queue_delay_p50_s=self.queue_delays.percentile(50),
            queue_delay_p95_s=self.queue_delays.percentile(95),
            queue_delay_max_s=self.queue_delays.max_s,
        )
