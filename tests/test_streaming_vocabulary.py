from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.backends.vocabulary import Vocabulary

SMALL = Vocabulary([b"", b" the", b" th", b"e", b" ", b"the", "é".encode()[:1], "é".encode()[1:]])
BYTES = Vocabulary([bytes([i]) for i in range(256)] + [b" the", b" cat", b"ing"])


@pytest.mark.parametrize(
    ("text", "ids"),
    [("", []), (" the", [1]), ("the the", [5, 1]), (" thee", [1, 3]), (" the e", [1, 4, 3])],
)
def test_words_are_cut_into_the_longest_tokens(text: str, ids: list[int]) -> None:
    assert SMALL.encode(text) == ids


def test_characters_may_be_spread_over_tokens() -> None:
    assert SMALL.encode("é") == [6, 7]


def test_bytes_without_a_token_are_left_out() -> None:
    assert SMALL.encode("xthex") == [5]
    assert Vocabulary([]).encode("anything") == []


def test_a_line_break_is_a_space() -> None:
    assert SMALL.encode("the\nthe") == SMALL.encode("the the")


@given(text=st.text())
def test_a_vocabulary_with_all_bytes_says_just_the_text(text: str) -> None:
    said = b"".join(BYTES.tokens[i] for i in BYTES.encode(text))
    assert said == text.replace("\n", " ").encode()
