"""Which audio may leave the window.

Trimming at a committed word follows the buffer trimming of Macháček, Dabre and Bojar,
"Turning Whisper into real-time transcription system" (2023); the left context that is kept
gives the model a run-up, and the seam something to hold on to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from streaming.errors import ConfigurationError
from streaming.events import Word

__all__ = ["TrimAtWord"]


class TrimAtWord:
    """Once the window is longer than ``window_s``, cut it at a committed word.

    The cut is the start of the first committed word that lies within the last
    ``left_context_s`` seconds; if every committed word is older, it is the end of the last of
    them, and what is not committed yet stays.
    """

    def __init__(self, window_s: float = 10.0, left_context_s: float = 4.0) -> None:
        if not (math.isfinite(window_s) and window_s > 0):
            raise ConfigurationError(f"trimming: window_s must be positive, not {window_s:g}")
        if not 0 <= left_context_s < window_s:
            raise ConfigurationError(
                f"trimming: left_context_s must be at least 0 and less than window_s, "
                f"not {left_context_s:g}"
            )
        self.window_s = window_s
        self.left_context_s = left_context_s

    def trim(self, start_s: float, end_s: float, committed: Sequence[Word]) -> float | None:
        """See `streaming.protocols.TrimPolicy`."""
        if end_s - start_s <= self.window_s or not committed:
            return None
        keep_from_s = end_s - self.left_context_s
        cut_s = next((w.start_s for w in committed if w.start_s >= keep_from_s), None)
        if cut_s is None:
            cut_s = committed[-1].end_s
        return cut_s if cut_s > start_s else None
