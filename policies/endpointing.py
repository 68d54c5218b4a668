"""When an utterance is over: enough silence, or too long."""

from __future__ import annotations

import math

from streaming.audio import samples_from_seconds
from streaming.errors import ConfigurationError
from streaming.events import FinalReason
from streaming.protocols import Activity

__all__ = ["TrailingSilence"]


class TrailingSilence:
    """Closes an utterance after a stretch of silence, or when it reaches the longest length."""

    def __init__(self, silence_s: float = 0.6, max_utterance_s: float = 30.0) -> None:
        """Set the two limits, in seconds.

        Raises:
            ConfigurationError: a limit is not a positive number.
        """
        for name, value in (
            ("--endpoint-silence", silence_s),
            ("--max-utterance", max_utterance_s),
        ):
            if not (math.isfinite(value) and samples_from_seconds(value) > 0):
                raise ConfigurationError(f"{name} must be more than 0 s, not {value:g}")
        self.silence_samples = samples_from_seconds(silence_s)
        self.max_utterance_samples = samples_from_seconds(max_utterance_s)

    def update(self, activity: Activity) -> FinalReason | None:
        """Say "silence" or "max_length" where that limit is reached; silence goes first."""
        if activity.silence_samples >= self.silence_samples:
            return "silence"
        if activity.utterance_samples >= self.max_utterance_samples:
            return "max_length"
        return None
