from __future__ import annotations

import numpy as np
from fakes import chunks_of
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.audio import AudioChunk, Flush
from streaming.events import Notice
from streaming.protocols import SourceItem
from streaming.regular import Regular
from streaming.session import PIECE_SAMPLES


def regular(items: list[SourceItem]) -> list[tuple[int, int, str] | str]:
    cutter = Regular()
    cut = [piece for item in items for piece in cutter.push(item)] + list(cutter.flush())
    return [
        (item.start_sample, item.end_sample, item.gap_reason)
        if isinstance(item, AudioChunk)
        else type(item).__name__
        for item in cut
    ]


def chunk(start: int, end: int, reason: str = "") -> AudioChunk:
    return AudioChunk(np.zeros(end - start, np.float32), start, reason)


def test_pieces_are_counted_from_the_start_a_gap_or_a_flush() -> None:
    items: list[SourceItem] = [
        chunk(0, 1000),
        chunk(1000, 2000),
        Flush(),
        chunk(2000, 3700),
        chunk(5000, 6601, "x"),
    ]
    assert regular(items) == [
        (0, 1600, ""),
        (1600, 2000, ""),
        "Flush",
        (2000, 3600, ""),
        (3600, 3700, ""),
        (5000, 6600, "x"),
        (6600, 6601, ""),
    ]


def test_a_notice_cuts_nothing() -> None:
    assert regular([chunk(0, 1000), Notice(), chunk(1000, 1600)]) == ["Notice", (0, 1600, "")]


@settings(deadline=None)
@given(
    n=st.integers(1, 9000),
    sizes=st.lists(st.integers(1, 4000), min_size=1),
    start=st.integers(0, 3),
)
def test_any_chunks_become_the_same_pieces(n: int, sizes: list[int], start: int) -> None:
    audio = np.arange(n, dtype=np.float32)
    cutter = Regular()
    pieces = [p for c in chunks_of(audio, sizes, start) for p in cutter.push(c)]
    pieces += cutter.flush()
    chunks = [piece for piece in pieces if isinstance(piece, AudioChunk)]
    assert np.array_equal(np.concatenate([c.samples for c in chunks]), audio)
    starts = range(start, start + n, PIECE_SAMPLES)
    assert [c.start_sample for c in chunks] == list(starts)
