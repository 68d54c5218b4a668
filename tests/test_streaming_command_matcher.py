from __future__ import annotations

import itertools

import pytest
from command_talk import Talk, words
from hypothesis import given
from hypothesis import strategies as st

from streaming.command_grammar import build_tree
from streaming.command_hearing import tokens_of
from streaming.command_matcher import Match, match_from
from streaming.command_search import choose
from streaming.commands import CommandHeard, Commands, CommandSpotter
from streaming.events import Word

ROOMS = ("kitchen", "living room", "bedroom", "bathroom")
PHRASES = {
    "lights": "turn [the] {room} lights {state:on|off}",
    "timer": "set a timer for {duration}",
    "note": "write down {text}",
    "stop": "stop",
}
TREE, _ = build_tree(PHRASES, {"room": ROOMS})


def best(text: str, probability: float = 0.9) -> Match | None:
    """Of what begins with the first word."""
    tokens = tokens_of(words(text, probability=probability))
    matches, _ = match_from(TREE, tokens, 0)
    return choose(matches, matches)


@pytest.mark.parametrize(("room", "state"), list(itertools.product(ROOMS, ("on", "off"))))
def test_just_the_phrase_is_itself(room: str, state: str) -> None:
    for article in ("", "the "):
        found = best(f"Turn {article}{room} lights {state}.")
        assert found is not None
        assert found.cost == 0
        assert found.similarity == 1
        assert dict(found.values) == {"room": room, "state": state}


@pytest.mark.parametrize(
    ("heard", "values"),
    [
        ("turn the kitchens light on", {"room": "kitchen", "state": "on"}),
        ("turned the kitchen lights of", {"room": "kitchen", "state": "off"}),
        ("turn the livingroom lights off", {"room": "living room", "state": "off"}),
        ("turn the bed room lights on", {"room": "bedroom", "state": "on"}),
        ("turn the kitchen light son", {"room": "kitchen", "state": "on"}),
        ("turn the kitchen lightsoff", {"room": "kitchen", "state": "off"}),
        ("turn a kitchen lights on", {"room": "kitchen", "state": "on"}),
        ("turn the big kitchen lights on", {"room": "kitchen", "state": "on"}),
        ("set timer for 5 minutes", {"duration": 300}),
        ("set the timer for half an hour", {"duration": 1800}),
    ],
)
def test_what_recognition_gets_wrong_is_forgiven(heard: str, values: dict[str, object]) -> None:
    found = best(heard)
    assert found is not None
    assert dict(found.values) == values
    assert found.similarity > 0.85


@pytest.mark.parametrize(
    "heard",
    [
        "turn the kitchen lights",
        "turn the kitchen lights up",
        "turn the kitchen lights in",
        "turn the kitchen lights oh",
        "turn the kitchen light song",
        "turn the hallway lights on",
        "turn the bath lights on",
        "turn the basement lights on",
        "burn the kitten nights on",
        "set a timer for five",
        "set a timer for minutes",
        "write down",
        "shop",
    ],
)
def test_what_is_not_near_enough_is_no_command(heard: str) -> None:
    spotter = CommandSpotter(PHRASES, slots={"room": ROOMS})
    assert hear(spotter, words(heard)) == []


@pytest.mark.parametrize(("heard", "meant"), [("cat", "cat"), ("cast", None), ("cap", "cat")])
def test_one_of_two_words_has_to_be_clearly_nearer(heard: str, meant: str | None) -> None:
    tree, _ = build_tree({"it": "feed the {pet:cat|cart}"}, {})
    matches, _ = match_from(tree, tokens_of(words(f"feed the {heard}")), 0)
    found = choose(matches, matches)
    assert (dict(found.values)["pet"] if found else None) == meant


def test_a_word_in_a_list_is_nearer_than_any_word() -> None:
    tree, _ = build_tree({"this": "play music", "any": "play {what}"}, {})
    matches, _ = match_from(tree, tokens_of(words("play music")), 0)
    assert len(matches) == 2
    found = choose(matches, matches)
    assert found is not None
    assert found.meaning.command == "this"


def test_a_long_silence_parts_a_phrase() -> None:
    first, second = words("turn the kitchen"), words("lights on", 10.0)
    matches, _ = match_from(TREE, tokens_of((*first, *second)), 0)
    assert matches == []


def test_more_words_may_change_what_is_open() -> None:
    timer, lights = best("set a timer for five minutes"), best("turn the kitchen lights on")
    assert timer is not None
    assert timer.open
    assert lights is not None
    assert not lights.open
    assert match_from(TREE, tokens_of(words("turn the")), 0) == ([], True)


PARTS = ["turn", "the", "kitchen", "lights", "on", "off", "stop", "set a timer", "for five minutes"]


@given(st.lists(st.sampled_from(PARTS)))
def test_tokens_are_matched_from_where_they_begin(said: list[str]) -> None:
    tokens = tokens_of(words(" ".join(said)))
    for start in range(len(tokens)):
        for match in match_from(TREE, tokens, start)[0]:
            assert match.start == start < match.end <= len(tokens)
            assert 0.75 <= match.similarity <= 1


letters = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9)


@given(st.lists(letters, min_size=1, max_size=5), st.floats(0.35, 1.0))
def test_every_phrase_is_heard_when_it_is_said(said: list[str], probability: float) -> None:
    spotter = CommandSpotter({"it": " ".join(said)})
    (heard,) = hear(spotter, words(" ".join(said), probability=probability))
    assert heard.name == "it"
    assert heard.confidence == pytest.approx((1 + probability) / 2)


@given(st.lists(letters, max_size=20))
def test_other_words_are_never_a_command(said: list[str]) -> None:
    spotter = CommandSpotter(Commands({"it": "xylophone quizzes jinx"}))
    assert hear(spotter, words(" ".join(said), probability=1.0)) == []


def hear(spotter: CommandSpotter, said: tuple[Word, ...]) -> list[CommandHeard]:
    talk = Talk(spotter)
    talk.end(said)
    return [each for each in talk.spotted if isinstance(each, CommandHeard)]
