"""Where a registered phrase stands in what was heard, and how well it fits.

The tree of phrases is aligned with the words from one place on: an edit distance whose unit
is a letter and whose rows are kept on the way down the tree, so that phrases share the work for
what they have in common, and ways that have become too expensive are not followed (Oflazer
1996, "Error-tolerant finite-state recognition").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .command_grammar import Meaning, Node, Slot
from .spoken_values import READERS, SMALL_NUMBERS

__all__ = ["MARKS", "Match", "Token", "match_from", "plainest"]

MARKS = ".,;:!?…"
"""What follows a word where something ends."""

_ALIKE = 0.6
"""Share of its letters in which a word has to be as it should. Below that, different things are
alike: "bathroom" is 0.57 of "bedroom", "in" half of "on"."""
_ALIKE_BEHIND = 0.81
"""The same of words that begin otherwise: "dining" is 0.67 of "living", "lock" of "unlock", and
"activate" 0.8 of "deactivate"."""
_TURNING = frozenset({"not", "no", "never", "minus", "negative"})
"""Words that are never beside the point."""
_ARTICLES = frozenset({"a", "an", "the"})
"""What models leave out, add and confuse the most."""
_ARTICLE = 0.5
"""Letters that one of them counts for: too little to tell two phrases apart."""
_FREE = 0.01
"""Of a word in a slot for text: of two ways to fill it, the shorter one."""
_MOST_TEXT = 20
"""Words in a slot for text."""
_LONGEST_PAUSE_S = 1.5
"""Inside a phrase; who stops for longer has begun something else."""
_LEAST_SIMILARITY = 0.75
"""Of a whole phrase, to be looked at at all; what is taken for a command is for who asks."""


@dataclass(frozen=True, slots=True)
class Token:
    """A word as it is compared."""

    key: str
    text: str
    """The whole word as it was written; empty for its second part."""
    start_s: float
    end_s: float
    probability: float
    word: int
    """Index of the recognised word that it is, or is part of."""
    pause_after: bool
    """A mark or a silence follows: what comes next may be something else."""
    ends: bool
    """A sentence or an utterance ends here."""


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase that was found."""

    meaning: Meaning
    start: int
    end: int
    """Tokens from ``start`` to ``end``, exclusive."""
    cost: float
    """Letters in which it differs."""
    similarity: float
    """1 for just the words of the phrase; 1 less the share of its letters that differ."""
    loose: int
    """Tokens in slots for text."""
    values: tuple[tuple[str, str | float], ...]
    """What was said in the slots."""
    open: bool
    """More words could still change it: a longer phrase, or the value at its end."""


@dataclass(frozen=True, slots=True)
class _State:
    cost: float
    loose: int = 0
    values: tuple[tuple[str, str | float], ...] = ()


_Row = dict[int, _State]
"""The best way to have used up the tokens before each index, where there is one."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, and how it can be reached."""

    node: Node
    row: _Row
    slid: _Row
    """The same if words may have been added after it."""
    word: str = ""
    """Of the edge that leads here; empty for a slot."""
    above: _Place | None = None


def match_from(root: Node, tokens: Sequence[Token], start: int) -> tuple[list[Match], bool]:
    """All phrases that begin at a token, in no order, and whether the rest begins one.

    Args:
        root: of the tree.
        tokens: what was heard.
        start: index of the first token.

    Returns:
        What was found; and True if all tokens from ``start`` on are the beginning of a phrase
        that is not at its end.
    """
    end = start + 1
    while end < len(tokens) and tokens[end].start_s - tokens[end - 1].end_s <= _LONGEST_PAUSE_S:
        end += 1
    row = {start: _State(0.0)}
    first = _Place(root, row, row)
    found: list[tuple[Node, int, _State, bool]] = []
    unfinished_costs: list[float] = []
    for place, by_slot in _walk(first, tokens, end):
        node = place.node
        if node.goes_on and end in place.row:
            unfinished_costs.append(place.row[end].cost)
        if node.meaning is not None:
            found += [(node, at, state, by_slot) for at, state in place.row.items()]
    matches = []
    for node, at, state, by_slot in found:
        similarity = 1 - (state.cost - _FREE * state.loose) / node.letters
        if similarity < _LEAST_SIMILARITY or node.meaning is None:
            continue
        more = at == end and any(cost <= state.cost + 1 for cost in unfinished_costs)
        matches.append(
            Match(
                node.meaning,
                start,
                at,
                state.cost,
                similarity,
                state.loose,
                (*node.meaning.chosen, *state.values),
                open=by_slot or node.goes_on or more,
            )
        )
    return matches, end == len(tokens) and bool(unfinished_costs)


def _walk(place: _Place, tokens: Sequence[Token], end: int) -> Iterator[tuple[_Place, bool]]:
    """Every place below that can be reached at a bearable cost, and whether a slot leads there."""
    for word, node in place.node.words.items():
        below = _after_word(place, word, node, tokens, end)
        if below is not None:
            yield below, False
            yield from _walk(below, tokens, end)
    for slot, node in place.node.slots.items():
        below = _after_slot(place, slot, node, tokens, end)
        if below is not None:
            yield below, True
            yield from _walk(below, tokens, end)


def _after_word(
    place: _Place, word: str, node: Node, tokens: Sequence[Token], end: int
) -> _Place | None:
    row: _Row = {}
    for at, state in place.slid.items():
        if at < end:
            _offer(row, at + 1, state, _word_cost(word, tokens[at].key))
        if at + 1 < end:
            _offer(row, at + 2, state, _joined_cost(word, tokens[at].key, tokens[at + 1].key))
    if place.word and place.above is not None:  # this word and the one before it
        both = place.word + word
        for at, state in place.above.slid.items():
            if at < end:
                _offer(row, at + 1, state, _joined_cost(both, tokens[at].key))
            if at + 1 < end and len(tokens[at].key) != len(place.word):  # parted at another place
                _offer(row, at + 2, state, _joined_cost(both, tokens[at].key, tokens[at + 1].key))
    if word in _ARTICLES:
        for at, state in place.row.items():
            _offer(row, at, state, _ARTICLE)
    return _place(place, row, word, node, tokens, end)


def _after_slot(
    place: _Place, slot: Slot, node: Node, tokens: Sequence[Token], end: int
) -> _Place | None:
    row: _Row = {}
    keys = [token.key for token in tokens[:end]] if slot.kind != "text" else []
    for at, state in place.row.items():
        if slot.kind == "text":
            for to in range(at + 1, min(at + _MOST_TEXT, end) + 1):
                said = " ".join(token.text for token in tokens[at:to] if token.text)
                value = (slot.name, said.strip(MARKS))
                _offer(row, to, state, _FREE * (to - at), loose=to - at, value=value)
                if tokens[to - 1].ends:
                    break
        else:
            for to, number in READERS[slot.kind](keys, at):
                _offer(row, to, state, 0.0, value=(slot.name, number))
    return _place(place, row, "", node, tokens, end)


def _place(
    above: _Place, row: _Row, word: str, node: Node, tokens: Sequence[Token], end: int
) -> _Place | None:
    most = (1 - _LEAST_SIMILARITY) * node.most_letters + _FREE * _MOST_TEXT
    row = {at: state for at, state in row.items() if state.cost <= most}
    if not row:
        return None
    slid = dict(row)
    for at in range(min(row), end):
        added = _added_cost(tokens[at].key)
        if at in slid and added is not None and slid[at].cost + added <= most:
            _offer(slid, at + 1, slid[at], added)
    return _Place(node, row, slid, word, above)


def _offer(
    row: _Row,
    at: int,
    state: _State,
    cost: float | None,
    *,
    loose: int = 0,
    value: tuple[str, str | float] | None = None,
) -> None:
    """Take a way to a place if it is the cheapest one."""
    if cost is None:
        return
    there = row.get(at)
    if there is None or state.cost + cost < there.cost:
        values = state.values if value is None else (*state.values, value)
        row[at] = _State(state.cost + cost, state.loose + loose, values)


def _added_cost(heard: str) -> float | None:
    """Of a word that the phrase does not have; a number is never beside the point."""
    if heard in _ARTICLES:
        return _ARTICLE
    matters = heard[0].isdecimal() or heard in SMALL_NUMBERS or heard in _TURNING
    return None if matters else float(len(heard))


@lru_cache(maxsize=65_536)
def _word_cost(wanted: str, heard: str) -> float | None:
    """Letters in which two words differ; None for words that are not alike.

    Doubled letters count once: "of" is how models spell "off".
    """
    if wanted == heard or str(SMALL_NUMBERS.get(wanted, "")) == heard:
        return 0.0
    if heard[0].isdecimal() or wanted[0].isdecimal():
        return None
    if wanted in _ARTICLES and heard in _ARTICLES:
        return _ARTICLE
    a, b = _undoubled(wanted), _undoubled(heard)
    alike = _ALIKE if a[0] == b[0] else _ALIKE_BEHIND
    most = (1 - alike) * max(len(a), len(b)) + 1e-9
    if abs(len(a) - len(b)) > most or sum(c not in b for c in a) > most:
        return None
    distance = _distance(a, b)
    return distance if distance <= most else None


def _joined_cost(wanted: str, *heard: str) -> float | None:
    """The same for words that were split or joined another way.

    No letter may differ there: with one, "lightsoff" would be "lights on".
    """
    return 0.0 if _undoubled(wanted) == _undoubled("".join(heard)) else None


@lru_cache(maxsize=65_536)
def _undoubled(word: str) -> str:
    return "".join(c for i, c in enumerate(word) if i == 0 or c != word[i - 1])


def _distance(a: str, b: str) -> float:
    """Levenshtein's."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row = row, [i]
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return float(row[-1])


def plainest(words: Sequence[str]) -> str:
    """What two runs of words share that cannot be told apart when they are heard."""
    return "".join(
        _undoubled(str(SMALL_NUMBERS.get(word, word))) for word in words if word not in _ARTICLES
    )
