from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.trimming import TrimAtWord
from streaming.errors import ConfigurationError
from streaming.events import Word
from streaming.testing import check_trim_policy


def words(*starts_s: float) -> list[Word]:
    return [Word(f" {i}", start_s, start_s + 0.5, 0.9) for i, start_s in enumerate(starts_s)]


@pytest.mark.parametrize(("window_s", "left_s"), [(10.0, 4.0), (2.0, 0.0), (20.0, 19.0)])
def test_it_keeps_the_contract_of_a_trim_policy(window_s: float, left_s: float) -> None:
    check_trim_policy(lambda: TrimAtWord(window_s, left_s))


def test_a_window_that_is_not_too_long_stays() -> None:
    assert TrimAtWord(10.0, 4.0).trim(0.0, 10.0, words(1.0, 7.0)) is None


def test_a_long_window_is_cut_at_the_first_word_of_the_left_context() -> None:
    assert TrimAtWord(10.0, 4.0).trim(0.0, 11.0, words(1.0, 6.5, 7.5, 9.0)) == 7.5


def test_where_all_words_are_older_the_cut_is_after_the_last() -> None:
    assert TrimAtWord(10.0, 4.0).trim(0.0, 11.0, words(1.0, 3.0)) == 3.5


def test_without_a_committed_word_nothing_can_be_cut() -> None:
    assert TrimAtWord(10.0, 4.0).trim(0.0, 30.0, []) is None


@pytest.mark.parametrize(
    ("window_s", "left_s"),
    [(0.0, 0.0), (-1.0, 0.0), (math.nan, 0.0), (math.inf, 0.0), (10.0, 10.0), (10.0, -1.0)],
)
def test_limits_that_cannot_work_are_refused(window_s: float, left_s: float) -> None:
    with pytest.raises(ConfigurationError, match="trimming: "):
        TrimAtWord(window_s, left_s)


@given(
    starts_s=st.lists(st.floats(0.0, 30.0), max_size=20).map(sorted),
    window_s=st.floats(2.0, 20.0),
    left=st.floats(0.0, 0.99),
)
def test_a_cut_is_at_the_edge_of_a_word_and_leaves_no_more_than_the_left_context(
    starts_s: list[float], window_s: float, left: float
) -> None:
    committed = words(*starts_s)
    cut_s = TrimAtWord(window_s, left * window_s).trim(0.0, 31.0, committed)
    if cut_s is None:
        assert not committed
        return
    assert cut_s in {w.start_s for w in committed} | {committed[-1].end_s}
    younger = [w for w in committed if w.start_s >= 31.0 - left * window_s]
    assert cut_s == (younger[0].start_s if younger else committed[-1].end_s)
