"""Frozen option objects, checked when they are made. Seconds at this edge, samples inside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .errors import ConfigurationError

__all__ = ["Configure", "TranscriberOptions", "VadOptions"]


def _in_range(name: str, value: float, low: float, high: float, unit: str = " s") -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigurationError(
            f"{name} must lie between {low:g} and {high:g}{unit}, not {value:g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VadOptions:
    """How speech probabilities become segments.

    The hysteresis (enter at ``threshold``, leave below ``negative_threshold``) and its
    defaults follow Silero's own iterator (github.com/snakers4/silero-vad).
    """

    threshold: float = 0.5
    """Speech starts at or above this probability."""
    negative_threshold: float | None = None
    """Speech stops below this one; None means ``threshold - 0.15``, at least 0.01."""
    min_speech_s: float = 0.1
    """Shorter bursts of speech are ignored."""
    min_silence_s: float = 0.1
    """Shorter pauses are part of the speech around them."""
    pre_roll_s: float = 0.3
    """Audio kept before the first speech frame, so that first syllables survive."""

    def __post_init__(self) -> None:
        _in_range("--vad-threshold", self.threshold, 0.01, 0.99, "")
        if self.negative_threshold is not None:
            _in_range("negative_threshold", self.negative_threshold, 0.0, self.threshold, "")
        _in_range("min_speech_s", self.min_speech_s, 0.0, 5.0)
        _in_range("min_silence_s", self.min_silence_s, 0.0, 5.0)
        _in_range("pre_roll_s", self.pre_roll_s, 0.0, 2.0)

    @property
    def leave_threshold(self) -> float:
        """The negative threshold in force."""
        if self.negative_threshold is not None:
            return self.negative_threshold
        return max(self.threshold - 0.15, 0.01)


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriberOptions:
    """When to decode, over which audio, and in which language."""

    chunk_s: float = 0.5
    """New audio that makes a new pass worthwhile."""
    window_s: float = 10.0
    """A window longer than this is trimmed at a committed word."""
    left_context_s: float = 4.0
    """Audio that trimming keeps before the end of the window."""
    max_utterance_s: float = 30.0
    """Longest utterance; speech that goes on continues in the next one."""
    partials: bool = True
    """Show the text while an utterance runs. False hears each one when it is over, and so only
    once: for recordings that nobody watches."""
    language: str | None = None
    """None detects it, once per utterance."""
    candidates: tuple[str, ...] = ()
    """Languages that detection may choose from; empty means all."""
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str = ""
    """Text that the model is to take as having been said before."""
    hotwords: tuple[str, ...] = ()
    """Names and terms to expect."""

    def __post_init__(self) -> None:
        _in_range("--chunk", self.chunk_s, 0.1, 10.0)
        _in_range("--window", self.window_s, 2.0, 20.0)
        _in_range("--left-context", self.left_context_s, 0.0, 20.0)
        _in_range("--max-utterance", self.max_utterance_s, 2.0, 600.0)
        if self.window_s < self.chunk_s:
            raise ConfigurationError(
                f"--window {self.window_s:g} is shorter than --chunk {self.chunk_s:g}; "
                "a window must hold at least one chunk"
            )
        if self.left_context_s >= self.window_s:
            raise ConfigurationError(
                f"--left-context {self.left_context_s:g} must be shorter than "
                f"--window {self.window_s:g}"
            )

    @property
    def whole_prompt(self) -> str:
        """Hotwords and prompt, as the model gets them."""
        return ", ".join([*self.hotwords, self.prompt]).strip(", ")


@dataclass(frozen=True, slots=True)
class Configure:
    """A source's request to hear what follows in another way; it closes the utterance first.

    Language, candidates, task, prompt and hotwords are taken over. Windows and cadence stay as
    they were, and so does what a final model is told.
    """

    options: TranscriberOptions
