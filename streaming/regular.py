"""Audio in pieces of one length, whatever chunks it comes in."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .audio import AudioChunk, Flush, Samples
from .options import Configure
from .protocols import SourceItem
from .session import PIECE_SAMPLES

__all__ = ["Regular"]


class Regular:
    """Cuts anew: every `PIECE_SAMPLES`, counted from the start, a gap or a flush.

    On a virtual clock audio then arrives in the same steps however a source hands it out, so
    that a recording of a run can be heard just as the run was.
    """

    def __init__(self) -> None:
        self._held: list[Samples] = []
        self._n_held = 0
        self._end_sample = 0
        self._gap_reason = ""

    def push(self, item: SourceItem) -> Iterator[SourceItem]:
        """Take the next item; yields what is complete."""
        if not isinstance(item, AudioChunk):
            if isinstance(item, Flush | Configure):
                yield from self.flush()
            yield item
            return
        if item.start_sample != self._end_sample:
            yield from self.flush()
            self._gap_reason = item.gap_reason
        self._end_sample = item.end_sample
        self._held.append(item.samples)
        self._n_held += len(item.samples)
        if self._n_held < PIECE_SAMPLES:
            return
        samples = np.concatenate(self._held)
        whole = len(samples) - len(samples) % PIECE_SAMPLES
        self._held, self._n_held = [samples[whole:]], len(samples) - whole
        start = item.end_sample - len(samples)
        for at in range(0, whole, PIECE_SAMPLES):
            yield self._piece(samples[at : at + PIECE_SAMPLES], start + at)

    def flush(self) -> Iterator[AudioChunk]:
        """Yield what is left as a shorter piece."""
        if self._n_held:
            samples = np.concatenate(self._held)
            self._held, self._n_held = [], 0
            yield self._piece(samples, self._end_sample - len(samples))

    def _piece(self, samples: Samples, start_sample: int) -> AudioChunk:
        piece = AudioChunk(samples, start_sample, self._gap_reason)
        self._gap_reason = ""
        return piece
