"""The words of a session that have been no command yet."""

from __future__ import annotations

from collections.abc import Sequence

from .command_grammar import split_words
from .command_matcher import MARKS, Token
from .command_search import Found
from .events import Word
from .seam import seam
from .words import ends_sentence

__all__ = ["Hearing", "tokens_of"]

_PAUSE_S = 0.3
"""Silence between two words that parts them; word times are good to 0.1-0.2 s."""
_MOST_WORDS = 60
"""Words that are remembered: more than any phrase has, with what was said before it."""


class Hearing:
    """The words of one session, less those that were used up."""

    def __init__(self) -> None:
        self.clock_s = 0.0
        self.awake_until_s = -1.0
        """Of the audio."""
        self.barge_from_s = 0.0
        """Words that begin later have been said while the program spoke."""
        self.before: list[Found] = []
        """In the partial before."""
        self.words: list[Word] = []
        """Committed ones first."""
        self.n_committed = 0
        self._ended: list[bool] = []
        """For each committed word, whether its utterance ended with it."""
        self._used: tuple[Word, ...] = ()
        """What led to the last command and this itself, as they were heard then."""
        self._clipped = False

    def commit(self, words: Sequence[Word]) -> None:
        """Words that will not change. What was tentative is told anew after them."""
        del self.words[self.n_committed :]
        self.words += words
        self._ended += [False] * len(words)
        self.n_committed = len(self.words)

    def suppose(self, words: Sequence[Word]) -> None:
        """The tentative words after the committed ones."""
        self.words[self.n_committed :] = words

    def end_utterance(self, *, goes_on: bool) -> None:
        """What was tentative is void, and all that was used is settled.

        Args:
            goes_on: speech does, and what was heard of it beyond the last committed word will
                be heard again.
        """
        self.suppose(())
        until_s = self.words[-1].end_s if self.words else -1.0
        self._drop(self.first_new)
        kept = [w for w in self._used if goes_on and (w.start_s + w.end_s) / 2 > until_s]
        self._used = tuple(kept)
        self.before = []
        if self._ended and not goes_on:
            self._ended[-1] = True
        self._drop(max(0, len(self.words) - _MOST_WORDS), clip=True)

    @property
    def first_new(self) -> int:
        """Index of the first word after what was used."""
        return seam(self._used, self.words) if self._used else 0

    @property
    def last_end_s(self) -> float:
        """Where the newest word ends."""
        return max((word.end_s for word in self.words), default=0.0)

    def use(self, until_word: int) -> None:
        """Nothing up to this word, inclusive, will be another command."""
        self._used = tuple(self.words[: until_word + 1])

    def tokens(self) -> list[Token]:
        """What may be a command, with the indexes of its words."""
        first = self.first_new
        if self._used and 0 < first <= self.n_committed:
            if self.words[self.n_committed - 1].end_s >= self._used[-1].end_s:
                self._drop(first)
                self._used = ()
                first = 0
        elif not self._used and self.n_committed > 2 * _MOST_WORDS:
            self._drop(self.n_committed - _MOST_WORDS, clip=True)
        return tokens_of(self.words, first, self._ended)

    @property
    def begins_midway(self) -> bool:
        """True where the oldest words were let go in the middle of what was said."""
        return self._clipped

    def _drop(self, count: int, *, clip: bool = False) -> None:
        if count:
            del self.words[:count], self._ended[:count]
            self.n_committed = max(0, self.n_committed - count)
            self._clipped = clip


def tokens_of(words: Sequence[Word], first: int = 0, ended: Sequence[bool] = ()) -> list[Token]:
    """Words from ``first`` on as they are compared; one that is written with a hyphen is two.

    Args:
        words: in order.
        first: where to begin.
        ended: of the first words, whether an utterance ended with them.
    """
    tokens = []
    for index in range(first, len(words)):
        word = words[index]
        over = index < len(ended) and ended[index]
        text = word.text.strip()
        gap_s = words[index + 1].start_s - word.end_s if index + 1 < len(words) else 0.0
        pause = over or gap_s >= _PAUSE_S or text.endswith(tuple(MARKS))
        parts = split_words(text)
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            tokens.append(
                Token(
                    part,
                    text if number == 1 else "",
                    word.start_s,
                    word.end_s,
                    word.probability,
                    index,
                    pause_after=last and pause,
                    ends=last and (over or ends_sentence(text)),
                )
            )
    return tokens
