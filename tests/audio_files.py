"""Reading test recordings, and cutting audio into random pieces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from hypothesis import strategies as st

from streaming.audio import SAMPLE_RATE, Samples

JFK = Path(__file__).parent.parent / "examples" / "jfk.flac"


def read_audio(path: Path) -> Samples:
    """A whole 16 kHz mono file as float32."""
    with av.open(str(path)) as container:
        assert container.streams.audio[0].rate == SAMPLE_RATE
        resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def pieces(samples: Samples, cuts: list[int]) -> Iterator[Samples]:
    """The samples in order, cut at the given places; some pieces may be empty."""
    edges = [0, *sorted(min(cut, len(samples)) for cut in cuts), len(samples)]
    for start, end in pairwise(edges):
        yield samples[start:end]


def cuts(longest: int) -> st.SearchStrategy[list[int]]:
    """Places to cut a stream of at most ``longest`` samples."""
    return st.lists(st.integers(0, longest), max_size=30)
