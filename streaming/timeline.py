"""Samples and mel frames: exact conversions, in integers.

Frame ``i`` of a stretch that starts at ``origin_sample`` stands for the hop of 160 samples
that begins at ``origin_sample + 160 * i``; its analysis window is centred on that sample.
"""

from __future__ import annotations

__all__ = ["HOP_SAMPLES", "frame_of_sample", "sample_of_frame"]

HOP_SAMPLES = 160
"""Samples from one mel frame to the next: 10 ms."""


def sample_of_frame(frame: int, origin_sample: int = 0) -> int:
    """First sample of a frame's hop."""
    return origin_sample + HOP_SAMPLES * frame


def frame_of_sample(sample: int, origin_sample: int = 0) -> int:
    """Frame whose hop holds the sample; negative before ``origin_sample``."""
    return (sample - origin_sample) // HOP_SAMPLES
