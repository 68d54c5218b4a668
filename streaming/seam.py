"""Where a new hypothesis stops repeating what is already committed.

Every pass decodes its whole window again, so a hypothesis starts with words that were
committed before, in whatever spelling the model prefers this time. Looking for exact
n-grams at the seam duplicates words as soon as one of them is spelled differently. Here
the committed words are aligned with the start of the hypothesis by a semi-global edit
distance (all committed words against any prefix of the hypothesis; Sellers 1980) whose
costs know when each word was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from .events import Word
from .words import key

__all__ = ["seam"]

_SKIP = 1.0
"""Cost of a committed word that the hypothesis lacks, or of one that it adds."""
_CUT = 0.5
"""The same for words at the very start, which the window's edge may have cut."""
_FAR_S = 1.0
"""Words further apart in time than this are certainly not the same one."""


def _distance_s(a: Word, b: Word) -> float:
    """Seconds between two words' middles, less what their lengths explain."""
    middle = abs((a.start_s + a.end_s) - (b.start_s + b.end_s)) / 2
    slack = abs((a.end_s - a.start_s) - (b.end_s - b.start_s)) / 2
    return max(0.0, middle - slack)


def _pair_cost(a: Word, b: Word, a_key: str, b_key: str) -> float:
    """0 for the same word at the same time; above `_SKIP` for unrelated words."""
    late = min(_distance_s(a, b) / _FAR_S, 1.0)
    if a_key == b_key:
        return 0.6 * late
    return 0.9 * (1.0 - 0.6 * _likeness(a_key, b_key)) + late


@lru_cache(maxsize=8192)  # each pass brings mostly the same words again
def _likeness(a_key: str, b_key: str) -> float:
    """1 for equal keys, 0 for those that share no letter."""
    return SequenceMatcher(None, a_key, b_key, autojunk=False).ratio()


def _inside(word: Word, until_s: float) -> float:
    """Fraction of a word that lies before ``until_s``."""
    if word.start_s >= until_s:
        return 0.0
    return min(1.0, (until_s - word.start_s) / max(word.end_s - word.start_s, 0.02))


def seam(committed: Sequence[Word], hypothesis: Sequence[Word]) -> int:
    """Index of the first word of the hypothesis that is not committed yet.

    Args:
        committed: committed words whose audio is still in the window, in order.
        hypothesis: the words of a pass over that window, in order.
    """
    m, n = len(committed), len(hypothesis)
    if m == 0 or n == 0:
        return 0
    c_keys = [key(w.text) for w in committed]
    h_keys = [key(w.text) for w in hypothesis]
    # Nothing that starts long after the last committed word can be part of it.
    until_s = committed[-1].end_s
    n = next((j for j, w in enumerate(hypothesis) if w.start_s > until_s + 2 * _FAR_S), n)

    row = [_CUT * j for j in range(n + 1)]
    last_matched = [False] * (n + 1)
    for i in range(1, m + 1):
        above, row = row, [0.0] * (n + 1)
        row[0] = above[0] + _CUT
        last_matched = [False] * (n + 1)
        for j in range(1, n + 1):
            pair = above[j - 1] + _pair_cost(
                committed[i - 1], hypothesis[j - 1], c_keys[i - 1], h_keys[j - 1]
            )
            # Skipping a hypothesis word is cheap while it lies inside the committed span:
            # one committed word may now be spelled as two.
            extra = row[j - 1] + _SKIP - 0.7 * _inside(hypothesis[j - 1], committed[i - 1].end_s)
            missing = above[j] + _SKIP
            row[j] = min(pair, extra, missing)
            last_matched[j] = row[j] == pair and c_keys[i - 1] == h_keys[j - 1]
    best, best_cost = 0, float("inf")
    for j in range(n + 1):
        # Unless the last committed word was found again, a rest that begins inside the
        # committed span is more likely a new spelling of it than a new word.
        suspect = (
            0.0 if last_matched[j] else sum(0.6 * _inside(w, until_s) for w in hypothesis[j:n])
        )
        if row[j] + suspect < best_cost - 1e-9:
            best, best_cost = j, row[j] + suspect
    return best
