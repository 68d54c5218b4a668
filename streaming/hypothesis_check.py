"""Whether what a backend returned is a `Hypothesis`, or garbage that must not be believed.

Committed text is never taken back, so what is wrong has to be seen before it is committed: a
time that is not a number would end in an event that no reader takes, words out of order in a
seam that repeats them.
"""

from __future__ import annotations

import math

from .audio import seconds
from .events import Word
from .protocols import Hypothesis, Window

__all__ = ["defect_of"]

_SLACK_S = 0.02
"""By which a word may leave the window: a position of Whisper's encoder."""
_MOST_WORDS = 2_000
"""Whisper's decoder writes at most 448 tokens, of which few are several words."""
_MOST_CHARACTERS = 60_000
"""The longest of its tokens has 128 bytes."""
_TIMINGS = ("aligned", "interpolated")


def defect_of(hypothesis: object, window: Window) -> str | None:
    """What breaks the contract of `streaming.protocols.Hypothesis`, or None.

    Args:
        hypothesis: what ``Backend.decode`` returned.
        window: what it was given.
    """
    if not isinstance(hypothesis, Hypothesis):
        return f"it is {type(hypothesis).__name__}, no Hypothesis"
    words = hypothesis.words
    if not isinstance(words, tuple) or not all(isinstance(word, Word) for word in words):
        return "its words are no tuple of Word"
    return _of_text(hypothesis) or _of_forced(hypothesis, window) or _of_numbers(hypothesis, window)


def _of_text(hypothesis: Hypothesis) -> str | None:
    words = hypothesis.words
    if len(words) > _MOST_WORDS:
        return f"it has {len(words)} words"
    texts = [word.text for word in words]
    if not all(isinstance(text, str) and text for text in texts):
        return "a text is empty, or no str"
    language: object = hypothesis.language
    if not isinstance(language, str):
        return f"its language is {type(language).__name__}, no str"
    whole = "".join(texts)
    if len(whole) > _MOST_CHARACTERS:
        return f"its words have {len(whole)} characters"
    try:
        (whole + language).encode()
    except UnicodeEncodeError:
        return "a text is not valid Unicode"
    return None


def _of_forced(hypothesis: Hypothesis, window: Window) -> str | None:
    """Forced words are repeated as they were given, so their own times are beyond doubt."""
    count = hypothesis.n_forced
    if count is None:
        return None
    if not isinstance(count, int) or not 0 <= count <= len(window.prefix):
        return f"n_forced is {count!r} of {len(window.prefix)} words that were given"
    if hypothesis.words[:count] != window.prefix[:count]:
        return f"its first {count} words are not those that were given"
    return None


def _of_numbers(hypothesis: Hypothesis, window: Window) -> str | None:
    """Not a number compares as false with everything, so that it is found like the rest."""
    words = hypothesis.words[hypothesis.n_forced or 0 :]
    kinds = {type(x) for word in words for x in (word.start_s, word.end_s, word.probability)}
    if not all(issubclass(kind, float | int) for kind in kinds):
        return "a time or a probability is no float"
    at_s = seconds(window.start_sample) - _SLACK_S
    until_s = seconds(window.end_sample) + _SLACK_S
    for place, word in enumerate(words, hypothesis.n_forced or 0):
        if not at_s <= word.start_s <= word.end_s <= until_s:
            times = f"{word.start_s:.2f} to {word.end_s:.2f} s"
            return f"word {place} lies at {times}, not within {at_s:.2f} to {until_s:.2f} s"
        if not 0.0 <= word.probability <= 1.0:
            return f"word {place} has the probability {word.probability:g}"
        at_s = word.start_s
    if hypothesis.timing not in _TIMINGS:
        return f"timing is {hypothesis.timing!r}"
    no_speech = hypothesis.no_speech_probability
    for name, value, most in (
        ("language_probability", hypothesis.language_probability, 1.0),
        ("no_speech_probability", 0.0 if no_speech is None else no_speech, 1.0),
        ("unheard_s", hypothesis.unheard_s, math.inf),
    ):
        if not isinstance(value, float | int) or not 0.0 <= value <= most or value == math.inf:
            return f"{name} is {value!r}"
    return None
