"""Windows of recordings, as a session would make them."""

from __future__ import annotations

from streaming.audio import Samples
from streaming.protocols import Window
from streaming.windows import log_mel

__all__ = ["window_of"]


def window_of(samples: Samples, start_sample: int = 0, **fields: object) -> Window:
    """A window of all the samples, in English unless it is said otherwise."""
    fields = {"language": "en", **fields}
    return Window(start_sample=start_sample, mel=log_mel(samples, 80), **fields)  # type: ignore[arg-type]
