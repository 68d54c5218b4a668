"""Punctuation and casing of committed words, against the offline pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..events import Word
from ..words import key

__all__ = ["LabelCount", "compare_casing", "compare_punctuation"]

_MARKS = frozenset(".,?!:;…。、，？！：；؟،؛।۔")  # noqa: RUF001
"""Marks that structure a sentence; quotation marks and brackets are left out."""


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Labels that both have, that only ours has, and that only the offline pass has."""

    both: int = 0
    only_ours: int = 0
    only_theirs: int = 0

    def __add__(self, other: LabelCount) -> LabelCount:
        return LabelCount(
            self.both + other.both,
            self.only_ours + other.only_ours,
            self.only_theirs + other.only_theirs,
        )

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where neither text has a label."""
        total = 2 * self.both + self.only_ours + self.only_theirs
        return 2 * self.both / total if total else None


def compare_punctuation(
    ours: Sequence[Word], theirs: Sequence[Word], matches: Sequence[int | None]
) -> LabelCount:
    """Compare the marks after words that both texts have. A label is a word with one mark."""
    count = LabelCount()
    for i, j in _same_words(ours, theirs, matches):
        a, b = _marks_after(ours, i), _marks_after(theirs, j)
        count += LabelCount(len(a & b), len(a - b), len(b - a))
    return count


def compare_casing(
    ours: Sequence[Word], theirs: Sequence[Word], matches: Sequence[int | None]
) -> LabelCount:
    """Compare the capitals of words that both texts have. A label is a word with capitals."""
    count = LabelCount()
    for i, j in _same_words(ours, theirs, matches):
        a, b = _capitals(ours[i].text), _capitals(theirs[j].text)
        if a and a == b:
            count += LabelCount(both=1)
        else:
            count += LabelCount(only_ours=bool(a), only_theirs=bool(b))
    return count


def _same_words(
    ours: Sequence[Word], theirs: Sequence[Word], matches: Sequence[int | None]
) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, j in enumerate(matches)
        if j is not None and key(ours[i].text) == key(theirs[j].text)
    ]


def _marks_after(words: Sequence[Word], i: int) -> frozenset[str]:
    """Marks at the end of a word and in the words of punctuation alone that follow it."""
    text = words[i].text
    end = max(k for k, c in enumerate(text) if key(c)) + 1
    tail = text[end:]
    for word in words[i + 1 :]:
        if key(word.text):
            break
        tail += word.text
    return _MARKS & set(tail)


def _capitals(text: str) -> tuple[int, ...]:
    """Places of capitals among the letters and digits."""
    letters = [c for c in text if c.isalnum()]
    return tuple(i for i, c in enumerate(letters) if c.isupper())
