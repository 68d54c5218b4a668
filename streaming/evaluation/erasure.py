"""How much shown text is taken back."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import Committed, Event, Partial
from ..words import key

__all__ = ["withdrawn_words"]


def withdrawn_words(events: Iterable[Event]) -> int:
    """Tentative words that a later display or the end of the session took back.

    Divided by the number of final words this is the normalized erasure of Arivazhagan et
    al. 2020 ("Re-translation versus streaming for simultaneous translation"): between two
    displays, every word behind their common prefix counts as erased. Displays are the
    partials and the final transcript; words compare by letters and digits, so a change of
    case or punctuation is no erasure. Committed words are never taken back.
    """
    withdrawn = 0
    tentative: list[str] = []
    confirmed: list[str] = []  # committed since the last display
    for event in events:
        if isinstance(event, Committed):
            confirmed += [key(word.text) for word in event.words]
        elif isinstance(event, Partial):
            shown = [key(word.text) for word in event.words]
            withdrawn += _behind_common_prefix(tentative, confirmed + shown)
            tentative, confirmed = shown, []
    return withdrawn + _behind_common_prefix(tentative, confirmed)


def _behind_common_prefix(before: list[str], after: list[str]) -> int:
    common = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        common += 1
    return len(before) - common
