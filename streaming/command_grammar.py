"""Phrases of commands as people register them, and the tree of words that they make.

.. code-block:: text

    turn [the] {room} lights {on|off}

``[the]`` may be left out. ``{on|off}`` is one of these words, and its slot is named by what
stands in the braces; ``{state:on|off}`` has a name of its own, and ``{room}`` is a list that is
registered beside the phrases, or else whatever is said there (``{room:text}``). ``{number}`` and
``{duration}`` are read (`streaming.spoken_values`), as are ``{degrees:number}`` and the like.

All forms of all phrases share one tree, so that what they have in common is looked for once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import ConfigurationError
from .spoken_values import READERS
from .words import key

__all__ = ["Meaning", "Node", "Slot", "build_tree", "split_words"]

_MOST_FORMS = 2000
"""Forms of all phrases together; each is tried once when they are registered."""
_PIECE = re.compile(r"\[(?P<optional>[^][{}]*)\]|\{(?P<slot>[^][{}]*)\}|(?P<words>[^][{}]+)")
_NAME = re.compile(r"\w+")
_MINUS = re.compile(r"(?<!\w)[-\u2212\u2013](?=\d)")
_BARE_DECIMAL = re.compile(r"(?<!\S)(?=\.\d)|(?<=\s[-\u2212])(?=\.\d)")
_NUMBER = re.compile(r"\d[\d,]*(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for words that are not known beforehand."""

    name: str
    kind: str
    """"text", or a key of `spoken_values.READERS`."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a form of a phrase stands for: a command, and what of lists and alternatives it has."""

    command: str
    chosen: tuple[tuple[str, str], ...] = ()
    phrase: str = field(default="", compare=False)
    """As it was registered, for messages."""


@dataclass(slots=True, eq=False)
class Node:
    """A place in the tree: what may come next, and what is said by then."""

    words: dict[str, Node] = field(default_factory=dict)
    slots: dict[Slot, Node] = field(default_factory=dict)
    meaning: Meaning | None = None
    letters: int = 0
    """Of the words on the way here."""
    most_letters: int = 0
    """Of the longest phrase on this way."""

    @property
    def goes_on(self) -> bool:
        """True where more words may follow."""
        return bool(self.words or self.slots)


_Step = str | Slot
_Form = tuple[tuple[_Step, ...], tuple[tuple[str, str], ...]]
"""The words and slots of one form, and what it has chosen on the way."""


def split_words(text: str) -> list[str]:
    """What is compared: words of letters and digits, casefolded; "twenty-five" is two.

    Numbers keep their decimals, "1,000.5" being "1000.5"; other marks are left out.
    """
    found = []
    text = _MINUS.sub(" minus ", _BARE_DECIMAL.sub("0", text))
    for part in re.split(r"[\s:/\u2010-\u2015-]+", text):
        bare = part.strip("".join({c for c in part if not c.isalnum()}))
        if _NUMBER.fullmatch(bare):
            found.append(bare.replace(",", ""))
        elif word := key(part):
            found.append(word)
    return found


def build_tree(
    phrases: Mapping[str, str | Sequence[str]], lists: Mapping[str, Sequence[str]]
) -> tuple[Node, list[tuple[tuple[_Step, ...], Meaning]]]:
    """The tree of all forms of all phrases, and these forms.

    Args:
        phrases: one or several for each command.
        lists: what may stand in the slots of these names.

    Raises:
        ConfigurationError: a phrase that cannot work, named.
    """
    root, forms = Node(), []
    for command, given in phrases.items():
        texts = (given,) if isinstance(given, str) else tuple(given)
        if not texts:
            raise ConfigurationError(f"the command {command!r} has no phrase")
        for text in texts:
            for steps, chosen in _forms(text, lists):
                meaning = Meaning(command, chosen, text)
                _insert(root, steps, meaning)
                forms.append((steps, meaning))
                if len(forms) > _MOST_FORMS:
                    raise ConfigurationError(
                        f"the commands have more than {_MOST_FORMS} forms; make lists shorter, "
                        "or have {name:text} take whatever is said"
                    )
    _measure(root)
    return root, forms


def _forms(text: str, lists: Mapping[str, Sequence[str]]) -> list[_Form]:
    pieces = list(_PIECE.finditer(text))
    if "".join(piece[0] for piece in pieces) != text or not pieces:
        raise ConfigurationError(
            f"the phrase {text!r} has brackets that do not match, or nothing in it; they look like "
            "this: turn [the] {room} lights {on|off}"
        )
    parts = [list(_piece_forms(piece, text, lists)) for piece in pieces]
    names = [name for part in parts for name in {n for form in part for n in _names(form)}]
    if len(names) != len(set(names)):
        raise ConfigurationError(
            f"the phrase {text!r} has two slots of one name; give them names: {{first:number}}"
        )
    forms = [_joined(combined) for combined in itertools.product(*parts)]
    for steps, _ in forms:
        if not any(isinstance(step, str) for step in steps):
            raise ConfigurationError(
                f"the phrase {text!r} has no words of its own and would match anything"
            )
        for a, b in itertools.pairwise(steps):
            if isinstance(a, Slot) and isinstance(b, Slot) and "text" in (a.kind, b.kind):
                raise ConfigurationError(
                    f"in the phrase {text!r} nothing tells where {a.name!r} ends and "
                    f"{b.name!r} begins; put a word between them"
                )
    return forms


def _piece_forms(
    piece: re.Match[str], text: str, lists: Mapping[str, Sequence[str]]
) -> Iterator[_Form]:
    if piece["words"] is not None:
        yield tuple(split_words(piece["words"])), ()
    elif piece["optional"] is not None:
        words = tuple(split_words(piece["optional"]))
        if not words:
            raise ConfigurationError(f"the phrase {text!r} has brackets without words")
        yield words, ()
        yield (), ()
    else:
        yield from _slot_forms(piece["slot"], text, lists)


def _slot_forms(inside: str, text: str, lists: Mapping[str, Sequence[str]]) -> Iterator[_Form]:
    name, colon, rest = (part.strip() for part in inside.partition(":"))
    if "|" in inside:
        options: Sequence[str] = (rest if colon else inside).split("|")
        name = name if colon else inside.strip()
    else:
        kind = rest if colon else name
        if colon and kind not in (*lists, *READERS, "text"):
            raise ConfigurationError(
                f"the phrase {text!r} wants a {kind!r}, which is neither a list that was given "
                f"nor one of {', '.join((*READERS, 'text'))}"
            )
        if kind not in lists:
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"the phrase {text!r} has a slot without a proper name: {{room}}"
                )
            yield (Slot(name, kind if kind in READERS else "text"),), ()
            return
        options = lists[kind]
    for option in options:
        words = tuple(split_words(option))
        if not words:
            raise ConfigurationError(f"one of the words for {name!r} in {text!r} is empty")
        yield words, ((name, option.strip()),)


def _names(form: _Form) -> Iterator[str]:
    yield from (name for name, _ in form[1])
    yield from (step.name for step in form[0] if isinstance(step, Slot))


def _joined(forms: Iterable[_Form]) -> _Form:
    parts = list(forms)
    steps = tuple(step for part, _ in parts for step in part)
    return steps, tuple(choice for _, chosen in parts for choice in chosen)


def _insert(root: Node, steps: Sequence[_Step], meaning: Meaning) -> None:
    node = root
    for step in steps:
        letters = node.letters + (len(step) if isinstance(step, str) else 0)
        if isinstance(step, str):
            node = node.words.setdefault(step, Node(letters=letters))
        else:
            node = node.slots.setdefault(step, Node(letters=letters))
    if node.meaning is not None and node.meaning != meaning:
        raise ConfigurationError(
            f"{node.meaning.phrase!r} and {meaning.phrase!r} cannot be told apart"
        )
    node.meaning = meaning


def _measure(node: Node) -> int:
    below = [_measure(child) for child in (*node.words.values(), *node.slots.values())]
    node.most_letters = max([node.letters, *below])
    return node.most_letters
