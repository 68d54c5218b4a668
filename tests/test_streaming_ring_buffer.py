from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from audio_files import cuts, pieces
from hypothesis import given
from hypothesis import strategies as st

from streaming.audio import Samples
from streaming.errors import ConfigurationError, OverwrittenError
from streaming.ring_buffer import RingBuffer


def numbered(start: int, end: int) -> Samples:
    """Samples whose values are their own absolute indices."""
    return np.arange(start, end, dtype=np.float32)


@given(
    capacity=st.integers(1, 50),
    start=st.integers(0, 10_000),
    lengths=st.lists(st.integers(0, 120), max_size=12),
    data=st.data(),
)
def test_every_held_range_reads_as_it_was_written(
    capacity: int, start: int, lengths: list[int], data: st.DataObject
) -> None:
    ring = RingBuffer(capacity, start)
    end = start
    for n in lengths:
        ring.write(numbered(end, end + n))
        end += n
    assert ring.end_sample == end
    assert ring.start_sample == max(start, end - capacity)
    first = data.draw(st.integers(ring.start_sample, end))
    last = data.draw(st.integers(first, end))
    np.testing.assert_array_equal(ring.read(first, last), numbered(first, last))


@given(capacity=st.integers(1, 50), n=st.integers(0, 200), where=cuts(200))
def test_any_split_leaves_the_same_samples_as_one_write(
    capacity: int, n: int, where: list[int]
) -> None:
    whole, split = RingBuffer(capacity), RingBuffer(capacity)
    whole.write(numbered(0, n))
    for piece in pieces(numbered(0, n), where):
        split.write(piece)
    assert (split.start_sample, split.end_sample) == (whole.start_sample, whole.end_sample)
    held = whole.read(whole.start_sample, n)
    np.testing.assert_array_equal(split.read(split.start_sample, n), held)


def test_reading_what_was_overwritten_raises() -> None:
    ring = RingBuffer(100)
    ring.write(numbered(0, 101))
    with pytest.raises(OverwrittenError, match=r"samples 0 to 10 .* holds 1 to 101"):
        ring.read(0, 10)


def test_reading_what_is_not_yet_written_raises() -> None:
    ring = RingBuffer(100, start_sample=40)
    ring.write(numbered(40, 60))
    with pytest.raises(OverwrittenError):
        ring.read(50, 61)
    with pytest.raises(OverwrittenError):
        ring.read(39, 60)


def test_a_backward_range_raises() -> None:
    ring = RingBuffer(100)
    ring.write(numbered(0, 50))
    with pytest.raises(OverwrittenError):
        ring.read(20, 10)


def test_a_read_is_a_copy_that_later_writes_leave_alone() -> None:
    ring = RingBuffer(10)
    ring.write(numbered(0, 10))
    held = ring.read(0, 10)
    ring.write(numbered(10, 20))
    np.testing.assert_array_equal(held, numbered(0, 10))


def test_clear_forgets_the_old_and_counts_on_from_the_new_start() -> None:
    ring = RingBuffer(100)
    ring.write(numbered(0, 80))
    ring.clear(1_000)
    assert (ring.start_sample, ring.end_sample) == (1_000, 1_000)
    ring.write(numbered(1_000, 1_010))
    np.testing.assert_array_equal(ring.read(1_000, 1_010), numbered(1_000, 1_010))
    with pytest.raises(OverwrittenError):
        ring.read(999, 1_010)


def test_writing_takes_no_memory() -> None:
    ring = RingBuffer(100_000)
    chunk = numbered(0, 8_000)
    ring.write(chunk)
    tracemalloc.start()
    for _ in range(100):
        ring.write(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < chunk.nbytes / 4


def test_a_buffer_for_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least 1 sample, not 0"):
        RingBuffer(0)
