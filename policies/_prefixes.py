"""How far into a hypothesis words count as certain: what several policies ask.

The prefix that hypotheses share is due to Liu, Spanakis and Niehues (`policies.local_agreement`
tells more), the one that ends early enough to Papi, Turchi and Negri (`policies.hold_back`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from streaming.errors import ConfigurationError
from streaming.events import Word
from streaming.words import key

__all__ = ["check_agreement", "check_hold_back", "check_probability", "n_agreed", "n_before"]

_LONGEST_S = 10.0
"""Words held back longer than this have left most windows."""


def check_agreement(policy: str, n: int) -> int:
    """Return ``n``, a number of hypotheses, if it can be one.

    Raises:
        ConfigurationError: it is no whole number from 1 to 10.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 10:
        raise ConfigurationError(f"{policy}: n must be a whole number from 1 to 10, not {n}")
    return n


def check_hold_back(policy: str, seconds: float, *, name: str = "seconds") -> float:
    """Return ``seconds`` if audio of that length can be held back.

    Raises:
        ConfigurationError: it is no number from 0 to 10.
    """
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and math.isfinite(seconds) and 0 <= seconds <= _LONGEST_S):
        raise ConfigurationError(
            f"{policy}: {name} must be a number from 0 to {_LONGEST_S:g}, not {seconds}"
        )
    return float(seconds)


def check_probability(policy: str, sure: float) -> float:
    """Return ``sure`` if it can be a probability.

    Raises:
        ConfigurationError: it is no number from 0 to 1.
    """
    number = isinstance(sure, int | float) and not isinstance(sure, bool)
    if not (number and 0 <= sure <= 1):
        raise ConfigurationError(f"{policy}: sure must be a number from 0 to 1, not {sure}")
    return float(sure)


def n_agreed(history: Sequence[Sequence[Word]], n: int) -> int:
    """How many leading words the last ``n`` hypotheses share; 0 if there are fewer of them."""
    if len(history) < n:
        return 0
    newest = history[-1]
    others = [[key(word.text) for word in words] for words in history[-n:-1]]
    for i, word in enumerate(newest):
        if any(i >= len(keys) or keys[i] != key(word.text) for keys in others):
            return i
    return len(newest)


def n_before(words: Sequence[Word], until_s: float) -> int:
    """How many leading words end before ``until_s``."""
    return next((i for i, word in enumerate(words) if word.end_s >= until_s), len(words))
