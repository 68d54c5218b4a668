"""Which word of the offline pass a committed word is."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Word
from ..words import key
from .text import evaluation_module

__all__ = ["align_words"]

_MAX_SHIFT_S = 2.0
"""Two readings of one word never lie further apart; such a pair is an accident of the text
(a repeated phrase, a loop)."""


def align_words(committed: Sequence[Word], offline: Sequence[Word]) -> list[int | None]:
    """For each committed word the index of its counterpart in the offline pass, or None.

    The alignment has the fewest edits (Levenshtein over `streaming.words.key`); a substituted
    word counts as the counterpart of what stands in its place. Pairs whose end times differ
    by more than 2 s are dropped, and words of punctuation alone have no counterpart. The
    bit-parallel implementation takes milliseconds for an hour of speech.

    Raises:
        ConfigurationError: the packages for evaluation are not installed.
    """
    levenshtein = evaluation_module("rapidfuzz.distance.Levenshtein")
    ours = [(i, k) for i, word in enumerate(committed) if (k := key(word.text))]
    theirs = [(i, k) for i, word in enumerate(offline) if (k := key(word.text))]
    matches: list[int | None] = [None] * len(committed)
    for edit in levenshtein.opcodes([k for _, k in ours], [k for _, k in theirs]):
        if edit.tag not in ("equal", "replace"):
            continue
        pairs = zip(
            ours[edit.src_start : edit.src_end],
            theirs[edit.dest_start : edit.dest_end],
            strict=True,
        )
        for (i, _), (j, _) in pairs:
            if abs(committed[i].end_s - offline[j].end_s) <= _MAX_SHIFT_S:
                matches[i] = j
    return matches
