"""What a report shows of a session, as values. Times are stream time, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..evaluation.delays import Distribution
from ..evaluation.erasure import Withdrawal

__all__ = [
    "Dropped",
    "Mark",
    "Region",
    "ReportedPass",
    "ReportedUtterance",
    "ReportedWord",
    "SessionReport",
]


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the audio."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Audio that was lost."""

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A notice."""

    clock_s: float
    level: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ReportedWord:
    """A committed word, where it was said and when it was seen."""

    text: str
    utterance: int
    start_s: float
    end_s: float
    probability: float
    shown_s: float
    """From when on it stood there without a break, tentative or committed."""
    committed_s: float

    @property
    def shown_delay_s(self) -> float:
        """From its end to its being shown; a word that is shown before its end has none."""
        return max(0.0, self.shown_s - self.end_s)

    @property
    def commit_delay_s(self) -> float:
        """From its end to its commit."""
        return max(0.0, self.committed_s - self.end_s)


@dataclass(frozen=True, slots=True)
class ReportedUtterance:
    """What was said in one go."""

    number: int
    start_s: float
    end_s: float
    text: str
    reason: str
    """Why it ended; empty if the log ends before it does."""
    final_s: float | None
    """When its text was final."""
    language: str
    refined: str | None
    """What a larger model heard; None without one."""
    words: tuple[ReportedWord, ...]


@dataclass(frozen=True, slots=True)
class ReportedPass:
    """One run of the model."""

    start_s: float
    end_s: float
    """The audio it heard."""
    asked_s: float
    done_s: float
    """When it was due, and when it was done."""
    compute_s: float
    queue_s: float
    """How long it ran, and how long it waited for other sessions' passes before."""
    utterance: int
    n_words: int
    n_committed: int
    n_tentative: int
    looped: bool
    careful: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionReport:
    """All that is shown of one session."""

    session: str
    label: str
    started_at: str
    model: str
    backend: str
    language: str | None
    options: Mapping[str, Any]
    timed: bool
    """False if any of it was heard at pace fast, whose clock is not that of the audio:
    there are no delays."""
    resumed: bool
    """It was cut off, and its rest was heard at pace fast."""
    traced: bool
    """There is something of every pass."""
    end_reason: str | None
    """None if the log breaks off."""
    audio_s: float
    """Audio that was heard."""
    length_s: float
    """Where the time axis ends."""
    speech: tuple[Region, ...]
    utterances: tuple[ReportedUtterance, ...]
    passes: tuple[ReportedPass, ...]
    updates_s: tuple[float, ...]
    """When text came; all that is known of passes that were not traced."""
    withdrawals: tuple[Withdrawal, ...]
    dropped: tuple[Dropped, ...]
    flushes_s: tuple[float, ...]
    notices: tuple[Mark, ...]
    n_words: int
    n_utterances: int
    n_passes: int | None
    """Those of the log's totals, or those that were traced; None where nobody counted."""
    n_notices: int
    n_dropped: int
    """Pieces of audio."""
    n_withdrawn: int
    """Words."""
    dropped_s: float
    compute_s: float | None
    commit_delay: Distribution | None
    shown_delay: Distribution | None
    left_out: tuple[str, ...] = ()
    """What is too much to be drawn, a sentence each. Numbers count everything."""

    @property
    def words(self) -> tuple[ReportedWord, ...]:
        """Those of all utterances."""
        return tuple(word for utterance in self.utterances for word in utterance.words)

    @property
    def real_time_factor(self) -> float | None:
        """Compute time per second of audio."""
        if self.compute_s is None or not self.audio_s:
            return None
        return self.compute_s / self.audio_s
