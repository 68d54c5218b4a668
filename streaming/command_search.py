"""The commands in what was heard.

A command counts where it stands alone: after the beginning of an utterance, a mark or a short
silence, and before another one; polite words may stand around it. What people say to each
other has the words of commands in it, too, but hardly ever by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .command_grammar import Node
from .command_matcher import Match, Token, match_from

__all__ = ["Found", "choose", "find"]

_FASTEST_LETTERS_PER_S = 30.0
"""Twice what quick speakers manage. Models repeat a word in the silence after a voice; such words
take no time, and nobody has said them."""
_POLITE = (
    *(("could", "you"), ("can", "you"), ("would", "you"), ("will", "you"), ("thank", "you")),
    *(("please",), ("thanks",), ("okay",), ("ok",), ("hey",), ("so",), ("and",), ("then",)),
    *(("now",), ("well",), ("um",), ("uh",), ("oh",), ("just",), ("also",)),
)
"""May stand around a command."""


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase where it stands alone."""

    match: Match
    wakes: bool
    """It is the wake phrase."""
    confidence: float
    start_s: float
    end_s: float
    first_word: int
    """Index of the word that it begins with."""
    last_word: int

    def same(self, other: Found) -> bool:
        """True for the same thing said at the same time, as two passes heard it."""
        a, b = self.match, other.match
        near = abs(self.start_s - other.start_s) < 1.0
        return self.wakes == other.wakes and near and (a.meaning, a.values) == (b.meaning, b.values)


def choose(candidates: Sequence[Match], all_matches: Sequence[Match]) -> Match | None:
    """The one of several phrases that was said; None if another one is about as near.

    The phrase that has most of the words as its own is meant; of those that have as many, the
    nearest, if it is more than twice as near as every other, and by a letter.

    Args:
        candidates: what may be chosen.
        all_matches: what may speak against it.
    """
    if not candidates:
        return None

    def own(match: Match) -> int:
        return match.end - match.start - match.loose

    best = min(candidates, key=lambda match: (-own(match), match.cost))
    for other in all_matches:
        rival = other.meaning != best.meaning and other.end == best.end and own(other) == own(best)
        if rival and other.cost < 2 * best.cost + 1:
            return None
    return best


def find(
    tokens: Sequence[Token],
    commands: Node,
    wake: Node | None,
    *,
    threshold: float,
    midway: bool = False,
) -> list[Found]:
    """The commands and wake phrases among the tokens, in order.

    Args:
        tokens: what was heard.
        commands: tree of the commands' phrases.
        wake: that of the wake phrases; after one of these nothing has to end.
        threshold: least confidence.
        midway: the first token does not begin anything.
    """
    return list(_Search(tokens, commands, wake, threshold).found(not midway))


class _Search:
    def __init__(
        self, tokens: Sequence[Token], commands: Node, wake: Node | None, threshold: float
    ) -> None:
        self._tokens = tokens
        self._commands = commands
        self._wake = wake
        self._threshold = threshold
        self._known: dict[int, Found | None] = {}

    def found(self, begins: bool) -> Iterator[Found]:
        at = 0
        while at < len(self._tokens):
            if begins:
                if found := self._at(at):
                    yield found
                    at = found.match.end
                    continue
                if polite := self._polite(at):
                    at += polite
                    continue
            begins = self._tokens[at].pause_after
            at += 1

    def _at(self, at: int) -> Found | None:
        if at not in self._known:
            self._known[at] = self._wake_at(at) or self._command_at(at)
        return self._known[at]

    def _wake_at(self, at: int) -> Found | None:
        if self._wake is None:
            return None
        matches, _ = match_from(self._wake, self._tokens, at)
        best = choose([match for match in matches if self._sure(match)], matches)
        return self._make(best, wakes=True)

    def _command_at(self, at: int) -> Found | None:
        matches, _ = match_from(self._commands, self._tokens, at)
        alone = [match for match in matches if self._sure(match) and self._stops(match)]
        return self._make(choose(alone, matches), wakes=False)

    def _make(self, match: Match | None, *, wakes: bool) -> Found | None:
        if match is None:
            return None
        first, last = self._tokens[match.start], self._tokens[match.end - 1]
        sure = self._confidence(match)
        return Found(match, wakes, sure, first.start_s, last.end_s, first.word, last.word)

    def _confidence(self, match: Match) -> float:
        """How well the words fit, squared, and half of how sure the model is of them.

        Somebody who registers a phrase expects it: a model in doubt that writes just its
        words is to be believed more than one that is sure of others.
        """
        said = self._tokens[match.start : match.end]
        mean = sum(token.probability for token in said) / len(said)
        return match.similarity**2 * (1 + mean) / 2

    def _sure(self, match: Match) -> bool:
        said = self._tokens[match.start : match.end]
        takes_s = said[-1].end_s - said[0].start_s
        return self._confidence(match) >= self._threshold and not _too_quick(said, takes_s)

    def _stops(self, match: Match) -> bool:
        """Whether nothing follows that belongs to what the phrase is part of."""
        tokens, at = self._tokens, match.end
        if match.loose and match.open:  # text to the end of what is said
            return at == len(tokens) or tokens[at - 1].ends
        while at < len(tokens) and not tokens[at - 1].pause_after:
            polite = self._polite(at)
            if not polite:
                rest = tokens[at:]
                unsaid = all(_too_quick([t], t.end_s - t.start_s) for t in rest)
                return unsaid or self._at(at) is not None or self._begins(at)
            at += polite
        return True

    def _begins(self, at: int) -> bool:
        """Whether the rest is the beginning of a command, or of the wake phrase.

        Models begin again in the silence after a voice: "lights on. Turn".
        """
        trees = (self._commands, self._wake)
        return any(tree and match_from(tree, self._tokens, at)[1] for tree in trees)

    def _polite(self, at: int) -> int:
        """How many tokens from there are polite words."""
        for phrase in _POLITE:
            if tuple(token.key for token in self._tokens[at : at + len(phrase)]) == phrase:
                return len(phrase)
        return 0


def _too_quick(said: Sequence[Token], takes_s: float) -> bool:
    letters = sum(len(token.key) for token in said)
    return takes_s * _FASTEST_LETTERS_PER_S < letters
