from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.agreement_hold_back import AgreementHoldBack
from policies.hold_back import HoldBack
from policies.local_agreement import LocalAgreement
from streaming.errors import ConfigurationError
from streaming.events import Word, text_of
from streaming.testing import check_commit_policy


@pytest.mark.parametrize(("n", "seconds"), [(1, 0.0), (2, 0.4), (3, 2.0)])
def test_it_keeps_the_contract_of_a_commit_policy(n: int, seconds: float) -> None:
    check_commit_policy(lambda: AgreementHoldBack(n, seconds))


def words(text: str) -> list[Word]:
    return [Word(" " + word, float(i), i + 1.0, 0.9) for i, word in enumerate(text.split())]


def commit(seconds: float, *history: str, audio_end_s: float) -> tuple[str, str]:
    policy = AgreementHoldBack(2, seconds)
    decided = policy.update([words(text) for text in history], (), audio_end_s)
    return text_of(decided.words), text_of(decided.tentative)


def test_words_are_committed_that_both_rules_allow() -> None:
    and_so = ("and so my friends", "And so, my fellow")
    assert commit(0.5, *and_so, audio_end_s=9.0) == (" And so, my", " fellow")
    assert commit(0.5, *and_so, audio_end_s=3.0) == (" And so,", " my fellow")
    assert commit(5.0, *and_so, audio_end_s=5.0) == ("", " And so, my fellow")


def test_one_hypothesis_alone_commits_nothing() -> None:
    assert commit(0.0, "and so", audio_end_s=9.0) == ("", " and so")


@pytest.mark.parametrize("n", [0, 11, True, "2"])
def test_n_must_be_a_small_whole_number(n: int) -> None:
    with pytest.raises(ConfigurationError, match="agreement-hold-back: n must be a whole number"):
        AgreementHoldBack(n)


@pytest.mark.parametrize("seconds", [-1, 11, math.nan, "much"])
def test_seconds_must_be_a_small_number(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="agreement-hold-back: seconds must be a number"):
        AgreementHoldBack(2, seconds)


@given(
    history=st.lists(st.lists(st.sampled_from(["a", "b"]), max_size=5), min_size=1, max_size=3),
    n=st.integers(1, 3),
    seconds=st.floats(0.0, 4.0),
    audio_end_s=st.floats(0.0, 6.0),
)
def test_it_commits_the_shorter_of_what_each_rule_would_commit_alone(
    history: list[list[str]], n: int, seconds: float, audio_end_s: float
) -> None:
    heard = [words(" ".join(texts)) for texts in history]
    both = AgreementHoldBack(n, seconds).update(heard, (), audio_end_s)
    alone = [
        policy.update(heard, (), audio_end_s) for policy in (LocalAgreement(n), HoldBack(seconds))
    ]
    shorter = min(alone, key=lambda commit: len(commit.words))
    assert (both.words, both.tentative) == (shorter.words, shorter.tentative)
