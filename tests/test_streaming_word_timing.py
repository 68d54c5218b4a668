from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streaming.backends.word_timing import FRAME_S, shrink_to_voice
from streaming.events import Word


def mel(*voiced: tuple[float, float], duration_s: float = 3.0) -> NDArray[np.float32]:
    """A window that is loud in these spans."""
    window = np.full((80, round(duration_s / FRAME_S)), -0.5, np.float32)
    for start_s, end_s in voiced:
        window[:, round(start_s / FRAME_S) : round(end_s / FRAME_S)] = 1.0
    return window


def test_a_word_before_a_pause_ends_with_its_voice() -> None:
    (word,) = shrink_to_voice([Word(" go", 0.4, 2.5, 0.9)], mel((0.5, 1.0)), 0.0)
    assert word.start_s == pytest.approx(0.47)
    assert word.end_s == pytest.approx(1.03)


def test_times_are_absolute() -> None:
    (word,) = shrink_to_voice([Word(" go", 100.4, 102.5, 0.9)], mel((0.5, 1.0)), 100.0)
    assert [word.start_s, word.end_s] == pytest.approx([100.47, 101.03])


def test_a_word_without_voice_keeps_its_times() -> None:
    words = [Word(" go", 1.5, 2.0, 0.9)]
    assert shrink_to_voice(words, mel((0.2, 0.6)), 0.0) == words


def test_audio_without_contrast_changes_nothing() -> None:
    words = [Word(" go", 0.5, 1.5, 0.9), Word(" on", 1.5, 2.5, 0.9)]
    assert shrink_to_voice(words, mel(), 0.0) == words


def test_no_words_and_no_frames_are_no_trouble() -> None:
    assert shrink_to_voice([], mel(), 0.0) == []
    words = [Word(" go", 0.5, 1.5, 0.9)]
    assert shrink_to_voice(words, np.zeros((80, 0), np.float32), 0.0) == words


@settings(deadline=None)
@given(
    edges=st.lists(st.floats(0.0, 3.5), min_size=2, max_size=12).map(sorted),
    voiced=st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 3.0)), max_size=4),
    start_s=st.sampled_from([0.0, 3600.123]),
)
def test_words_only_shrink_and_stay_in_order(
    edges: list[float], voiced: list[tuple[float, float]], start_s: float
) -> None:
    words = [
        Word(f" {i}", start_s + a, start_s + b, 0.9) for i, (a, b) in enumerate(pairwise(edges))
    ]
    shrunk = shrink_to_voice(words, mel(*((min(v), max(v)) for v in voiced)), start_s)
    assert [w.text for w in shrunk] == [w.text for w in words]
    for before, after in zip(words, shrunk, strict=True):
        assert before.start_s <= after.start_s <= after.end_s <= before.end_s
    for left, right in pairwise(shrunk):
        assert left.end_s <= right.start_s
