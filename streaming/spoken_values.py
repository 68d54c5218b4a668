"""Numbers and lengths of time as people say them in English, and as a model writes them.

What is read is a run of words as `streaming.command_grammar.split_words` makes them: letters
and digits, casefolded, decimals as "2.5". A reading may end at several places ("twenty five"
is 20 after one word and 25 after two); all are told, and who asked chooses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

__all__ = ["READERS", "SMALL_NUMBERS", "Reading", "read_duration", "read_number"]

Reading: TypeAlias = tuple[int, float]
"""Where the words of a value end, and the value; an int where it is whole."""

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
SMALL_NUMBERS: Mapping[str, int] = {word: value for value, word in enumerate(_SMALL)}
_TENS: Mapping[str, int] = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_SCALES: Mapping[str, int] = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_UNITS: Mapping[str, int] = {
    name: seconds
    for names, seconds in (
        ("second seconds sec secs", 1),
        ("minute minutes min mins", 60),
        ("hour hours hr hrs", 3600),
        ("day days", 86_400),
    )
    for name in names.split()
}
_HALF = ("and", "a", "half")
_DIGITS = re.compile(r"\d{1,15}(\.\d+)?")
"""Models repeat digits without end, too."""


def read_number(words: Sequence[str], at: int) -> list[Reading]:
    """Numbers that begin at ``words[at]``: "25", "twenty five", "a hundred and two", "half"."""
    if at < len(words) and words[at] == "half":
        return [(at + 1, 0.5)]
    found = _whole(words, at) or _digits(words, at)
    return found + [
        (end + len(_HALF), value + 0.5)
        for end, value in found
        if tuple(words[end : end + len(_HALF)]) == _HALF
    ]


def _digits(words: Sequence[str], at: int) -> list[Reading]:
    if not _DIGITS.fullmatch(_at(words, at)):  # "3rd"
        return []
    value = _short(float(words[at]))
    found: list[Reading] = [(at + 1, value)]
    after = _at(words, at + 1)
    if after in _SCALES:
        found.append((at + 2, _short(value * _SCALES[after])))
    elif value in _TENS.values() and len(after) == 1 and after in "123456789":
        found.append((at + 2, value + int(after)))  # "20 1", as models write it now and then
    return found


def _whole(words: Sequence[str], at: int) -> list[Reading]:
    """Whole numbers in words, and decimals after "point"."""
    found: list[Reading] = []
    total = group = 0
    free = 1000
    """What is added next has to be smaller than this: after "twenty" only units may come."""
    end = at
    while end < len(words):
        word = words[end]
        value = SMALL_NUMBERS.get(word, _TENS.get(word))
        if value is not None and value < free and (value or end == at):
            group += value
            free = 10 if word in _TENS else 0
        elif word in _SCALES and (group or found) and group < _SCALES[word]:
            scale = _SCALES[word]
            if scale == 100:
                group, free = group * scale, 100
            else:
                total, group, free = total + group * scale, 0, 1000
        elif word == "a" and end == at and _at(words, end + 1) in _SCALES:
            group, end = 1, end + 1
            continue
        elif word == "and" and found and words[end - 1] in _SCALES:
            end += 1
            continue
        else:
            break
        end += 1
        found.append((end, total + group))
    if found and found[-1][0] == end and _at(words, end) == "point":
        decimal = f"{total + group}."
        for word in words[end + 1 :]:
            if SMALL_NUMBERS.get(word, 10) > 9:
                break
            decimal += str(SMALL_NUMBERS[word])
            end += 1
            found.append((end + 1, _short(float(decimal))))
    return found


def read_duration(words: Sequence[str], at: int) -> list[Reading]:
    """Lengths of time in seconds that begin at ``words[at]``.

    "five minutes", "an hour and a half", "half an hour", "1 hour and 30 minutes".
    """
    found: list[Reading] = []
    total: float = 0
    smallest = 10 * max(_UNITS.values())
    while at < len(words):
        part = _quantity(words, at)
        if part is None or _UNITS[words[part[0] - 1]] >= smallest:
            break
        at, seconds = part
        smallest = _UNITS[words[at - 1]]
        total += seconds
        found.append((at, _short(total)))
        if tuple(words[at : at + len(_HALF)]) == _HALF:
            at += len(_HALF)
            total += smallest / 2
            found.append((at, _short(total)))
        if _at(words, at) == "and":
            at += 1
    return found


def _quantity(words: Sequence[str], at: int) -> Reading | None:
    """The end and the seconds of one number with its unit."""
    numbers = read_number(words, at)
    if _at(words, at) in ("a", "an"):
        numbers.append((at + 1, 1))
    if _at(words, at) == "half" and _at(words, at + 1) in ("a", "an"):
        numbers.append((at + 2, 0.5))
    for end, value in reversed(numbers):
        if _at(words, end) in _UNITS:
            return end + 1, value * _UNITS[words[end]]
    return None


def _at(words: Sequence[str], at: int) -> str:
    return words[at] if at < len(words) else ""


def _short(value: float) -> float:
    return int(value) if value == int(value) else value


READERS: Mapping[str, Callable[[Sequence[str], int], list[Reading]]] = {
    "number": read_number,
    "duration": read_duration,
}
"""By the name of the kind of slot."""
