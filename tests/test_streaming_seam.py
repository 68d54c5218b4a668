from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.events import Word
from streaming.seam import seam


def words(text: str, start_s: float = 0.0, step_s: float = 0.4) -> list[Word]:
    return [
        Word(" " + word, start_s + i * step_s, start_s + i * step_s + 0.9 * step_s, 0.9)
        for i, word in enumerate(text.split())
    ]


SAID = words("ask not what your country can do for you")


def rest(committed: list[Word], hypothesis: list[Word]) -> str:
    return "".join(word.text for word in hypothesis[seam(committed, hypothesis) :])


def test_with_nothing_on_one_side_there_is_nothing_to_skip() -> None:
    assert seam([], SAID) == 0
    assert seam(SAID, []) == 0


def test_committed_words_are_skipped_in_any_spelling() -> None:
    heard = words("Ask not, what your Country can do for you")
    assert rest(SAID[:5], heard) == " can do for you"


def test_a_word_that_is_misheard_this_time_is_not_said_again() -> None:
    assert rest(SAID[:5], words("ask not what your county can do")) == " can do"
    assert rest(SAID[:5], words("ask knot what your country can do")) == " can do"
    assert rest(SAID[:5], words("ask not what you're country can do")) == " can do"


def test_a_committed_word_that_is_now_two_is_not_said_again() -> None:
    committed = words("we live underground now")
    heard = [*words("we live"), Word(" under", 0.8, 0.97, 0.9), Word(" ground", 0.97, 1.16, 0.9)]
    heard += words("now and", 1.2)
    assert rest(committed[:3], heard) == " now and"
    assert rest(committed, heard) == " and"


def test_two_committed_words_that_are_now_one_are_not_said_again() -> None:
    committed = [
        *words("we live"),
        Word(" under", 0.8, 0.97, 0.9),
        Word(" ground", 0.97, 1.16, 1.0),
    ]
    assert rest(committed, words("we live underground now and")) == " now and"


def test_a_first_word_that_the_window_cut_does_no_harm() -> None:
    heard = [Word(" try", 1.8, 1.96, 0.5), *SAID[5:]]
    assert rest(SAID[3:6], heard) == " do for you"
    assert rest(SAID[4:6], SAID[5:]) == " do for you"  # and if it is not heard at all


def test_a_word_missing_in_the_middle_does_no_harm() -> None:
    heard = [w for i, w in enumerate(SAID) if i != 2]
    assert rest(SAID[:5], heard) == " can do for you"


def test_a_word_said_twice_is_kept_twice() -> None:
    said = words("it is very very good")
    assert rest(said[:3], said) == " very good"
    assert rest(said[:4], said) == " good"
    said = words("no no no no")
    for n in range(5):
        assert seam(said[:n], said) == n


def test_a_sentence_said_twice_is_kept_twice() -> None:
    said = words("I did not I did not say so")
    for n in range(len(said) + 1):
        assert seam(said[:n], said) == n


def test_a_hypothesis_of_other_times_and_words_altogether_is_all_new() -> None:
    assert seam(words("yes"), words("completely different", 10.0)) == 0


def test_a_hypothesis_that_hears_less_than_is_committed_has_nothing_new() -> None:
    assert rest(SAID, SAID[:4]) == ""


texts = st.lists(
    st.sampled_from(["a", "very", "good", "dog", "sat", "so", "so", "so"]), max_size=14
)


@given(said=texts, n=st.integers(0, 14))
def test_a_hypothesis_that_starts_with_the_committed_words_is_cut_right_after_them(
    said: list[str], n: int
) -> None:
    heard = words(" ".join(said))
    committed = heard[:n]
    assert seam(committed, heard) == len(committed)


@settings(deadline=None)
@given(said=texts.filter(len), n=st.integers(1, 14), seed=st.integers(0, 1000))
def test_times_that_jitter_a_little_do_not_move_the_seam(
    said: list[str], n: int, seed: int
) -> None:
    rng = random.Random(seed)
    heard = words(" ".join(said))
    committed = heard[:n]
    moved = []
    for word in heard:
        shift_s = rng.uniform(-0.1, 0.1)
        moved.append(replace(word, start_s=word.start_s + shift_s, end_s=word.end_s + shift_s))
    assert seam(committed, moved) == len(committed)


@pytest.mark.parametrize("n", [0, 1, 3])
@settings(deadline=None)
@given(data=st.data())
def test_the_seam_lies_inside_the_hypothesis_whatever_is_in_it(n: int, data: st.DataObject) -> None:
    time_s = st.floats(0.0, 20.0)

    def drawn() -> list[Word]:
        spans = data.draw(st.lists(st.tuples(time_s, time_s), max_size=6))
        return [
            Word(data.draw(st.sampled_from(["", " a", " ...", " dog", "雪"])), min(s), max(s), 0.5)
            for s in sorted(spans)
        ]

    committed, heard = drawn()[:n], drawn()
    assert 0 <= seam(committed, heard) <= len(heard)
