"""What the sessions of a benchmark are given to hear, each another part of the same readings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from _recordings import commit_delays, shifted

from streaming import AudioDropped, Event, Word
from streaming.audio import Samples, quietest_point, samples_from_seconds, seconds

__all__ = ["CLIPS", "Heard", "percentile", "talk"]

CLIPS = ("printing_231s", "bush_radio_127s")
"""Readings without longer pauses."""
_TURN_S = (5.0, 9.0)
"""Speech between two silences is cut where it is quietest between these lengths."""


@dataclass
class Heard:
    """What one session was given and what came of it."""

    audio: Samples
    spoken: list[Word]
    events: list[Event]

    def delays(self) -> list[tuple[float, float]]:
        """When a word was committed and how long after its end, in seconds."""
        return commit_delays(self.events, self.spoken)

    @property
    def dropped_s(self) -> float:
        """Audio that was lost."""
        return sum(e.end_s - e.start_s for e in self.events if isinstance(e, AudioDropped))


def talk(
    audio: Samples, spoken: tuple[Word, ...], length: int, silent: float, place: float
) -> Heard:
    """So much of a recording from a place on (0 to 1), a share of it pauses in between."""
    longer = np.concatenate((audio, audio))
    words = [*spoken, *(shifted(word, seconds(len(audio))) for word in spoken)]
    low, high = (samples_from_seconds(turn_s) for turn_s in _TURN_S)
    start = round(place * len(audio))
    # Where there are pauses, not all begin to speak at once.
    at = round(place * (low + high) / 2 / (1 - silent)) if silent else 0
    parts = [np.zeros(at, np.float32)]
    heard: list[Word] = []
    while at < length:
        turn = len(audio)
        if silent:
            turn = low + quietest_point(longer[start + low : start + high])
        moved_s, end_s = seconds(at - start), seconds(start + turn)
        heard += [shifted(w, moved_s) for w in words if seconds(start) <= w.start_s < end_s]
        pause = round(turn * silent / (1 - silent))
        parts += [longer[start : start + turn], np.zeros(pause, np.float32)]
        start, at = (start + turn) % len(audio), at + turn + pause
    last_s = seconds(length) - 0.1
    return Heard(np.concatenate(parts)[:length], [w for w in heard if w.end_s < last_s], [])


def percentile(values_s: list[float], percent: int) -> str:
    """As a table shows it."""
    return f"{np.percentile(values_s, percent):.2f}" if values_s else "-"
