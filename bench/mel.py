"""Incremental mel: cost of a push against recomputing a window, and distance from float64.

    python bench/mel.py [--json]

The ratio is what half a second costs compared with ten seconds through the same kernel.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from _report import median_s, report
from numpy.typing import NDArray

from streaming.audio import Samples
from streaming.mel import IncrementalMel
from streaming.mel_filters import slaney_filters

SPEECH = Path(__file__).parent.parent / "examples" / "jfk.flac"


def read_speech(n_samples: int) -> Samples:
    with av.open(str(SPEECH)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    pcm = np.concatenate(frames)[:n_samples]
    return (pcm / np.float32(np.iinfo(pcm.dtype).max + 1)).astype(np.float32)


def reference(samples: Samples, n_mels: int) -> NDArray[np.float64]:
    """The same features by numpy's transform in float64, all at once."""
    padded = np.pad(np.pad(samples.astype(np.float64), (0, 400)), (200, 0), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(samples) // 160]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    log_mel = np.log10(np.maximum(slaney_filters(n_mels) @ power.T, 1e-10))
    scaled: NDArray[np.float64] = (np.maximum(log_mel, log_mel.max() - 8) + 4) / 4
    return scaled


def measure_bands(n_mels: int) -> dict[str, str | float]:
    mel = IncrementalMel(n_mels)
    ten, half = read_speech(160_000), read_speech(8_000)

    def recompute() -> None:
        mel.reset(0)
        mel.push(ten)
        mel.flush()

    recompute_s = median_s(recompute, 50)
    distance = np.abs(mel.window(0, 1_000) - reference(ten, n_mels)).max()
    window_s = median_s(lambda: mel.window(0, 1_000), 200)
    mel.reset(0)
    push_s = median_s(lambda: mel.push(half), 400)
    return {
        "bands": str(n_mels),
        "push 0.5 s (ms)": push_s * 1e3,
        "recompute 10 s (ms)": recompute_s * 1e3,
        "ratio": f"1/{recompute_s / push_s:.1f}",
        "take a 10 s window (ms)": window_s * 1e3,
        "numpy float64 10 s (ms)": median_s(lambda: reference(ten, n_mels), 10) * 1e3,
        "largest distance from float64": float(distance),
    }


def measure() -> list[dict[str, str | float]]:
    return [measure_bands(n_mels) for n_mels in (80, 128)]


if __name__ == "__main__":
    report("Incremental mel", measure, ["numpy", "numba"])
