"""From any sample rate and channel count to 16 kHz mono, streaming.

The resampler is soxr at its high quality (flat to 0.91 of the band, images below -100 dB).
Its streams give the one-shot result bit for bit, however the audio is cut up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE, Samples
from streaming.errors import SourceError

__all__ = ["MAX_RATE", "MIN_RATE", "Resampler", "full_scale", "mix_down"]

MIN_RATE = 1_000
"""Hertz; the lowest rate that can be resampled."""
MAX_RATE = 768_000
"""Hertz; the highest."""


def full_scale(samples: NDArray[Any]) -> NDArray[np.float32]:
    """A new array of the same shape at full scale [-1, 1], as float32.

    Integers of any width are taken at their full scale (unsigned ones around their middle),
    floats as they are: they are not clipped, and what is not finite stays so.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = samples.astype(np.float32)
        if samples.dtype.kind in "iu":
            half = np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
            if samples.dtype.kind == "u":
                scaled -= half
            scaled /= half
        return scaled


def mix_down(samples: NDArray[Any]) -> Samples:
    """Average of the channels at `full_scale`, shape ``(n,)``.

    Args:
        samples: shape ``(n,)`` or ``(n, channels)``.
    """
    scaled = full_scale(samples)
    if scaled.ndim == 1:
        return scaled
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(scaled.mean(axis=1, dtype=np.float32), dtype=np.float32)


class Resampler:
    """Mono audio of one rate in, 16 kHz out; values beyond full scale are clipped.

    Over ``push`` and a last ``flush`` the output is ``n * 16000 / rate`` samples long, within
    one sample. After a flush a new piece of audio may follow.

    Raises:
        SourceError: the rate is out of range.
    """

    def __init__(self, rate: int) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise SourceError(
                f"cannot resample {rate} Hz; rates from {MIN_RATE} to {MAX_RATE} Hz work"
            )
        self._stream: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            self._stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def push(self, samples: Samples) -> Samples:
        """What is complete so far. Takes finite float32, shape ``(n,)``."""
        return self._process(samples, last=False)

    def flush(self) -> Samples:
        """The rest, a few milliseconds; the next push starts afresh."""
        rest = self._process(np.zeros(0, np.float32), last=True)
        if self._stream is not None:
            self._stream.clear()
        return rest

    def _process(self, samples: Samples, *, last: bool) -> Samples:
        # Clipped before as well: soxr would turn absurdly large input into infinities.
        samples = np.clip(samples, -1.0, 1.0)
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=last)
        return np.clip(resampled, -1.0, 1.0)
