"""The echo of what is played, taken out of what is heard, without losing who speaks meanwhile.

Two cancellers work together, because each fails where the other does not:

- An adaptive linear filter (Speex's MDF, J.-M. Valin 2007, package pyaec) subtracts the echo it
  has learnt. It leaves a speaker untouched however loud the other end is, and also a rest of
  the echo, which a recogniser still understands.
- WebRTC's AEC3 (package pywebrtc-audio) leaves nothing of an echo, and takes up to half of a
  speaker's words with it when both talk, and some even where there is no echo at all.

So the linear filter's output is heard, except where only an echo is: where AEC3 removes nearly
all that the linear filter leaves, and the filter itself removed most of what there was.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds
from streaming.errors import ConfigurationError

__all__ = ["EchoFilter"]

FRAME_SAMPLES = 160
"""Both cancellers work on 10 ms."""
TAIL_SAMPLES = samples_from_seconds(0.512)
"""Longest echo that the linear filter can learn: the room's, and the delay before it."""
SMOOTHED_FRAMES = 5
"""Levels are means over so many frames, or syllables would be judged by their gaps."""
DROP_DB = 9.0
"""AEC3 takes away this much of an echo, and less of a speaker."""
LEARNING_FRAMES = 200
"""Frames with played sound after which the linear filter has learnt the room; until then AEC3
alone says what is an echo."""
SUBTRACTED_DB = -3.0
"""The linear filter's output lies this much below what it subtracted, where it hears an echo."""
SPEAKER_FRAMES = 5
"""So many frames in a row that are no echo are somebody who speaks; one alone is an accident."""
HELD_FRAMES = 30
"""A speaker that was heard is not cut off in a gap of speech of less than this."""
SILENT_DB = -60.0
PLAYED_DB = -50.0


class EchoFilter:
    """Both cancellers, for one microphone.

    Raises:
        ConfigurationError: a package is not installed.
    """

    def __init__(self) -> None:
        try:
            from pyaec import Aec
            from pywebrtc_audio import EchoCanceller
        except ImportError:
            raise ConfigurationError(
                'echo cancellation is not installed: pip install "stream-transcribe[calls]"; '
                "or use headphones and --no-echo-cancellation"
            ) from None
        self._linear: Any = Aec(FRAME_SAMPLES, TAIL_SAMPLES, SAMPLE_RATE, False)
        self._aec3: Any = EchoCanceller(SAMPLE_RATE, 1)
        self._powers: deque[NDArray[np.float64]] = deque(maxlen=SMOOTHED_FRAMES)
        self._played_frames = 0
        self._in_a_row = 0
        self._held = 0

    def process(self, heard: Samples, played: Samples) -> Samples:
        """Heard audio without the echo.

        Args:
            heard: shape ``(n,)``; less than a whole frame at the end is padded, so pieces
                should be whole frames.
            played: what was played at the same time or a little earlier, same shape.

        Returns:
            Shape ``(n,)``, in [-1, 1].
        """
        missing = -len(heard) % FRAME_SAMPLES
        frames = np.pad(heard, (0, missing)).reshape(-1, FRAME_SAMPLES)
        references = np.pad(played, (0, missing)).reshape(-1, FRAME_SAMPLES)
        cleaned = [self._frame(*pair) for pair in zip(frames, references, strict=True)]
        whole = np.concatenate(cleaned) if cleaned else np.zeros(0, np.float32)
        return np.asarray(np.clip(whole[: len(heard)], -1.0, 1.0), dtype=np.float32)

    def _frame(self, heard: Samples, played: Samples) -> Samples:
        subtracted = self._linear.cancel_echo(_int16(heard), _int16(played))
        linear = np.array(subtracted, dtype=np.float32) / np.float32(32768)
        silenced: Samples = self._aec3.process(heard.copy(), played.copy())
        self._powers.append(
            np.array([_power(x) for x in (linear, silenced, heard - linear, played)])
        )
        linear_db, silenced_db, echo_db, played_db = 10 * np.log10(
            np.mean(self._powers, axis=0) + 1e-12
        )
        playing = played_db > PLAYED_DB
        learning = self._played_frames < LEARNING_FRAMES
        self._played_frames += bool(playing)
        echo_alone = silenced_db < linear_db - DROP_DB and (
            linear_db < echo_db - SUBTRACTED_DB or (learning and playing)
        )
        self._in_a_row = self._in_a_row + 1 if not echo_alone and linear_db > SILENT_DB else 0
        self._held = HELD_FRAMES if self._in_a_row >= SPEAKER_FRAMES else self._held - 1
        return silenced if echo_alone and (learning or self._held <= 0) else linear


def _int16(samples: Samples) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)


def _power(samples: Samples) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))
