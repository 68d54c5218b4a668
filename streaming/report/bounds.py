"""What of a long run is drawn and listed, so that a browser can show it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from .model import ReportedUtterance, SessionReport

__all__ = ["Bounds", "bounded", "clip", "clock"]

_WORD_CHARS, _TEXT_CHARS = 60, 1_000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The most of each kind that a page holds; three hours of speech have about as much."""

    sessions: int = 12
    """Each has half a dozen pictures, which a browser draws all at once."""
    words: int = 24_000
    utterances: int = 4_000
    passes: int = 24_000
    marks: int = 2_000
    """Of notices, of losses, of flushes and of words taken back, each."""

    def share(self, n_sessions: int) -> Bounds:
        """Of one session of so many."""
        n = max(1, n_sessions)
        return replace(
            self,
            words=self.words // n,
            utterances=self.utterances // n,
            passes=self.passes // n,
            marks=self.marks // n,
        )


def clip(text: str, most: int) -> str:
    """A text that is not longer than ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def clock(time_s: float) -> str:
    """Stream time as people write it: 0:07, 12:30, 1:02:03."""
    whole = max(0, round(time_s))
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def bounded(report: SessionReport, bounds: Bounds) -> SessionReport:
    """A report with the first of everything, texts of bounded length, and what is left out."""
    told: list[str] = []

    def first(items: Sequence[_T], most: int, name: str) -> tuple[_T, ...]:
        if len(items) > most:
            told.append(f"Of {len(items):,} {name}, the first {most:,} are shown.")
        return tuple(items[:most])

    utterances = _first_utterances(report.utterances, bounds)
    if len(utterances) < len(report.utterances):
        until = f", up to {clock(utterances[-1].end_s)}" if utterances else ""
        n_words = sum(len(each.words) for each in utterances)
        told.append(
            f"Of {report.n_words:,} words in {report.n_utterances:,} utterances, the first "
            f"{n_words:,} in {len(utterances):,} are shown{until}."
        )
    return replace(
        report,
        utterances=tuple(map(_short, utterances)),
        passes=first(report.passes, bounds.passes, "passes"),
        updates_s=()
        if report.traced
        else first(report.updates_s, bounds.passes, "changes of the text"),
        withdrawals=first(report.withdrawals, bounds.marks, "times when words were taken back"),
        dropped=first(report.dropped, bounds.marks, "stretches of lost audio"),
        notices=first(report.notices, bounds.marks, "notices"),
        flushes_s=first(report.flushes_s, bounds.marks, "flushes"),
        speech=first(report.speech, bounds.utterances, "stretches of speech"),
        left_out=tuple(told),
    )


def _first_utterances(
    utterances: Sequence[ReportedUtterance], bounds: Bounds
) -> Sequence[ReportedUtterance]:
    n_words = 0
    for at, utterance in enumerate(utterances[: bounds.utterances]):
        n_words += len(utterance.words)
        if n_words > bounds.words:
            return utterances[:at]
    return utterances[: bounds.utterances]


def _short(utterance: ReportedUtterance) -> ReportedUtterance:
    refined = utterance.refined
    return replace(
        utterance,
        text=clip(utterance.text, _TEXT_CHARS),
        refined=None if refined is None else clip(refined, _TEXT_CHARS),
        words=tuple(replace(word, text=clip(word.text, _WORD_CHARS)) for word in utterance.words),
    )
