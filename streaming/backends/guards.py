"""What keeps a decode honest: loops, noise tags and words past the end of the audio.

Whisper repeats itself when the encoder context is short or the audio is not speech, writes
stage directions for noise, and goes on inventing words after the audio has ended. Each has
a signature that can be told from the words alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..events import Word
from ..words import ends_sentence, key, longest_repeat

__all__ = ["drop_in_silence", "drop_noise_tags", "drop_past_end", "loop_start", "token_limit"]

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

_MOMENT_S = 0.03
"""A word shorter than this has no duration: one position of the encoder, and rounding."""
_TOO_FAST_S = 0.05
"""Nobody says words at this rate on average."""
_APART_S = 0.1
"""A word without duration this long after the voice is none that the voice has said."""
_INVENTED_WORDS = 3
"""Words that nobody says in one moment."""

_OPENERS = {"[": "]", "(": ")", "*": "*", "（": "）", "【": "】"}  # noqa: RUF001
_LONGEST_TAG = 8
"""Words in a stage direction; a longer bracket is taken for text."""
_OPEN_TAG = 2
"""Words of one that may be cut off by the end of the text."""


def token_limit(duration_s: float, language: str, *, careful: bool = False) -> int:
    """Most tokens that speech of this length can need; a pass that loops runs into it.

    A second try that needs more than ordinary speech does is looping again: it gets less.
    """
    rate = _TOKENS_PER_S if language in _FAST_LANGUAGES else _TOKENS_PER_S_OTHER
    return int(duration_s * rate * (_ORDINARY if careful else 1.0)) + _TOKENS_SPARE


def loop_start(words: Sequence[Word]) -> int | None:
    """Index of the first word that only repeats, where the repetition goes on to the end.

    None if the words do not loop. A repetition that other words follow was said.
    """
    start, period, times = longest_repeat([key(word.text) for word in words])
    rest = len(words) - (start + period * times)
    if times < _TIMES_BY_PERIOD.get(period, 3) or rest > period:
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
            if i + _OPEN_TAG >= len(words):  # cut off where the text ends
                break
        kept.append(words[i])
        i += 1
    return kept


def drop_past_end(words: Sequence[Word], end_s: float) -> list[Word]:
    """Remove trailing words that have no duration, or hardly any.

    Words invented past the end of the audio find nothing to align to and collapse onto one
    moment: the last frames, or the end of the last word, which they squeeze. One or two
    squeezed words elsewhere are an accident of alignment and stay, and so does the first of
    them where it goes on with a sentence.
    """
    kept = list(words)
    while (keep := _before_squeezed(kept, end_s)) < len(kept):
        kept = kept[:keep]  # before an invented phrase there may be another one
    return kept


def drop_in_silence(words: Sequence[Word], voice_after_s: Callable[[float], float]) -> list[Word]:
    """Remove trailing words without duration that stand in the silence after what was said.

    A prompt of names has the model go on with a list, or begin the sentence anew, where the
    speaker has stopped. A real last word may lose its duration to the one before it, but then
    begins where that one ends, or with voice to come.

    Args:
        words: in order, shrunk to their voice.
        voice_after_s: seconds of voice after a time.
    """
    kept = list(words)
    while len(kept) > 1 and _stands_in_silence(kept[-2], kept[-1], voice_after_s):
        kept.pop()
    return kept


def _stands_in_silence(before: Word, word: Word, voice_after_s: Callable[[float], float]) -> bool:
    return (
        word.end_s - word.start_s < _MOMENT_S
        and word.start_s - before.end_s >= _APART_S
        and voice_after_s(word.start_s) < _MOMENT_S
    )


def _before_squeezed(words: Sequence[Word], end_s: float) -> int:
    """How many words stay."""
    squeezed = _squeezed_start(words)
    n_squeezed = len(words) - squeezed
    at_end = n_squeezed > 0 and words[squeezed].start_s >= end_s - 0.1
    if n_squeezed < _INVENTED_WORDS and not at_end:
        return len(words)
    copy = _repeat_start([key(word.text) for word in words], squeezed)
    if copy is not None:
        return copy
    goes_on = squeezed > 0 and not ends_sentence(words[squeezed - 1].text)
    return squeezed + goes_on


def _squeezed_start(words: Sequence[Word]) -> int:
    """Index of the first word without duration after which nothing has a speakable one."""
    for i, word in enumerate(words):
        span_s = words[-1].end_s - word.start_s
        if word.end_s - word.start_s < _MOMENT_S and span_s < _TOO_FAST_S * (len(words) - i):
            return i
    return len(words)


def _repeat_start(keys: Sequence[str], squeezed: int) -> int | None:
    """Where, at or after ``squeezed``, the words begin to say once more what stands before.

    A real last word may be squeezed together with the invented ones. None if they repeat
    nothing.
    """
    for at in range(squeezed, len(keys)):
        for period in range(2, at + 1):
            again = keys[at : at + period]
            if len(again) > 1 and again == keys[at - period : at][: len(again)]:
                return at
    return None
