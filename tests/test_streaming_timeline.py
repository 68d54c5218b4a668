from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.timeline import HOP_SAMPLES, frame_of_sample, sample_of_frame


@given(sample=st.integers(0, 10**12), origin=st.integers(0, 10**12))
def test_a_sample_lies_in_the_hop_of_its_frame(sample: int, origin: int) -> None:
    start = sample_of_frame(frame_of_sample(sample, origin), origin)
    assert start <= sample < start + HOP_SAMPLES


@given(frame=st.integers(-(10**9), 10**9), origin=st.integers(0, 10**12))
def test_a_frame_comes_back_from_its_first_sample(frame: int, origin: int) -> None:
    assert frame_of_sample(sample_of_frame(frame, origin), origin) == frame
