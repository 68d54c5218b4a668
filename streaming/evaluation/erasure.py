"""How much shown text is taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..events import Committed, Event, Partial, Word
from ..words import key

__all__ = ["Withdrawal", "withdrawals", "withdrawn_words"]


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Tentative words that disappeared, or were followed by others, in one moment."""

    words: tuple[Word, ...]
    """What was shown and is not any more, from the first word that changed."""
    clock_s: float
    """When it was taken back: the next display, or the last event."""
    instead: tuple[Word, ...]
    """What stands there now."""


def withdrawn_words(events: Iterable[Event]) -> int:
    """Tentative words that a later display or the end of the session took back.

    Divided by the number of final words this is the normalized erasure of Arivazhagan et
    al. 2020 ("Re-translation versus streaming for simultaneous translation"): between two
    displays, every word behind their common prefix counts as erased. Displays are the
    partials and the final transcript; words compare by letters and digits, so a change of
    case or punctuation is no erasure. Committed words are never taken back.
    """
    return sum(len(each.words) for each in withdrawals(events))


def withdrawals(events: Iterable[Event]) -> Iterator[Withdrawal]:
    """The words that `withdrawn_words` counts, of one session, display by display."""
    tentative: list[Word] = []
    confirmed: list[Word] = []  # committed since the last display
    clock_s = 0.0
    for event in events:
        clock_s = event.clock_s
        if isinstance(event, Committed):
            confirmed += event.words
        elif isinstance(event, Partial):
            yield from _taken_back(tentative, [*confirmed, *event.words], clock_s)
            tentative, confirmed = list(event.words), []
    yield from _taken_back(tentative, confirmed, clock_s)


def _taken_back(before: list[Word], after: list[Word], clock_s: float) -> Iterator[Withdrawal]:
    common = 0
    for old, new in zip(before, after, strict=False):
        if key(old.text) != key(new.text):
            break
        common += 1
    if before[common:]:
        yield Withdrawal(tuple(before[common:]), clock_s, tuple(after[common:]))
