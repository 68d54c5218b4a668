"""No voice activity detection: everything is speech."""

from __future__ import annotations

from ..audio import Samples

__all__ = ["NoVad"]


class NoVad:
    """Calls every frame speech. Only length, flush and end of stream then end utterances."""

    frame_samples = 160
    """10 ms, one mel hop."""

    def process(self, frame: Samples) -> float:
        """Always 1."""
        return 1.0

    def reset(self) -> None:
        """Nothing to forget."""
