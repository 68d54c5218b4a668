from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.command_grammar import split_words
from streaming.spoken_values import read_duration, read_number

SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def spelled(number: int) -> str:
    if number < 20:
        return SMALL[number]
    if number < 100:
        return TENS[number // 10] + (f"-{SMALL[number % 10]}" if number % 10 else "")
    for size, name in ((1_000_000, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = number % size
            more = f" {'and ' if rest < 100 else ''}{spelled(rest)}" if rest else ""
            return f"{spelled(number // size)} {name}{more}"
    raise AssertionError


def whole(readings: list[tuple[int, float]], text: str) -> float | None:
    return dict(readings).get(len(split_words(text)))


@given(st.integers(0, 999_999_999))
def test_every_number_is_read_as_it_is_spelled(number: int) -> None:
    text = spelled(number)
    assert whole(read_number(split_words(text), 0), text) == number


@given(st.integers(0, 999_999_999))
def test_every_number_is_read_as_it_is_written(number: int) -> None:
    for text in (str(number), f"{number:,}"):
        assert whole(read_number(split_words(text), 0), text) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5", 2.5),
        ("two point five", 2.5),
        ("three point one four", 3.14),
        ("two and a half", 2.5),
        ("a hundred", 100),
        ("half", 0.5),
        ("20 1", 21),
        ("5 thousand", 5000),
    ],
)
def test_numbers_are_said_in_many_ways(text: str, value: float) -> None:
    assert whole(read_number(split_words(text), 0), text) == value


@pytest.mark.parametrize("text", ["", "and", "thousand", "point five", "3rd", "kitchen", "a"])
def test_what_is_no_number_is_read_as_none(text: str) -> None:
    assert read_number(split_words(text), 0) == []


@pytest.mark.parametrize("text", ["five six", "twenty twenty", "one two", "five twenty", "20 30"])
def test_numbers_one_after_the_other_are_not_one(text: str) -> None:
    assert whole(read_number(split_words(text), 0), text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("five minutes", 300),
        ("5 minutes", 300),
        ("5-minute", 300),
        ("90 seconds", 90),
        ("an hour", 3600),
        ("half an hour", 1800),
        ("half a minute", 30),
        ("an hour and a half", 5400),
        ("two and a half minutes", 150),
        ("2.5 hours", 9000),
        ("one hour and thirty minutes", 5400),
        ("1 hour 30 minutes and 5 seconds", 5405),
        ("two days", 172_800),
    ],
)
def test_durations_are_read_in_seconds(text: str, seconds: float) -> None:
    assert whole(read_duration(split_words(text), 0), text) == seconds


@pytest.mark.parametrize(
    "text", ["five", "minutes", "five kitchens", "5 minutes 6 hours", "a half"]
)
def test_what_is_no_duration_is_not_taken_for_one(text: str) -> None:
    assert whole(read_duration(split_words(text), 0), text) is None


@pytest.mark.parametrize("text", ["2e999", "9" * 320, "-5", "minus five"])
def test_what_nobody_says_or_means_is_no_number(text: str) -> None:
    assert whole(read_number(split_words(text), 0), text) is None


def test_a_number_may_begin_with_its_point() -> None:
    assert whole(read_number(split_words(".5"), 0), ".5") == 0.5


def test_a_value_may_end_early() -> None:
    assert read_number(["twenty", "five", "lamps"], 0) == [(1, 20), (2, 25)]
    assert read_duration(["one", "hour", "and", "five", "minutes"], 0) == [(2, 3600), (5, 3900)]
