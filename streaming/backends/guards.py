"""What keeps a decode honest: loops, noise tags and words past the end of the audio.

Whisper repeats itself when the encoder context is short or the audio is not speech, writes
stage directions for noise, and goes on inventing words after the audio has ended. Each has
a signature that can be told from the words alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Word
from ..words import key, longest_repeat

__all__ = ["drop_noise_tags", "drop_past_end", "loop_start", "token_limit"]

_TIMES_BY_PERIOD = {1: 5, 2: 4, 3: 4}
"""Repetitions from which a block of so many words is a loop; 3 for longer blocks. People do
say "no, no, no, no"; nobody says a whole clause three times in one breath."""

_FAST_LANGUAGES = frozenset({"en"})
_TOKENS_PER_S = 8.0
_TOKENS_PER_S_OTHER = 14.0
"""Languages that Whisper's tokenizer serves less well need more tokens for a second."""
_TOKENS_SPARE = 8
_ORDINARY = 0.5
"""Ordinary speech relative to the fastest."""

_OPENERS = {"[": "]", "(": ")", "*": "*", "（": "）", "【": "】"}  # noqa: RUF001
_LONGEST_TAG = 8
"""Words in a stage direction; a longer bracket is taken for text."""


def token_limit(duration_s: float, language: str, *, careful: bool = False) -> int:
    """Most tokens that speech of this length can need; a pass that loops runs into it.

    A second try that needs more than ordinary speech does is looping again: it gets less.
    """
    rate = _TOKENS_PER_S if language in _FAST_LANGUAGES else _TOKENS_PER_S_OTHER
    return int(duration_s * rate * (_ORDINARY if careful else 1.0)) + _TOKENS_SPARE


def loop_start(words: Sequence[Word]) -> int | None:
    """Index of the first word that only repeats; None if the words do not loop."""
    start, period, times = longest_repeat([key(word.text) for word in words])
    if times < _TIMES_BY_PERIOD.get(period, 3):
        return None
    return start + period


def drop_noise_tags(words: Sequence[Word]) -> list[Word]:
    """Remove "[BLANK_AUDIO]", "(wind blowing)", "*music*" and notes, in one or more words."""
    kept: list[Word] = []
    i = 0
    while i < len(words):
        text = words[i].text.strip()
        if "♪" in text or "♫" in text:
            i += 1
            continue
        closer = _OPENERS.get(text[:1])
        if closer is not None:
            end = next(
                (
                    j
                    for j in range(i, min(i + _LONGEST_TAG, len(words)))
                    if closer in words[j].text.strip()[(1 if j == i else 0) :]
                ),
                None,
            )
            if end is not None:
                i = end + 1
                continue
            if i + _LONGEST_TAG >= len(words):  # still open where the text ends
                break
        kept.append(words[i])
        i += 1
    return kept


def drop_past_end(words: Sequence[Word], end_s: float) -> list[Word]:
    """Remove trailing words that have no duration and sit on the last frames.

    Words invented past the end of the audio find nothing to align to and collapse there.
    """
    kept = list(words)
    while kept and kept[-1].start_s >= end_s - 0.1 and kept[-1].end_s - kept[-1].start_s < 0.03:
        kept.pop()
    return kept
