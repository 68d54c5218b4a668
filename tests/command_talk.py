"""Events of people who talk to a program, word by word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streaming.commands import CommandHeard, CommandSpotter, Spotted
from streaming.events import Committed, Event, Final, FinalReason, Partial, Word, text_of

__all__ = ["Talk", "names", "said", "words"]

WORD_S = 0.4


def words(text: str, at_s: float = 0.0, *, probability: float = 0.9) -> tuple[Word, ...]:
    """A word every 0.4 s."""
    return tuple(
        Word(f" {word}", at_s + WORD_S * i, at_s + WORD_S * (i + 1), probability)
        for i, word in enumerate(text.split())
    )


class Talk:
    """Says events with their clock, and keeps what a spotter made of them."""

    def __init__(self, spotter: CommandSpotter, session: str = "s") -> None:
        self.spotter = spotter
        self.session = session
        self.spotted: list[Spotted] = []
        self._utterance = 0
        self._committed: list[Word] = []
        self.at_s = 0.0
        """Where the utterance begins."""

    def _push(self, event: Event) -> list[Spotted]:
        told = self.spotter.push(event)
        self.spotted += told
        return told

    def partial(self, text: str, *, commit: int = 0, shift_s: float = 0.0) -> list[Spotted]:
        """What a pass hears of the utterance; so many words of it are committed."""
        heard = words(text, self.at_s + shift_s)
        return self.hear(heard, commit=commit)

    def hear(self, heard: Sequence[Word], *, commit: int = 0) -> list[Spotted]:
        """The same with the words' own times."""
        clock_s = (heard[-1].end_s if heard else self.at_s) + 0.2
        told = self._commit(heard[len(self._committed) : commit], clock_s)
        tentative = tuple(heard[len(self._committed) :])
        return told + self._push(
            Partial(
                session=self.session,
                clock_s=clock_s,
                utterance=self._utterance,
                committed=text_of(self._committed),
                tentative=text_of(tentative),
                words=tentative,
            )
        )

    def final(self, text: str, reason: FinalReason = "silence") -> list[Spotted]:
        """The utterance ends with this text."""
        return self.end(words(text, self.at_s), reason)

    def end(self, heard: Sequence[Word], reason: FinalReason = "silence") -> list[Spotted]:
        """The same with the words' own times."""
        end_s = heard[-1].end_s if heard else self.at_s
        clock_s = end_s + (0.0 if reason == "max_length" else 0.7)
        told = self._commit(heard[len(self._committed) :], clock_s)
        told += self._push(
            Final(
                session=self.session,
                clock_s=clock_s,
                utterance=self._utterance,
                text=text_of(self._committed),
                words=tuple(self._committed),
                start_s=self.at_s,
                end_s=end_s,
                reason=reason,
            )
        )
        self._utterance += 1
        self._committed = []
        self.at_s = end_s if reason == "max_length" else end_s + 2.0
        return told

    def _commit(self, new: Sequence[Word], clock_s: float) -> list[Spotted]:
        if not new:
            return []
        self._committed += new
        return self._push(
            Committed(
                session=self.session,
                clock_s=clock_s,
                utterance=self._utterance,
                text=text_of(list(new)),
                words=tuple(new),
            )
        )


def said(spotter: CommandSpotter, *texts: str) -> list[Spotted]:
    """What comes of utterances that are heard in one go, after silence."""
    talk = Talk(spotter)
    for text in texts:
        talk.final(text)
    return talk.spotted


def names(spotted: Iterable[Spotted]) -> list[str]:
    """Of the commands."""
    return [each.name for each in spotted if isinstance(each, CommandHeard)]
