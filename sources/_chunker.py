"""Cuts a stream of 16 kHz audio into chunks and numbers them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from streaming.audio import AudioChunk, Samples, samples_from_seconds
from streaming.errors import ConfigurationError

__all__ = ["Chunker"]


class Chunker:
    """Collects 16 kHz mono audio of any lengths into chunks of one length.

    Raises:
        ConfigurationError: ``chunk_s`` is not between 0.01 and 10 s.
    """

    def __init__(self, chunk_s: float) -> None:
        if not (math.isfinite(chunk_s) and 0.01 <= chunk_s <= 10.0):
            raise ConfigurationError(f"chunk_s must lie between 0.01 and 10 s, not {chunk_s:g}")
        self._length = samples_from_seconds(chunk_s)
        self._pieces: list[Samples] = []
        self._held = 0
        self._position = 0
        self._gap_reason = ""

    @property
    def end_sample(self) -> int:
        """Where the audio taken so far ends, gaps included."""
        return self._position + self._held

    def push(self, samples: Samples) -> Iterator[AudioChunk]:
        """Take audio, shape ``(n,)``; yields the chunks it completes."""
        if not len(samples):
            return
        self._pieces.append(samples)
        self._held += len(samples)
        if self._held < self._length:
            return
        audio = np.concatenate(self._pieces)
        whole = self._held - self._held % self._length
        self._pieces = [audio[whole:].copy()]
        self._held -= whole
        for start in range(0, whole, self._length):
            yield self._chunk(audio[start : start + self._length])

    def flush(self) -> Iterator[AudioChunk]:
        """Yield what is left, as a shorter chunk."""
        if self._held:
            rest = np.concatenate(self._pieces)
            self._pieces, self._held = [], 0
            yield self._chunk(rest)

    def skip(self, n_samples: int, reason: str) -> None:
        """Leave a gap here. Only after a flush."""
        self._position += n_samples
        self._gap_reason = reason

    def _chunk(self, samples: Samples) -> AudioChunk:
        chunk = AudioChunk(samples, self._position, self._gap_reason)
        self._position += len(samples)
        self._gap_reason = ""
        return chunk
