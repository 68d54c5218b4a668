"""Which language an utterance is in, from a model's probabilities."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ConfigurationError
from ..protocols import Window

__all__ = ["choose_language", "given_language"]

_SURE = 0.5
"""Probability from which a detected language is believed."""
_STAYS = 20.0
"""Odds that a stream stays in its language from one utterance to the next."""


def given_language(window: Window, known: Mapping[str, int]) -> tuple[str, float, bool] | None:
    """The language that the window asks for, as `choose_language` gives it; None to detect it.

    Args:
        window: says the language, if it is known.
        known: the model's languages.

    Raises:
        ConfigurationError: a language that the model does not know.
    """
    if window.language is None:
        return None
    if window.language not in known:
        raise ConfigurationError(f"the model does not know the language {window.language!r}")
    return window.language, 1.0, False


def choose_language(probabilities: Mapping[str, float], window: Window) -> tuple[str, float, bool]:
    """Weigh what was detected against what is likely.

    Args:
        probabilities: of each language that the model knows.
        window: its candidates limit the choice, and its fallback language is likelier than
            others.

    Returns:
        The language, the probability of the one that detection preferred, and whether that
        was sure enough to choose it.

    Raises:
        ConfigurationError: a candidate that the model does not know.
    """
    unknown = [code for code in window.candidates if code not in probabilities]
    if unknown:
        raise ConfigurationError(f"the model does not know the language {unknown[0]!r}")
    likely = {code: probabilities[code] for code in window.candidates or probabilities}
    before = window.fallback_language
    if before is not None:
        likely[before] = probabilities.get(before, 0.0) * _STAYS
    best = max(likely, key=lambda code: likely[code])
    probability = likely[best] / (sum(likely.values()) or 1.0)
    if probability >= _SURE:
        return best, probability, True
    return before or best, probability, False
