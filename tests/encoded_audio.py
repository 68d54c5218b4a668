"""Media files made on the spot, with PyAV's encoders."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

__all__ = ["RATE", "encode", "tone", "wav_header", "write_float_wav"]

RATE = 44_100


def tone(duration_s: float, rate: int = RATE, frequency_hz: float = 440.0) -> NDArray[np.float32]:
    """A sine of amplitude 0.3, shape ``(n,)``."""
    time_s = np.arange(round(duration_s * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def encode(
    path: Path, codec: str, samples: NDArray[np.float32], rate: int = RATE, layout: str = "mono"
) -> Path:
    """Encode audio, shape ``(n,)`` (the same in every channel) or ``(n, channels)``."""
    channels = av.AudioLayout(layout).nb_channels
    if samples.ndim == 1:
        samples = np.repeat(samples[:, None], channels, axis=1)
    pcm = (samples * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        for start in range(0, len(pcm), 1024):
            piece = pcm[start : start + 1024].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            frame.sample_rate = rate
            frame.pts = start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def wav_header(
    data_bytes: int, *, rate: int = RATE, channels: int = 1, bits: int = 16, kind: int = 1
) -> bytes:
    """The 44 bytes before the samples; kind 1 is integers, 3 floats."""
    frame = channels * bits // 8
    fmt = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * frame, frame, bits)
    riff, data = struct.pack("<I", 36 + data_bytes), struct.pack("<I", data_bytes)
    return b"RIFF" + riff + b"WAVEfmt " + fmt + b"data" + data


def write_float_wav(path: Path, samples: NDArray[np.float32], rate: int = RATE) -> Path:
    """A mono wav file of 32-bit floats, as they are."""
    data = samples.astype("<f4").tobytes()
    path.write_bytes(wav_header(len(data), rate=rate, bits=32, kind=3) + data)
    return path
