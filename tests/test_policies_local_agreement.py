from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.local_agreement import LocalAgreement
from streaming.errors import ConfigurationError
from streaming.events import Word, text_of
from streaming.testing import check_commit_policy


def words(text: str) -> list[Word]:
    return [Word(" " + word, float(i), i + 1.0, 0.9) for i, word in enumerate(text.split())]


def agree(n: int, *history: str) -> tuple[str, str]:
    commit = LocalAgreement(n).update([words(text) for text in history], (), 10.0)
    return text_of(commit.words), text_of(commit.tentative)


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_it_keeps_the_contract_of_a_commit_policy(n: int) -> None:
    check_commit_policy(lambda: LocalAgreement(n))


def test_the_longest_shared_prefix_is_committed_in_the_newest_spelling() -> None:
    assert agree(2, "and so my fellow", "And so, my friends") == (" And so, my", " friends")


def test_fewer_hypotheses_than_asked_for_commit_nothing() -> None:
    assert agree(2, "and so") == ("", " and so")
    assert agree(3, "and so", "and so") == ("", " and so")


def test_all_of_the_last_n_must_agree() -> None:
    assert agree(3, "and so we", "and no we", "and so we") == (" and", " so we")
    assert agree(2, "x", "and so we", "and so we") == (" and so we", "")


def test_one_is_enough_if_one_is_asked_for() -> None:
    assert agree(1, "and so") == (" and so", "")


def test_agreement_after_a_difference_does_not_count() -> None:
    assert agree(2, "a b c", "x b c") == ("", " x b c")


def test_a_longer_or_an_empty_hypothesis_is_no_trouble() -> None:
    assert agree(2, "", "and so") == ("", " and so")
    assert agree(2, "and so", "") == ("", "")
    assert agree(2, "and", "and so") == (" and", " so")


def test_a_word_that_the_model_is_unsure_of_is_agreed_on_once_more() -> None:
    first, unsure, last = words("and so my")
    unsure = replace(unsure, probability=0.4)
    policy = LocalAgreement(2, sure=0.5)
    said = [first, unsure, last]
    assert policy.update([said, said], (), 10.0).words == (first,)
    assert policy.update([said, said, said], (), 10.0).words == tuple(said)
    assert LocalAgreement(2, sure=0.4).update([said, said], (), 10.0).words == tuple(said)


def test_a_word_that_ended_long_ago_waits_for_no_agreement() -> None:
    policy = LocalAgreement(2, sure=1.0, settled=1.5)
    before, newest = words("the gutty bird for"), words("the Gutenberg or his")
    assert text_of(policy.update([before, newest], (), 4.0).words) == " the Gutenberg"
    assert text_of(policy.update([before, newest], (), 3.0).words) == " the"


def test_a_single_pass_settles_nothing() -> None:
    said = words("and so my")
    policy = LocalAgreement(2, settled=0.5)
    assert policy.update([said], (), 10.0).words == ()
    assert policy.update([[], said], (), 10.0).words == ()
    assert policy.update([words("a zoo"), said], (), 10.0).words == (said[0],)


def test_a_word_is_disputed_once_it_was_heard_often_enough_to_be_certain() -> None:
    policy = LocalAgreement(2)
    assert not policy.update([words("and so my")], (), 10.0).disputed
    assert not policy.update([words("and"), words("and so my")], (), 10.0).disputed
    assert policy.update([words("and no my"), words("and so my")], (), 10.0).disputed
    assert not policy.update([words("and so"), words("and so")], (), 10.0).disputed


@pytest.mark.parametrize("settled", [-0.1, 10.1, True, "1", float("nan")])
def test_settled_must_be_a_time_within_the_window(settled: float) -> None:
    with pytest.raises(ConfigurationError, match="settled must be a number from 0 to 10"):
        LocalAgreement(settled=settled)


@pytest.mark.parametrize("sure", [-0.1, 1.1, True, "0.5", float("nan")])
def test_sure_must_be_a_probability(sure: float) -> None:
    with pytest.raises(ConfigurationError, match="sure must be a number from 0 to 1"):
        LocalAgreement(sure=sure)


@pytest.mark.parametrize("n", [0, 11, -1, True, 2.0, "2"])
def test_n_must_be_a_small_whole_number(n: int) -> None:
    with pytest.raises(ConfigurationError, match="n must be a whole number from 1 to 10"):
        LocalAgreement(n)


hypotheses = st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=5), min_size=1)


@given(
    history=hypotheses,
    n=st.integers(1, 4),
    sure=st.sampled_from([0.0, 0.95]),
    settled=st.sampled_from([0.0, 0.5, 2.0]),
    audio_end_s=st.floats(0.0, 6.0),
)
def test_settling_only_adds_words_that_ended_long_enough_ago(
    history: list[list[str]], n: int, sure: float, settled: float, audio_end_s: float
) -> None:
    heard = [words(" ".join(texts)) for texts in history]
    waits = LocalAgreement(n, sure).update(heard, (), audio_end_s).words
    settles = LocalAgreement(n, sure, settled).update(heard, (), audio_end_s).words
    assert settles[: len(waits)] == waits
    assert all(word.end_s < audio_end_s - settled for word in settles[len(waits) :])


@given(history=hypotheses, n=st.integers(1, 4))
def test_what_is_committed_starts_every_one_of_the_last_n(history: list[list[str]], n: int) -> None:
    given_words = [words(" ".join(texts)) for texts in history]
    commit = LocalAgreement(n).update(given_words, (), 10.0)
    assert [*commit.words, *commit.tentative] == given_words[-1]
    for texts in history[-n:]:
        assert texts[: len(commit.words)] == [w.text.strip() for w in commit.words]
    if len(history) < n:
        assert not commit.words
