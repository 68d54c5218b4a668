from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.evaluation.erasure import Withdrawal, withdrawals, withdrawn_words
from streaming.events import Committed, Event, Final, Partial, Word


def words(text: str) -> tuple[Word, ...]:
    return tuple(Word(" " + word, 0.0, 0.0, 1.0) for word in text.split())


def shown(text: str) -> Partial:
    return Partial(words=words(text))


def committed(text: str) -> Committed:
    return Committed(words=words(text))


def test_words_that_stay_and_grow_are_not_withdrawn() -> None:
    grown = [shown("a b"), shown("A, b c."), committed("a b"), shown("c d"), committed("c d e")]
    assert withdrawn_words(grown) == 0


def test_everything_behind_the_first_changed_word_is_withdrawn() -> None:
    assert withdrawn_words([shown("a b c d"), shown("a x c d"), committed("a x c d")]) == 3


def test_a_commit_that_differs_from_what_was_shown_withdraws_it() -> None:
    assert withdrawn_words([shown("a b"), committed("a c"), shown("d"), committed("d")]) == 1


def test_tentative_words_that_no_final_holds_are_withdrawn() -> None:
    assert withdrawn_words([shown("a b c"), committed("a"), Final()]) == 2
    assert withdrawn_words([shown("a b c"), committed("a"), Final(), shown("b")]) == 2


@given(st.lists(st.tuples(st.booleans(), st.text("ab ", max_size=8))))
def test_no_more_is_withdrawn_than_was_shown(steps: list[tuple[bool, str]]) -> None:
    events: list[Event] = [shown(text) if tell else committed(text) for tell, text in steps]
    n_shown = sum(len(text.split()) for tell, text in steps if tell)
    assert 0 <= withdrawn_words(events) <= n_shown


def test_a_withdrawal_says_what_was_there_what_is_there_and_when() -> None:
    log = [
        Partial(clock_s=1.0, words=words("a b c")),
        Committed(clock_s=2.0, words=words("a")),
        Partial(clock_s=2.0, words=words("x")),
        Final(clock_s=3.0),
    ]
    assert list(withdrawals(log)) == [
        Withdrawal(words("b c"), 2.0, words("x")),
        Withdrawal(words("x"), 3.0, ()),
    ]
