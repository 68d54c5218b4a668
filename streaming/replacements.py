"""Words and phrases replaced or masked before anybody sees them.

A file of rules has one a line, what is heard and what it becomes::

    # names
    acme corp -> ACME Corp
    jay son -> JSON
    damn -> *
    東京 -> Tokyo

A lone ``*`` masks: every letter and digit that was heard becomes a star. Anything else stands
as it is written. Lines that begin with ``#`` are comments.

Whole words are compared, by their letters and digits without regard to case, so "Acme-Corp,"
is "acme corp", and the comma stays behind what it becomes. A space that is heard must be one
of the rule: "the rapist" is no "therapist". Where a language has no spaces every character is
a word. Of several phrases that begin at a word the longest one is taken, what was replaced is
not looked at again, and no phrase goes on from one utterance into the next.

Committed text is never taken back, so a committed word that may begin a longer phrase waits
for the words that decide, at most as many as the phrase has, or for the end of its utterance.
Until then it heads the tentative text. Tentative text is replaced too; where it breaks off
inside a phrase, the words of the phrase that are there already are seen as they are heard.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from .errors import ConfigurationError
from .events import Committed, Event, Final, Partial, Refined, Word, text_of
from .word_files import entries, read_words
from .words import key

__all__ = ["Replacements", "Rewriter"]

_MOST_RULES = 1000
_MOST_WORDS = 10
_MOST_LETTERS = 100
_ARROW = "->"
_MASK = "*"

_Node = dict[str, Any]
"""A place in the tree of phrases: the places behind it by letter, a space between two words
included, and under "" what the phrase that ends here becomes."""


class Replacements:
    """Rules, ready to be looked up. Sessions may share them."""

    def __init__(self) -> None:
        self._root: _Node = {}
        self._n_rules = 0

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Replacements:
        """The rules of a file.

        Raises:
            ConfigurationError: it cannot be read, or as for `parse`.
        """
        return cls.parse(read_words(path), name=os.fspath(path))

    @classmethod
    def parse(cls, text: str, *, name: str = "rules") -> Replacements:
        """The rules of a text, one a line.

        Args:
            text: as the module says.
            name: of the text, for errors.

        Raises:
            ConfigurationError: a line that cannot be a rule, or none at all.
        """
        rules = cls()
        for number, line in entries(text):
            heard, arrow, wanted = line.partition(_ARROW)
            try:
                if not arrow:
                    raise ConfigurationError(f"{line!r} is no rule; write `heard -> wanted`")
                rules.add(heard, wanted)
            except ConfigurationError as error:
                raise ConfigurationError(f"{name}, line {number}: {error}") from None
        if not rules._n_rules:
            raise ConfigurationError(f"{name} has no rule; write `heard -> wanted` lines")
        return rules

    def add(self, heard: str, wanted: str) -> None:
        """Add a rule.

        Args:
            heard: a word or phrase.
            wanted: what it becomes; "*" masks it.

        Raises:
            ConfigurationError: one of them says nothing, the phrase is too long or has a rule
                already, or there are too many.
        """
        heard, wanted = " ".join(heard.split()), " ".join(wanted.split())
        phrase = " ".join(filter(None, map(_letters, heard.split())))
        if not phrase:
            raise ConfigurationError(f"{heard!r} has no letter or digit that could be heard")
        if not wanted:
            raise ConfigurationError(f"what does {heard!r} become? write text, or {_MASK} to mask")
        if phrase.count(" ") >= _MOST_WORDS or len(phrase) > _MOST_LETTERS:
            raise ConfigurationError(
                f"{heard[:40]!r}... is too long; a phrase has at most {_MOST_WORDS} words and "
                f"{_MOST_LETTERS} letters"
            )
        if self._n_rules == _MOST_RULES:
            raise ConfigurationError(f"too many rules; {_MOST_RULES} are possible")
        node = self._root
        for letter in phrase:
            node = node.setdefault(letter, {})
        if "" in node:
            raise ConfigurationError(f"{heard!r} has a rule already; remove one of the two")
        node[""] = wanted
        self._n_rules += 1

    def rewrite(
        self, words: Sequence[Word], *, whole: bool = True
    ) -> tuple[list[Word], list[Word]]:
        """Replace what the rules say.

        Args:
            words: in order.
            whole: False where words follow that may belong to a phrase at the end.

        Returns:
            The words as they are to be seen, and those at the end, as they were heard, that
            the words to come decide on.
        """
        seen: list[Word] = []
        at = 0
        while at < len(words):
            end, wanted, undecided = self._longest(words, at)
            if undecided and not whole:
                break
            seen.append(words[at] if wanted is None else _replaced(words[at:end], wanted))
            at = end
        return seen, list(words[at:])

    def _longest(self, words: Sequence[Word], at: int) -> tuple[int, str | None, bool]:
        """The longest phrase at a word: its end, what it becomes, and if it may be longer yet."""
        end, wanted = at + 1, None
        places = [self._root]
        for i in range(at, len(words)):
            places = _follow(places, words[i].text, first=i == at)
            if not places:
                return end, wanted, False
            for place in places:
                if "" in place:
                    end, wanted = i + 1, place[""]
                    break
        return end, wanted, any(place.keys() - {""} for place in places)


def _follow(places: Sequence[_Node], word: str, *, first: bool) -> list[_Node]:
    """Where the letters of a word lead from some places in the tree; nowhere without letters."""
    letters = _letters(word)
    if not letters:
        return []
    followed = list(places)
    if word[0].isspace() and not first:
        followed = [place[" "] for place in followed if " " in place]
    for letter in letters:
        # A space of the rule need not be heard: "lower-case", or a language without spaces.
        either = [branch for place in followed for branch in (place, place.get(" ", {}))]
        followed = [branch[letter] for branch in either if letter in branch]
    return followed


class Rewriter:
    """Applies rules to the events of one session, in order.

    The promises about committed text hold for what comes out if they do for what goes in.
    """

    def __init__(self, rules: Replacements) -> None:
        self._rules = rules
        self._said: list[Word] = []
        """What the open utterance has committed, as it is seen."""
        self._waiting: list[Word] = []
        """What it has committed besides, as it was heard."""
        self._goes_on = False
        """The open utterance is one that a former run has begun."""
        self._repeated: dict[int, tuple[Sequence[Word], Sequence[Word]]] = {}
        """By utterance of a former run: its words as the session has them, some of them replaced
        already, and as they were seen. A `Refined` may repeat them."""

    def restore(self, said: Sequence[Word], unrefined: Iterable[Final] = ()) -> None:
        """Go on where a former run was stopped.

        Args:
            said: what the open utterance has committed already, as it was seen.
            unrefined: finals that are to be refined still, as they were seen.
        """
        self._said = list(said)
        self._goes_on = bool(said)
        self._repeated = {final.utterance: (final.words, final.words) for final in unrefined}

    def push(self, event: Event) -> Iterator[Event]:
        """What becomes of an event."""
        if isinstance(event, Committed):
            seen, self._waiting = self._rules.rewrite([*self._waiting, *event.words], whole=False)
            yield from self._commit(event, seen)
        elif isinstance(event, Partial):
            tentative, _ = self._rules.rewrite([*self._waiting, *event.words])
            yield replace(
                event,
                committed=text_of(self._said),
                tentative=text_of(tentative),
                words=tuple(tentative),
            )
        elif isinstance(event, Final):
            seen, _ = self._rules.rewrite(self._waiting)
            last = Committed(utterance=event.utterance, language=event.language)
            yield from self._commit(last, seen)
            yield replace(event, text=text_of(self._said), words=tuple(self._said))
            if self._goes_on:
                self._repeated[event.utterance] = event.words, self._said
            self._said, self._waiting, self._goes_on = [], [], False
        elif isinstance(event, Refined):
            held, known = self._repeated.pop(event.utterance, ((), ()))
            seen = list(known) if event.words == held else self._rules.rewrite(event.words)[0]
            yield replace(event, text=text_of(seen), words=tuple(seen))
        else:
            yield event

    def _commit(self, event: Committed, words: Sequence[Word]) -> Iterator[Committed]:
        self._said += words
        if words:
            yield replace(event, text=text_of(list(words)), words=tuple(words))


def _letters(text: str) -> str:
    """What words compare by, in one way of writing accents and widths."""
    return key(unicodedata.normalize("NFKC", text))


def _replaced(words: Sequence[Word], wanted: str) -> Word:
    """The one word that a phrase becomes, with the punctuation around it."""
    heard = text_of(list(words))
    spoken = [i for i, character in enumerate(heard) if _letters(character)]
    before, after = heard[: spoken[0]], heard[spoken[-1] + 1 :]
    if wanted == _MASK:
        wanted = _masked(heard[spoken[0] : spoken[-1] + 1])
    elif wanted.endswith("."):
        after = after.removeprefix(".")  # "Acme Inc." at the end of a sentence
    return Word(
        before + wanted + after,
        words[0].start_s,
        words[-1].end_s,
        min(word.probability for word in words),
    )


def _masked(text: str) -> str:
    """A star for each letter and digit; accents go with their letter."""
    bare = (c for c in text if unicodedata.category(c)[0] != "M")
    return "".join(_MASK if _letters(c) else c for c in bare)
