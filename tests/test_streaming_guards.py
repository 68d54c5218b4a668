from __future__ import annotations

from collections.abc import Callable

import pytest

from streaming.backends.guards import (
    drop_in_silence,
    drop_noise_tags,
    drop_past_end,
    loop_start,
    token_limit,
)
from streaming.events import Word, text_of


def words(text: str) -> list[Word]:
    return [Word(" " + w, i * 0.3, i * 0.3 + 0.3, 0.9) for i, w in enumerate(text.split())]


def test_a_loop_starts_where_words_only_repeat() -> None:
    said = words("so we go and then we go and then we go and then")
    start = loop_start(said)
    assert start is not None
    assert text_of(said[:start]) == " so we go and then"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "one two three",
        "no no no no",
        "very very good",
        "tick tock tick tock tick tock",
        "I did not I did not",
        "we shall fight on the beaches we shall fight on the hills",
    ],
)
def test_what_people_do_say_is_no_loop(said: str) -> None:
    assert loop_start(words(said)) is None


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("no " * 5, " no"),
        ("a b " * 4, " a b"),
        ("x y z " * 4, " x y z"),
        ("a b c d " * 3, " a b c d"),
    ],
)
def test_more_than_that_is_one(said: str, kept: str) -> None:
    start = loop_start(words(said))
    assert start is not None
    assert text_of(words(said)[:start]) == kept


def test_spelling_does_not_hide_a_loop() -> None:
    assert loop_start(words("Yes, yes yes. Yes yes! yes")) == 1


@pytest.mark.parametrize(
    "tag",
    ["[BLANK_AUDIO]", "(wind blowing)", "*music*", "[ Silence ]", "♪ la la", "(wind)."],
)
def test_stage_directions_are_removed(tag: str) -> None:
    kept = text_of(drop_noise_tags(words(f"so {tag} we go")))
    assert kept in (" so we go", " so la la we go")


def test_a_tag_still_open_at_the_end_is_removed_and_a_long_bracket_is_text() -> None:
    assert text_of(drop_noise_tags(words("so (wind blowing"))) == " so"
    long = "(one two three four five six seven eight nine ten)"
    assert text_of(drop_noise_tags(words(f"so {long}"))) == f" so {long}"


def test_text_without_tags_stays_as_it_is() -> None:
    said = words("so we go, 3.5 - 4 times!")
    assert drop_noise_tags(said) == said


def squeezed(text: str, at_s: float) -> list[Word]:
    return [Word(f" {word}", at_s, at_s, 0.4) for word in text.split()]


def test_words_that_collapse_on_the_end_are_removed() -> None:
    said = [*words("we go."), *squeezed("thank you.", 2.0)]
    assert drop_past_end(said, 2.0) == said[:2]
    assert drop_past_end(said, 5.0) == said  # there is audio after them
    assert drop_past_end([], 2.0) == []


def test_the_last_word_of_a_sentence_stays_though_it_is_squeezed() -> None:
    said = [*words("bring out the"), *squeezed("odor. thank", 2.0)]
    assert text_of(drop_past_end(said, 2.0)) == " bring out the odor."


def test_a_squeezed_copy_of_what_was_said_is_removed_and_the_original_stays() -> None:
    copy = "mission control in houston."
    assert text_of(drop_past_end([*words(copy), *squeezed(copy, 4.0)], 9.0)) == f" {copy}"
    said = [*words("mission control in"), *squeezed(f"houston. {copy}", 4.0)]
    assert text_of(drop_past_end(said, 9.0)) == f" {copy}"


def test_invented_words_of_which_some_find_a_little_room_are_removed() -> None:
    copy = "thank you for listening."
    late = [
        *squeezed(f"{copy[:-11]}", 1.2),
        Word(" listening.", 1.2, 1.28, 0.9),
        *squeezed(copy, 1.28),
        *squeezed("thank you for", 1.34),
        Word(" listening.", 1.34, 1.6, 0.9),
    ]
    assert text_of(drop_past_end([*words(copy), *late], 3.0)) == f" {copy}"


def test_invented_phrases_are_removed_one_before_the_other() -> None:
    copy = "and so my fellow americans."
    late = [
        *squeezed("and so my fellow", 2.1),
        Word(" americans.", 2.1, 2.2, 0.9),
        *squeezed("and so my", 3.0),
    ]
    assert text_of(drop_past_end([*words(copy), *late], 3.0)) == f" {copy}"


def test_of_a_squeezed_copy_nothing_stays_though_a_comma_stands_before_it() -> None:
    copy = "a short time later,"
    assert text_of(drop_past_end([*words(copy), *squeezed(copy, 1.2)], 1.7)) == f" {copy}"


def until(voice_end_s: float) -> Callable[[float], float]:
    """Voice up to some second."""
    return lambda time_s: max(voice_end_s - time_s, 0.0)


def test_words_without_duration_in_the_silence_after_the_voice_are_removed() -> None:
    said = words("in houston,")
    assert drop_in_silence([*said, *squeezed("mission", 0.8)], until(0.6)) == said
    both = [*said, *squeezed("mission", 0.8), *squeezed("a", 1.5)]
    assert drop_in_silence(both, until(0.6)) == said
    assert drop_in_silence([], until(0.6)) == []
    assert drop_in_silence(squeezed("you", 1.0), until(0.6)) == squeezed("you", 1.0)


@pytest.mark.parametrize(
    ("last", "voice_end_s"),
    [
        (Word(" odor.", 0.62, 0.62, 0.4), 0.6),  # it lost its duration to the word before
        (Word(" odor.", 0.9, 0.9, 0.4), 1.1),  # it is only beginning
        (Word(" odor.", 0.8, 0.95, 0.4), 0.6),  # hardly audible, but there
    ],
)
def test_a_last_word_that_may_have_been_said_stays(last: Word, voice_end_s: float) -> None:
    said = [*words("the bad"), last]
    assert drop_in_silence(said, until(voice_end_s)) == said


def test_a_repetition_that_other_words_follow_was_said() -> None:
    assert loop_start(words("five five five five five is my number please call")) is None


def test_a_bracket_that_stays_open_over_more_words_is_text() -> None:
    said = words("he works at Acme (formerly Beta Corp and now rich")
    assert drop_noise_tags(said) == said


def test_a_short_word_inside_the_audio_is_kept() -> None:
    said = [Word(" a", 1.0, 1.0, 0.9), Word(" end", 1.8, 2.0, 0.9)]
    assert drop_past_end(said, 2.0) == said


def test_tokens_are_capped_by_duration_and_a_little_more_generously_outside_english() -> None:
    assert token_limit(0.0, "en") > 0
    assert token_limit(10.0, "en") == pytest.approx(88)
    assert token_limit(10.0, "ja") > token_limit(10.0, "en")
    assert token_limit(30.0, "th") < 448
