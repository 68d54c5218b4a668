"""Audio that is all there, as windows: cut where it is quietest, with a mel of its own.

The streaming path cuts at committed words and computes its mel as audio arrives; this is
for whoever decodes afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .audio import Samples, quietest_point, samples_from_seconds
from .mel import IncrementalMel
from .timeline import HOP_SAMPLES

__all__ = ["LONGEST_SAMPLES", "first_cut", "log_mel"]

LONGEST_SAMPLES = samples_from_seconds(28.0)
"""Audio as long as this is cut; Whisper takes 30 s."""
_SHORTEST_SAMPLES = samples_from_seconds(18.0)
"""Nothing is cut off that is shorter: the less context, the worse the text."""


def first_cut(samples: Samples) -> int | None:
    """Where to cut off what becomes the first window; None if all of it fits into one."""
    if len(samples) < LONGEST_SAMPLES:
        return None
    return _SHORTEST_SAMPLES + quietest_point(samples[_SHORTEST_SAMPLES:LONGEST_SAMPLES])


def log_mel(samples: Samples, n_mels: int) -> NDArray[np.float32]:
    """Log-mel of a piece of audio by itself, shape ``(n_mels, len(samples) // 160)``.

    Takes about 0.5 ms per second of audio, and as long as compiling the kernel takes where
    nobody did that before.
    """
    mel = IncrementalMel(n_mels, max(len(samples) // HOP_SAMPLES, 1))
    mel.push(samples)
    mel.flush()
    return mel.window(0, mel.end_frame)
