from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events import Word, text_of
from streaming.words import (
    UNSPACED_LANGUAGES,
    TimedToken,
    ends_sentence,
    key,
    longest_repeat,
    words_from_tokens,
)


def tokens(*texts: str | bytes) -> list[TimedToken]:
    return [
        TimedToken(text.encode() if isinstance(text, str) else text, i * 0.5, i * 0.5 + 0.5, 0.8)
        for i, text in enumerate(texts)
    ]


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


@pytest.mark.parametrize(
    ("left", "right"),
    [("Country,", " country"), ("STRASSE", "straße"), ("it's", "its"), ("...", ""), ("٣!", "٣")],
)
def test_words_compare_by_their_letters_and_digits(left: str, right: str) -> None:
    assert key(left) == key(right)


def test_words_with_other_letters_accents_or_digits_differ() -> None:
    assert len({key(w) for w in ("eat", "ate", "é", "e", "3", "4", "กา", "กี")}) == 8


@pytest.mark.parametrize(
    "word",
    ["go.", " Really?", 'yes!"', "(so.)", "そう。", "wait…", "है।", "go. ", "ok?!"],
)
def test_a_sentence_ends_with_a_mark_inside_quotes_or_not(word: str) -> None:
    assert ends_sentence(word)


@pytest.mark.parametrize("word", ["", "go", "3.5", "Mr.Smith", "so,", "well;", '"', ".a"])
def test_no_other_word_ends_a_sentence(word: str) -> None:
    assert not ends_sentence(word)


def test_a_word_begins_at_a_leading_space() -> None:
    words = words_from_tokens(tokens(" un", "believ", "able", " story"), "en")
    assert [(w.text, w.start_s, w.end_s) for w in words] == [
        (" unbelievable", 0.0, 1.5),
        (" story", 1.5, 2.0),
    ]
    assert words[0].probability == pytest.approx(0.8)


def test_punctuation_stays_with_its_word_and_takes_no_time() -> None:
    (word,) = words_from_tokens(tokens(" yes", ","), "en")
    assert (word.text, word.end_s) == (" yes,", 0.5)
    assert texts(words_from_tokens(tokens(" a", " ?", " b"), "fr")) == [" a ?", " b"]


def test_opening_marks_join_the_word_after_them() -> None:
    assert texts(words_from_tokens(tokens(" he", " (", "she", ")", " -", " it"), "en")) == [
        " he",
        " (she)",
        " - it",
    ]


def test_a_character_spread_over_tokens_is_put_together() -> None:
    snow = "雪".encode()
    assert texts(words_from_tokens(tokens(snow[:1], snow[1:2], snow[2:]), "zh")) == ["雪"]


def test_bytes_of_an_unfinished_character_are_withheld() -> None:
    snow = "雪".encode()
    assert texts(words_from_tokens(tokens(" the", b" " + snow[:2]), "en")) == [" the"]
    assert texts(words_from_tokens(tokens("大", snow[:2]), "zh")) == ["大"]


@pytest.mark.parametrize("junk", [b"\xff", b"\xe9\x9b", b"\x9b\x9b", b"\xf0\x9f\x98"])
def test_bytes_that_are_no_character_take_no_other_word_with_them(junk: bytes) -> None:
    assert texts(words_from_tokens(tokens(" one", junk, " two", " three"), "en")) == [
        " one",
        " two",
        " three",
    ]


def test_without_spaces_every_character_is_a_word_and_has_its_share_of_the_time() -> None:
    words = words_from_tokens(tokens("今日は", "。"), "ja")
    assert texts(words) == ["今", "日", "は。"]
    assert [w.start_s for w in words] == pytest.approx([0.0, 1 / 6, 2 / 6])


def test_latin_words_stay_whole_among_characters_without_spaces() -> None:
    assert texts(words_from_tokens(tokens("用", "Py", "thon", "写"), "zh")) == [
        "用",
        "Python",
        "写",
    ]


def test_nothing_comes_of_nothing() -> None:
    assert words_from_tokens([], "en") == []
    assert words_from_tokens(tokens(" ", "  "), "en") == []


@given(
    pieces=st.lists(
        st.text(st.sampled_from(" ab.,-'雪日áé😀"), min_size=1, max_size=6), max_size=12
    ),
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    language=st.sampled_from(["en", "ja", "th"]),
)
def test_no_character_is_lost_wherever_tokens_cut_the_bytes(
    pieces: list[str], cuts: list[int], language: str
) -> None:
    raw = "".join(pieces).encode()
    parts: list[bytes] = []
    at = 0
    while at < len(raw):
        size = cuts[len(parts) % len(cuts)]
        parts.append(raw[at : at + size])
        at += size
    words = words_from_tokens(tokens(*parts), language)
    assert text_of(words).strip() == "".join(pieces).strip()
    for before, word in pairwise(words):
        assert before.start_s <= word.start_s
    assert all(w.start_s <= w.end_s and w.text.strip() for w in words)


def test_languages_without_spaces_are_known_by_their_codes() -> None:
    assert {"ja", "zh", "th"} <= UNSPACED_LANGUAGES
    assert "ko" not in UNSPACED_LANGUAGES


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("", (0, 0, 1)),
        ("abc", (0, 0, 1)),
        ("aab", (0, 1, 2)),
        ("xabababy", (1, 2, 3)),
        ("abcabcab", (0, 3, 2)),
        ("aaaaaa", (0, 1, 6)),
        ("aaxbcbcbcbc", (3, 2, 4)),
    ],
)
def test_the_worst_repetition_is_found(said: str, found: tuple[int, int, int]) -> None:
    assert longest_repeat(list(said)) == found


@given(said=st.text("ab", max_size=24))
def test_what_is_said_to_repeat_does(said: str) -> None:
    start, period, times = longest_repeat(list(said))
    block = said[start : start + period]
    assert said[start : start + period * times] == block * times
    assert times > 1 or "aa" not in said
