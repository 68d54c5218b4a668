"""Windows of recordings, as a session would make them."""

from __future__ import annotations

from streaming.audio import Samples
from streaming.mel import IncrementalMel
from streaming.protocols import Window

__all__ = ["window_of"]


def window_of(samples: Samples, start_sample: int = 0, **fields: object) -> Window:
    """A window of all the samples, in English unless it is said otherwise."""
    mel = IncrementalMel(80, 3_000, start_sample)
    mel.push(samples)
    mel.flush()
    fields = {"language": "en", **fields}
    return Window(start_sample=start_sample, mel=mel.window(0, mel.end_frame), **fields)  # type: ignore[arg-type]
