"""The compiled inner loop of the log-mel spectrogram.

A frame's spectrum is a 400-point Fourier transform of real samples. With ``n = 20 a + b``
and ``k = c + 20 d`` it falls into three small steps (the four-step algorithm of
D. H. Bailey, "FFTs in external or hierarchical memory", 1990), ``W`` being a root of unity:

.. code-block:: text

    A[c, b]     = sum over a of  x[20 a + b] * W20^(a c)
    B[c, b]     = A[c, b] * W400^(b c)
    X[c + 20 d] = sum over b of  B[c, b] * W20^(b d)

Samples are real, so c = 0 ... 10 suffices: a bin above 200 mirrors one below. The inner
loops run over 20 neighbours, which the compiler turns into vector instructions. Sums are
in float64 and in a fixed order, so a frame comes out the same whichever frames are computed
along with it.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .audio import Samples
from .mel_filters import N_FFT
from .timeline import HOP_SAMPLES

__all__ = ["Kernel", "kernel_tables", "load_kernel", "log_mel_frames"]

Kernel = Callable[..., None]
"""`log_mel_frames`, compiled."""

_SIDE = 20
_FLOOR = 1e-10

_SIGNATURE = (
    "void(float32[::1], int64, float64[:, :, ::1], float32[:, ::1], int64[:, ::1],"
    " float64[:, :, ::1], float32[:, ::1], int64)"
)

_logger = logging.getLogger(__name__)


def kernel_tables() -> NDArray[np.float64]:
    """Constants of the transform, shape ``(5, 20, 20)``.

    Cosine and sine of the 20th roots of unity, cosine and sine of the 400th, and the
    periodic Hann window.
    """
    i = np.arange(_SIDE)
    angle = 2 * np.pi * np.outer(i, i)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
    return np.stack(
        [
            np.cos(angle / _SIDE),
            np.sin(angle / _SIDE),
            np.cos(angle / N_FFT),
            np.sin(angle / N_FFT),
            hann.reshape(_SIDE, _SIDE),
        ]
    )


def log_mel_frames(
    audio: Samples,
    n_frames: int,
    tables: NDArray[np.float64],
    filters: NDArray[np.float32],
    bins: NDArray[np.int64],
    scratch: NDArray[np.float64],
    out: NDArray[np.float32],
    column: int,
) -> None:
    """Log10 mel energies of consecutive frames, at least -10, not clamped or scaled.

    Args:
        audio: the first frame's 400 samples and 160 more for each further frame.
        n_frames: how many.
        tables: what `kernel_tables` returns.
        filters: shape ``(n_mels, 201)``.
        bins: first bin and one past the last bin that each filter touches, ``(n_mels, 2)``.
        scratch: working memory, shape ``(4, 20, 20)``.
        out: ring of columns, shape ``(n_mels, capacity)``.
        column: where the first frame goes; further frames wrap around.
    """
    cos20, sin20, cos400, sin400, window = tables[0], tables[1], tables[2], tables[3], tables[4]
    x, re, im = scratch[0], scratch[1], scratch[2]
    power = scratch[3].reshape(N_FFT)
    for frame in range(n_frames):
        for a in range(_SIDE):
            for b in range(_SIDE):
                x[a, b] = window[a, b] * audio[HOP_SAMPLES * frame + _SIDE * a + b]
        for c in range(_SIDE // 2 + 1):
            for b in range(_SIDE):
                re[c, b] = 0.0
                im[c, b] = 0.0
            for a in range(_SIDE):
                for b in range(_SIDE):
                    re[c, b] += x[a, b] * cos20[a, c]
                    im[c, b] -= x[a, b] * sin20[a, c]
        for c in range(_SIDE // 2 + 1):
            for d in range(_SIDE):
                x[0, d] = 0.0
                x[1, d] = 0.0
            for b in range(_SIDE):
                u = re[c, b] * cos400[c, b] + im[c, b] * sin400[c, b]
                v = im[c, b] * cos400[c, b] - re[c, b] * sin400[c, b]
                for d in range(_SIDE):
                    x[0, d] += u * cos20[b, d] + v * sin20[b, d]
                    x[1, d] += v * cos20[b, d] - u * sin20[b, d]
            for d in range(_SIDE):
                k = c + _SIDE * d
                power[min(k, N_FFT - k)] = x[0, d] * x[0, d] + x[1, d] * x[1, d]
        for band in range(filters.shape[0]):
            energy = 0.0
            for k in range(bins[band, 0], bins[band, 1]):
                energy += filters[band, k] * power[k]
            out[band, (column + frame) % out.shape[1]] = math.log10(max(energy, _FLOOR))


@functools.cache
def load_kernel() -> Kernel:
    """The compiled `log_mel_frames`, from numba's cache on disk where there is one.

    A compilation says so in one INFO line of this module's logger. Where the cache cannot
    be used (no writable folder, a full disk, a damaged file), the kernel is compiled
    without it, and a WARNING says why. Blocks for a second or so: call it off the loop.
    """
    # Imported here: numba costs a fifth of a second that most commands need not pay.
    from numba import njit
    from numba.core import event

    class Announcement(event.Listener):
        """Speaks when numba begins to compile, which it does not where the cache serves."""

        def on_start(self, event: Any) -> None:
            if event.data["dispatcher"].py_func is log_mel_frames:
                _logger.info("compiling the mel kernel, about a second (once, where cached)")

        def on_end(self, event: Any) -> None:
            """Nothing to say."""

    compiled: Kernel
    with event.install_listener("numba:compile", Announcement()):
        try:
            compiled = njit([_SIGNATURE], cache=True)(log_mel_frames)
        except Exception as error:
            # numba reports troubles of the cache by many types, RuntimeError the least odd.
            # Nothing hides here: a fault of the kernel itself is raised again below.
            _logger.warning(
                "compiled code cannot be cached (%s); set NUMBA_CACHE_DIR to a writable folder",
                error,
            )
            compiled = njit([_SIGNATURE])(log_mel_frames)
    return compiled
