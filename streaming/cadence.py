"""How much new audio makes a new pass worthwhile, under load and without.

When passes finish late, audio piles up behind them. The chunk then grows, which spends less
work on each second of audio; at the last step the running text is no longer shown. It
shrinks again, a step at a time, as soon as the passes keep up. Where passes are answered almost
at once, words that wait for longer than usual get theirs earlier.
"""

from __future__ import annotations

from .audio import samples_from_seconds

__all__ = ["Cadence"]

_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0)
_LONGEST_SAMPLES = samples_from_seconds(10.0)
"""More than this would fill the session's buffers before a pass is due."""
_PATIENCE = 2
"""Late passes in a row before the chunk grows; one slow pass is not load."""
_EASE = 4
"""Timely passes in a row before it shrinks; slower, so that it does not flap."""
_QUICK = 0.4
"""A pass behind which at most this part of a chunk has arrived leaves room for another."""
_HASTE = 0.6
"""Part of a chunk after which such another pass is due."""


class Cadence:
    """The transcriber's chunk, in samples, lengthened under load."""

    def __init__(self, chunk_samples: int) -> None:
        self._base = chunk_samples
        self._level = 0
        self._late = 0
        self._timely = 0
        self._quick = False

    @property
    def chunk_samples(self) -> int:
        """New audio that makes a pass due."""
        return min(round(self._base * _STEPS[self._level]), _LONGEST_SAMPLES)

    @property
    def hasty_samples(self) -> int:
        """New audio that makes a pass due for words that are overdue."""
        return round(self._base * _HASTE) if self._quick else self.chunk_samples

    @property
    def shows_partials(self) -> bool:
        """False once the load has gone past lengthening the chunk."""
        return self._level < len(_STEPS) - 1

    @property
    def overloaded(self) -> bool:
        """True while the chunk is longer than asked for."""
        return self._level > 0

    def observe(self, backlog_samples: int) -> None:
        """Learn how much audio had arrived behind a pass by the time it was done."""
        self._quick = self._level == 0 and backlog_samples <= _QUICK * self._base
        if backlog_samples > 2 * self.chunk_samples:
            self._late, self._timely = self._late + 1, 0
            if self._late >= _PATIENCE and self._level < len(_STEPS) - 1:
                self._level, self._late = self._level + 1, 0
        elif backlog_samples <= self.chunk_samples:
            self._timely, self._late = self._timely + 1, 0
            if self._timely >= _EASE and self._level > 0:
                self._level, self._timely = self._level - 1, 0
