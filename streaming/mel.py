"""Whisper's log-mel spectrogram, computed as the audio arrives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .audio import Samples
from .errors import ConfigurationError, OverwrittenError
from .mel_filters import N_FFT, slaney_filters
from .mel_kernel import kernel_tables, load_kernel
from .timeline import HOP_SAMPLES

__all__ = ["IncrementalMel"]

_HALF = N_FFT // 2
_DYNAMIC_RANGE = 8.0
"""Decades below the loudest value of a window at which Whisper clamps."""


class IncrementalMel:
    """The newest log-mel frames of one contiguous stretch of audio.

    Frame ``i`` is centred on sample ``origin_sample + 160 * i``, as in the centred
    transform of Whisper (``audio.py`` of github.com/openai/whisper: n_fft 400, hop 160,
    periodic Hann window, Slaney filters). A push computes only the frames whose 400
    samples are now all there, each on its own: any split of the audio gives the same bits.
    Frames are kept as plain logarithms; Whisper's clamp and scaling depend on the loudest
    value of a window, so they happen when a window is taken.

    The stretch is reflected at its start (so the first frame waits for 201 samples) and
    extended with zeros at its end. Construction loads or compiles the kernel, which blocks.
    """

    def __init__(
        self, n_mels: int = 80, capacity_frames: int = 3_000, origin_sample: int = 0
    ) -> None:
        """Start an empty stretch.

        Args:
            n_mels: 80 or 128 bands, as the model wants.
            capacity_frames: most frames held at once, at least 1.
            origin_sample: absolute index of the stretch's first sample.

        Raises:
            ConfigurationError: one of the two numbers cannot work.
        """
        if n_mels not in (80, 128):
            raise ConfigurationError(f"Whisper models have 80 or 128 mel bands, not {n_mels}")
        if capacity_frames < 1:
            raise ConfigurationError(f"capacity_frames must be at least 1, not {capacity_frames}")
        self.n_mels = n_mels
        self._kernel = load_kernel()
        self._tables = kernel_tables()
        self._scratch = np.zeros((4, 20, 20))
        self._filters = slaney_filters(n_mels).copy()  # the kernel's type is a writable array
        touched = self._filters > 0
        first, end = touched.argmax(axis=1), touched.shape[1] - touched[:, ::-1].argmax(axis=1)
        self._bins = np.stack((first, end), axis=1).astype(np.int64)
        # Band-major, as windows are: a window is read far more often than a frame is written.
        self._frames = np.zeros((n_mels, capacity_frames), np.float32)
        self.reset(origin_sample)

    @property
    def origin_sample(self) -> int:
        """Absolute sample on which frame 0 is centred."""
        return self._origin_sample

    @property
    def start_frame(self) -> int:
        """Index of the oldest frame held."""
        return max(0, self._end_frame - self._frames.shape[1])

    @property
    def end_frame(self) -> int:
        """Index one past the newest frame."""
        return self._end_frame

    def reset(self, origin_sample: int) -> None:
        """Forget everything and start a stretch at ``origin_sample``."""
        self._origin_sample = origin_sample
        self._end_frame = 0
        self._reflected = False
        self._flushed = False
        # From the first sample of the next frame's window on; less than a window and a hop.
        self._pending = np.empty(0, np.float32)

    def push(self, samples: Samples) -> None:
        """Append audio, float32 of shape ``(n,)``, and compute the frames it completes.

        Raises:
            RuntimeError: the stretch was flushed and not reset since.
        """
        if self._flushed:
            raise RuntimeError("flush() ended this stretch of audio; reset() starts the next one")
        pending = np.concatenate((self._pending, samples), dtype=np.float32)
        if not self._reflected and len(pending) > _HALF:
            pending = np.concatenate((pending[_HALF:0:-1], pending))
            self._reflected = True
        n_frames = 0
        if self._reflected:
            n_frames = max(0, (len(pending) - N_FFT) // HOP_SAMPLES + 1)
            self._compute(pending, n_frames)
        # A view would keep the whole push alive.
        self._pending = pending[HOP_SAMPLES * n_frames :].copy()

    def flush(self) -> None:
        """End the stretch: with zeros after its ``n`` samples, ``n // 160`` frames exist.

        That is the number Whisper makes of a whole file. A stretch shorter than 201 samples
        is first extended with zeros and then reflected; one under 160 has no frame at all.
        Windows can still be taken; before more audio, `reset` must be called. Flushing
        again does nothing.
        """
        if self._flushed:
            return
        if self._reflected:
            # Frame n // 160 - 1 ends at most 40 samples after the audio; the next one, more.
            self.push(np.zeros(_HALF - HOP_SAMPLES, np.float32))
        elif len(self._pending) >= HOP_SAMPLES:
            self.push(np.zeros(_HALF + 1 - len(self._pending), np.float32))
        self._flushed = True

    def window(self, start_frame: int, end_frame: int) -> NDArray[np.float32]:
        """Frames ``start_frame`` to ``end_frame`` (exclusive) as the model wants them.

        Clamped to 8 decades below the loudest value of these frames, then ``(x + 4) / 4``.

        Returns:
            A new float32 array, shape ``(n_mels, end_frame - start_frame)``, C order.

        Raises:
            OverwrittenError: part of the range is overwritten or not computed yet.
        """
        if not self.start_frame <= start_frame <= end_frame <= self._end_frame:
            raise OverwrittenError(
                f"mel frames {start_frame} to {end_frame} are not held, "
                f"only {self.start_frame} to {self._end_frame}"
            )
        at = start_frame % self._frames.shape[1]
        tail = self._frames[:, at : at + (end_frame - start_frame)]
        head = self._frames[:, : end_frame - start_frame - tail.shape[1]]
        window = np.concatenate((tail, head), axis=1)
        if window.size:
            np.maximum(window, window.max() - np.float32(_DYNAMIC_RANGE), out=window)
        window += 4.0
        window *= 0.25
        return window

    def _compute(self, audio: Samples, n_frames: int) -> None:
        column = self._end_frame % self._frames.shape[1]
        self._kernel(
            audio,
            n_frames,
            self._tables,
            self._filters,
            self._bins,
            self._scratch,
            self._frames,
            column,
        )
        self._end_frame += n_frames
