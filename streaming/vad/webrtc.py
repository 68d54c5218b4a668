"""The voice activity detector of the WebRTC project."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..audio import SAMPLE_RATE, Samples
from ..errors import ConfigurationError

__all__ = ["WebRtcVad"]


class WebRtcVad:
    """Gaussian mixtures over six frequency bands (webrtc.org, ``common_audio/vad``).

    It decides yes or no, so the probability is 0 or 1 and thresholds between the two change
    nothing; it already holds on for a few frames after speech by itself. Cheap, and easily
    taken in by loud noise.
    """

    frame_samples = 480
    """30 ms, the longest frame it takes."""

    def __init__(self, aggressiveness: int = 2) -> None:
        """Load the detector.

        Args:
            aggressiveness: 0 (calls much speech) to 3 (calls little speech).

        Raises:
            ConfigurationError: no such aggressiveness, or the package is not installed.
        """
        if aggressiveness not in range(4):
            raise ConfigurationError(f"webrtc aggressiveness is 0 to 3, not {aggressiveness}")
        try:
            import webrtcvad
        except ImportError as error:
            raise ConfigurationError(
                f"--vad webrtc cannot load webrtcvad ({error}); pip install webrtcvad-wheels"
            ) from error
        detector: Callable[[int], Any] = webrtcvad.Vad  # the package has no types
        self._make = partial(detector, aggressiveness)
        self._vad = self._make()

    def process(self, frame: Samples) -> float:
        """1 where the detector hears speech, else 0."""
        pcm = (np.clip(frame, -1.0, 1.0) * 32767).astype("<i2")
        return float(self._vad.is_speech(pcm.tobytes(), SAMPLE_RATE))

    def reset(self) -> None:
        """Forget the stream so far."""
        self._vad = self._make()
