"""What the sample recording says, and how much of it was heard."""

from __future__ import annotations

from streaming.evaluation.text import count_errors

__all__ = ["SAID", "errors"]

SAID = (
    "And so, my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


def errors(heard: str) -> float:
    """Word error rate of a text that should be it."""
    rate = count_errors(SAID, heard, "en").rate
    assert rate is not None
    return rate
