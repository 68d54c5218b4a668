from __future__ import annotations

import pytest

from streaming.command_grammar import Slot, build_tree, split_words
from streaming.errors import ConfigurationError

ROOMS = {"room": ("kitchen", "living room")}


def forms(phrase: str) -> set[str]:
    _, found = build_tree({"it": phrase}, ROOMS)
    shown = []
    for steps, meaning in found:
        words = [f"<{s.name}:{s.kind}>" if isinstance(s, Slot) else s for s in steps]
        shown.append(" ".join([*words, *(f"{n}={v}" for n, v in meaning.chosen)]))
    assert len(shown) == len(set(shown))
    return set(shown)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Stop!", {"stop"}),
        ("lights [please] on", {"lights please on", "lights on"}),
        ("{on|off}", {"on on|off=on", "off on|off=off"}),
        ("go {way: up | down}", {"go up way=up", "go down way=down"}),
        ("{room} light", {"kitchen light room=kitchen", "living room light room=living room"}),
        (
            "from {a:room}",
            {"from kitchen a=kitchen", "from living room a=living room"},
        ),
        ("call {name}", {"call <name:text>"}),
        ("{number} lamps", {"<number:number> lamps"}),
        ("wait {how_long:duration}", {"wait <how_long:duration>"}),
        ("about {number:text}", {"about <number:text>"}),
        ("twenty-five", {"twenty five"}),
    ],
)
def test_a_phrase_stands_for_its_forms(phrase: str, expected: set[str]) -> None:
    assert forms(phrase) == expected


@pytest.mark.parametrize(
    ("phrase", "complaint"),
    [
        ("turn {room lights", "brackets that do not match"),
        ("turn the] lights", "brackets that do not match"),
        ("turn [the {room}] lights", "brackets that do not match"),
        ("", "nothing in it"),
        ("...", "no words of its own"),
        ("{anything}", "no words of its own"),
        ("[the] {anything}", "no words of its own"),
        ("go []", "brackets without words"),
        ("go {}", "proper name"),
        ("go {a b}", "proper name"),
        ("go {to:nowhere}", "wants a 'nowhere'"),
        ("go {on|}", "is empty"),
        ("put {a} {b} away", "nothing tells where 'a' ends"),
        ("from {room} to {room}", "two slots of one name"),
    ],
)
def test_a_phrase_that_cannot_work_is_refused(phrase: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        build_tree({"it": phrase}, ROOMS)


def test_a_command_without_a_phrase_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'it' has no phrase"):
        build_tree({"it": []}, {})


def test_too_many_forms_are_refused() -> None:
    many = {"thing": [f"thing {i}" for i in range(2001)]}
    with pytest.raises(ConfigurationError, match="more than 2000 forms"):
        build_tree({"it": "take {thing}"}, many)


def test_phrases_share_what_they_have_in_common() -> None:
    root, found = build_tree({"lights": "turn {room} lights {on|off}"}, ROOMS)
    assert len(found) == 4
    assert list(root.words) == ["turn"]
    assert root.words["turn"].most_letters == len("turnlivingroomlightsoff")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Lights,", ["lights"]),
        ("don't", ["dont"]),
        ("twenty-five", ["twenty", "five"]),
        ("1,000.5", ["1000.5"]),
        ("2.", ["2"]),
        ("5:30", ["5", "30"]),
        ("Straße", ["strasse"]),
        ("—", []),
    ],
)
def test_words_compare_by_letters_and_digits(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected
