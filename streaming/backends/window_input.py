"""What every backend makes of a window before it decodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, ConfigurationError
from ..protocols import Hypothesis, Window
from .vocabulary import Vocabulary

__all__ = [
    "FULL_CONTEXT",
    "MIN_FRAMES",
    "check_prompt",
    "check_window",
    "context_of_model",
    "context_positions",
    "padded_mel",
    "prompt_tokens",
    "too_short",
]

FULL_CONTEXT = 1500
"""Encoder positions of 20 ms, each of two mel frames, in Whisper's 30 s."""
MIN_FRAMES = 16
"""Less cannot hold a word, and whisper.cpp's word times need eight positions: on 11 to 15
frames they trip an assertion that ends the process."""
_MARGIN = 192
"""Positions beyond the window's own. `bench/margin.py` measures it, with the same outcome on both
native cores: tiny.en hears windows of 7 s worse with fewer, and hardly better with more."""
_MARGINS = {"base": 128}
"""Models that were found to hear as well with fewer."""
_LEAST_CONTEXT = 384
"""A window of 2 s needs a longer margin: with less, its words are garbled or said twice."""
_CONTEXT_TOKENS = 32
"""Tokens of committed text in a prompt. Measured: 100 cost a fifth of a pass and hear no better."""
_PROMPT_TOKENS = 100
"""Tokens of the user's prompt and hotwords; both together fit the model's 224."""


def check_window(window: Window, model: str, n_mels: int) -> None:
    """Refuse what the model cannot take.

    Raises:
        BackendError: another number of mel bands, or more than 30 s.
    """
    if len(window.mel) != n_mels:
        raise BackendError(f"{model} takes {n_mels} mel bands, not {len(window.mel)}")
    if window.n_frames > 2 * FULL_CONTEXT:
        raise BackendError(f"a window of {window.n_frames} frames is longer than 30 s")


def too_short(window: Window) -> Hypothesis | None:
    """What is heard in less than `MIN_FRAMES`: nothing."""
    if window.n_frames >= MIN_FRAMES:
        return None
    return Hypothesis(words=(), language=window.language or window.fallback_language or "")


def context_of_model(model: str, margin: int | None, least_context: int | None) -> tuple[int, int]:
    """Margin and least number of encoder positions, where None takes what suits the model.

    Raises:
        ConfigurationError: a negative number.
    """
    if margin is None:
        margin = _MARGINS.get(model, _MARGIN)
    if least_context is None:
        least_context = _LEAST_CONTEXT
    if min(margin, least_context) < 0:
        raise ConfigurationError("margin and least_context must be at least 0 positions")
    return margin, least_context


def context_positions(window: Window, margin: int, least_context: int) -> int:
    """Encoder positions for a window: its own and a margin, and all where care is due."""
    if window.careful:
        return FULL_CONTEXT
    own = (window.n_frames + 1) // 2
    return min(max(own + margin, least_context), FULL_CONTEXT)


def padded_mel(mel: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """A log-mel, padded with silence to shape ``(n_mels, n_frames)``."""
    # Whisper clamps to 8 decades below the maximum and scales by 4: silence is max - 2.
    padded = np.full((len(mel), n_frames), mel.max() - 2.0, dtype=np.float32)
    padded[:, : mel.shape[1]] = mel
    return padded


def check_prompt(prompt: str, vocabulary: Vocabulary, model: str) -> None:
    """Refuse a prompt of which the end would be cut off.

    Raises:
        ConfigurationError: it is longer than what a pass is given.
    """
    tokens = _asked(prompt, vocabulary)
    if len(tokens) > _PROMPT_TOKENS:
        taken = b"".join(vocabulary.tokens[token] for token in tokens[:_PROMPT_TOKENS])
        end = taken.decode("utf-8", "ignore")[-30:]
        raise ConfigurationError(
            f"hotwords and prompt have {len(tokens)} tokens, and {model} takes {_PROMPT_TOKENS}, "
            f'up to "...{end}"; leave out what matters least'
        )


def prompt_tokens(window: Window, vocabulary: Vocabulary) -> list[int]:
    """Text that stands before what is said: the user's prompt and the end of the context."""
    asked = _asked(window.prompt, vocabulary)[:_PROMPT_TOKENS]
    return asked + vocabulary.encode(window.context)[-_CONTEXT_TOKENS:]


def _asked(prompt: str, vocabulary: Vocabulary) -> list[int]:
    return vocabulary.encode(" " + prompt.strip()) if prompt.strip() else []
