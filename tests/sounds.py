"""Sound files to be played, and where what was played is heard again."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from streaming.audio import SAMPLE_RATE, Samples

__all__ = ["place_of", "write_wav"]


def write_wav(path: Path, samples: Samples) -> Path:
    """Write 16 kHz audio, shape ``(n,)`` or ``(n, channels)``, with 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def place_of(piece: Samples, audio: Samples) -> tuple[int, float]:
    """Where a piece of sound is in audio, by cross-correlation, and how well it fits, up to 1.

    Below about 2 kHz, where a shift by a part of a sample does not matter.
    """
    piece, audio = _smooth(piece), _smooth(audio)
    size = 1 << (len(audio) + len(piece)).bit_length()
    product = np.fft.rfft(audio, size) * np.conj(np.fft.rfft(piece, size))
    at = int(np.argmax(np.fft.irfft(product, size)[: len(audio)]))
    found = audio[at : at + len(piece)]
    return at, float(np.corrcoef(found, piece[: len(found)])[0, 1])


def _smooth(samples: Samples) -> Samples:
    return np.convolve(samples, np.ones(8, np.float32) / 8, mode="same").astype(np.float32)
