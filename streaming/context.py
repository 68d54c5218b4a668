"""What was said before, as far as it helps the next window.

Whisper goes on from its prompt: with names, spelling and the sentence that is under way. With
more text than audio it repeats the prompt instead of listening.
"""

from __future__ import annotations

from collections.abc import Sequence

from .audio import samples_from_seconds
from .events import Word, text_of
from .words import key

__all__ = ["CONTEXT_GAP_S", "context_of", "parrots"]

CONTEXT_GAP_S = 30.0
"""After this much silence, what was said before is no longer context."""
_SHORT_SAMPLES = samples_from_seconds(3.0)
_SHORT_CONTEXT_WORDS = 6
"""Context of a window shorter than that: enough to go on with a sentence."""
_PARROTED_WORDS = 3
"""From this many words on, a hypothesis that only repeats its context is not believed."""


def context_of(before: Sequence[Word], window_samples: int) -> str:
    """The text that goes with a window, of the words said before it."""
    if window_samples < _SHORT_SAMPLES:
        before = before[-_SHORT_CONTEXT_WORDS:]
    return text_of(list(before))


def parrots(words: Sequence[Word], context: str) -> bool:
    """Whether a hypothesis only repeats a part of its context."""
    said = "".join(f" {key(word.text)}" for word in words)
    before = "".join(f" {key(word)}" for word in context.split())
    return len(words) >= _PARROTED_WORDS and f"{said} " in f"{before} "
