"""Word times from token times and the energy of the window.

Dynamic time warping over the decoder's cross-attention (as in OpenAI's whisper, `timing.py`,
and whisper.cpp) tells where one token gives way to the next. It gives no pauses: a word
before a pause seems to last through it. The window's own energy shows where the voice was,
so each word is shrunk to the part of its span that is loud.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..events import Word

__all__ = ["FRAME_S", "shrink_to_voice", "voice_after_s"]

FRAME_S = 0.01
"""Seconds in a mel frame."""
_LOUD = 0.35
"""Share of the way from the window's quiet to its loud frames at which a frame is voice."""
_MARGIN_FRAMES = 3
"""Kept around the voice: consonants fade below the threshold first."""


def _voiced_frames(mel: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which frames of a log-mel window, shape ``(n_mels, n_frames)``, are loud."""
    energy = mel.mean(axis=0)
    quiet, loud = np.percentile(energy, (10, 90))
    if loud - quiet < 0.05:  # a fifth of a decade: no contrast to go by
        return np.ones(len(energy), dtype=np.bool_)
    return np.asarray(energy >= quiet + _LOUD * (loud - quiet), dtype=np.bool_)


def shrink_to_voice(
    words: Sequence[Word], mel: NDArray[np.float32], window_start_s: float
) -> list[Word]:
    """Pull the edges of each word in to the voiced part of its span.

    Args:
        words: absolute times, monotone.
        mel: the window they were heard in, shape ``(n_mels, n_frames)``.
        window_start_s: absolute time of its first frame.
    """
    if not words or mel.shape[1] == 0:
        return list(words)
    voiced = _voiced_frames(mel)
    shrunk = []
    for word in words:
        first = max(int((word.start_s - window_start_s) / FRAME_S), 0)
        last = min(int(np.ceil((word.end_s - window_start_s) / FRAME_S)), len(voiced))
        loud = np.flatnonzero(voiced[first:last])
        if len(loud) == 0:
            shrunk.append(word)
            continue
        start_s = window_start_s + (first + int(loud[0]) - _MARGIN_FRAMES) * FRAME_S
        end_s = window_start_s + (first + int(loud[-1]) + 1 + _MARGIN_FRAMES) * FRAME_S
        start_s, end_s = max(word.start_s, start_s), min(word.end_s, end_s)
        shrunk.append(Word(word.text, start_s, max(start_s, end_s), word.probability))
    return shrunk


def voice_after_s(time_s: float, mel: NDArray[np.float32], window_start_s: float) -> float:
    """Seconds of voice in a window after an absolute time.

    Args:
        time_s: the time, in seconds of the stream.
        mel: the window, shape ``(n_mels, n_frames)``.
        window_start_s: absolute time of its first frame.
    """
    first = max(round((time_s - window_start_s) / FRAME_S), 0)
    if first >= mel.shape[1]:
        return 0.0
    return float(np.count_nonzero(_voiced_frames(mel)[first:]) * FRAME_S)
