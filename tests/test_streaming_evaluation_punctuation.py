from __future__ import annotations

from streaming.evaluation.alignment import align_words
from streaming.evaluation.punctuation import LabelCount, compare_casing, compare_punctuation
from streaming.events import Word


def words(text: str) -> list[Word]:
    return [Word(" " + word, float(i), i + 0.5, 1.0) for i, word in enumerate(text.split())]


def both(ours: str, theirs: str) -> tuple[LabelCount, LabelCount]:
    a, b = words(ours), words(theirs)
    matches = align_words(a, b)
    return compare_punctuation(a, b, matches), compare_casing(a, b, matches)


def test_marks_count_one_by_one() -> None:
    marks, _ = both("so, my friend. ask not", "so my friend. ask, not.")
    assert marks == LabelCount(both=1, only_ours=1, only_theirs=2)
    assert marks.f1 == 2 / 5


def test_a_different_mark_is_wrong_twice() -> None:
    marks, _ = both("ask not?", "ask not.")
    assert marks == LabelCount(both=0, only_ours=1, only_theirs=1)
    assert marks.f1 == 0.0


def test_marks_inside_words_and_quotation_marks_do_not_count() -> None:
    marks, _ = both('"nine o\'clock," 3.5', "nine o'clock, 3.5")
    assert marks == LabelCount(both=1)


def test_a_mark_that_is_a_word_of_its_own_belongs_to_the_word_before() -> None:
    marks, _ = both("成 立 。", "成 立。")
    assert marks == LabelCount(both=1)


def test_capitals_count_on_words_that_have_them() -> None:
    _, casing = both("And so, NASA and ask Me", "And so, Nasa and Ask me")
    assert casing == LabelCount(both=1, only_ours=2, only_theirs=2)
    assert casing.f1 == 2 / 6


def test_misheard_words_are_not_compared() -> None:
    assert both("a Cat. b", "a Cap, b") == (LabelCount(), LabelCount())
    assert LabelCount().f1 is None
