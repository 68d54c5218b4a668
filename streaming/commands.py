"""Voice commands: phrases that people may say, and one event when somebody has said one.

.. code-block:: python

    spotter = CommandSpotter(
        {
            "lights": "turn [the] {room} lights {on|off}",
            "timer": "set a timer for {duration}",
            "stop": ["stop", "be quiet"],
        },
        slots={"room": ["kitchen", "living room"]},
        wake="computer",
    )
    for event in events:
        for heard in spotter.push(event):
            print(heard)

Phrases are written as `streaming.command_grammar` says. Everything here is pure: a spotter
is told events, and time is theirs. `sinks.commands` calls a function of yours.

A command is told as early as is safe: when its words are committed, or were heard the same in
two passes in a row, and no more words could make another command of them; otherwise when its
utterance ends. It is told once, whatever later passes make of the same audio, and never taken
back: what follows later in the same breath ("stop signs are red") comes too late. Refined texts
come long after and are not looked at. Polite words may stand around a command, but nothing else
that is not parted from it by a mark or a short silence.

Articles may be missing. The words that models leave out around them, and numbers, are those
of English; phrases may be in any language that puts spaces between words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .command_grammar import Meaning, Node, Slot, build_tree
from .command_hearing import Hearing
from .command_matcher import MARKS, plainest
from .command_search import Found, find
from .errors import ConfigurationError
from .events import Committed, Event, Final, Partial, SessionEnded, Word, text_of
from .words import key

__all__ = ["BargeIn", "CommandHeard", "CommandSpotter", "Commands", "Spotted", "WakeHeard"]

_MOST_SESSIONS = 256
"""Sessions that are followed at a time; those that end without a word make room in the end."""
_SURE_WORD = 0.5
"""Probability of a word that is more than a noise."""
_SAMPLES: Mapping[str, str] = {"number": "five", "duration": "five minutes", "text": "something"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandHeard:
    """Somebody has said a command."""

    name: str
    """As it was registered."""
    text: str
    """What was heard."""
    slots: Mapping[str, str | float]
    """By name: numbers and durations (in seconds) as numbers, what was chosen from a list as it
    stands there, and otherwise what was heard."""
    confidence: float
    """0 to 1, at least the threshold: how near the words are to the phrase, and how sure the
    model is of them."""
    start_s: float
    """Where its words begin in the stream."""
    end_s: float
    clock_s: float
    """Stream time at which it was certain."""
    utterance: int
    session: str
    early: bool
    """True if some of its words were not committed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeHeard:
    """Somebody has said the wake phrase."""

    text: str
    start_s: float
    end_s: float
    clock_s: float
    utterance: int
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BargeIn:
    """Somebody talks while the program does; told once each time it speaks."""

    text: str
    """What is heard so far."""
    clock_s: float
    utterance: int
    session: str


Spotted: TypeAlias = CommandHeard | WakeHeard | BargeIn


class Commands:
    """Phrases by the names of their commands, checked.

    Args:
        phrases: one or several for each command.
        slots: what may be said in the slots of these names.

    Raises:
        ConfigurationError: a phrase that cannot be read or would match anything, two that cannot
            be told apart, or too many forms.
    """

    def __init__(
        self,
        phrases: Mapping[str, str | Sequence[str]],
        *,
        slots: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not isinstance(phrases, Mapping):
            raise ConfigurationError('commands are a mapping of names to phrases: {"stop": "stop"}')
        if not phrases:
            raise ConfigurationError("there is no command to listen for")
        self.tree, forms = build_tree(phrases, slots or {})
        self.names = tuple(phrases)
        known: dict[str, Meaning] = {}
        for steps, meaning in forms:
            said = " ".join(_SAMPLES[s.kind] if isinstance(s, Slot) else s for s in steps)
            other = known.setdefault(plainest(said.split()), meaning)
            if other != meaning:
                raise ConfigurationError(
                    f"{other.phrase!r} and {meaning.phrase!r} cannot be told apart where somebody "
                    f"says {said!r}"
                )


class CommandSpotter:
    """Finds commands in the events of sessions, each of which is looked at by itself.

    Args:
        commands: what to listen for; a mapping is as good as a `Commands`.
        slots: where ``commands`` is a mapping: what may be said in the slots of these names.
        wake: one or several phrases that have to be said first; None listens always. It may
            come in the same breath as the command.
        window_s: how long after the wake phrase, or after the last command, a command may begin.
        barge_in: what counts as talking while the program speaks (see `speaking`): any "words",
            or only the wake phrase and "commands"; None does not listen for it. A microphone
            hears the program's own voice, too: with "words", use headphones, or take it out
            with `sources.duplex`.
        threshold: least confidence. By default, an exact phrase counts unless the model is hardly
            sure of any of its words (0.3), and with one it is sure of, a fifth of the letters
            may differ.

    Raises:
        ConfigurationError: phrases that cannot work (see `Commands`), or a number out of range.
    """

    def __init__(
        self,
        commands: Commands | Mapping[str, str | Sequence[str]],
        *,
        slots: Mapping[str, Sequence[str]] | None = None,
        wake: str | Sequence[str] | None = None,
        window_s: float = 8.0,
        barge_in: Literal["words", "commands"] | None = None,
        threshold: float = 0.65,
    ) -> None:
        if isinstance(commands, Commands) and slots is not None:
            raise ConfigurationError("give the slots to Commands, where the phrases are")
        if not 0 < window_s < math.inf or not 0 < threshold <= 1:
            raise ConfigurationError(
                "a wake window has to be above 0 s, and a threshold between 0 and 1"
            )
        if barge_in not in ("words", "commands", None):
            raise ConfigurationError(f'barge_in is "words" or "commands", not {barge_in!r}')
        self.commands = (
            commands if isinstance(commands, Commands) else Commands(commands, slots=slots)
        )
        self._wake: Node | None = None if wake is None else Commands({"": wake}).tree
        self._window_s = window_s
        self._barge_in = barge_in
        self._threshold = threshold
        self._hearings: dict[str, Hearing] = {}
        self._speaking = False
        self._interrupted = False

    @property
    def speaking(self) -> bool:
        """True while the program speaks: to be set by it, for `BargeIn`."""
        return self._speaking

    @speaking.setter
    def speaking(self, value: bool) -> None:
        if value and not self._speaking:
            self._interrupted = False
            for hearing in self._hearings.values():
                hearing.barge_from_s = max(hearing.clock_s, hearing.last_end_s)
        self._speaking = value

    def push(self, event: Event) -> list[Spotted]:
        """Take the next event of any session; what it tells comes in order."""
        if isinstance(event, SessionEnded):
            self._hearings.pop(event.session, None)
            return []
        hearing = self._hearing(event.session)
        hearing.clock_s = event.clock_s
        if isinstance(event, Committed):
            hearing.commit(event.words)
            return []  # the partial or the final of the same pass follows
        if isinstance(event, Partial):
            hearing.suppose(event.words)
            return self._search(hearing, event, over=False)
        if isinstance(event, Final):
            goes_on = event.reason == "max_length"
            hearing.suppose(())
            spotted = self._search(hearing, event, over=not goes_on)
            hearing.end_utterance(goes_on=goes_on)
            return spotted
        return []

    def _hearing(self, session: str) -> Hearing:
        hearing = self._hearings.pop(session, None) or Hearing()
        while len(self._hearings) >= _MOST_SESSIONS:  # whoever was silent for the longest goes
            del self._hearings[next(iter(self._hearings))]
        self._hearings[session] = hearing
        return hearing

    def _search(self, hearing: Hearing, event: Partial | Final, *, over: bool) -> list[Spotted]:
        spotted: list[Spotted] = [*self._talking(hearing, event)]
        tokens = hearing.tokens()
        found = find(
            tokens,
            self.commands.tree,
            self._wake,
            threshold=self._threshold,
            midway=hearing.begins_midway,
        )
        certain = [
            over
            or each.last_word < hearing.n_committed
            or any(each.same(before) for before in hearing.before)
            for each in found
        ]
        for number, each in enumerate(found):
            closed = over or each.wakes or not each.match.open or any(certain[number + 1 :][:1])
            if not (certain[number] and closed):
                break
            if not each.wakes and self._wake is not None and each.start_s > hearing.awake_until_s:
                continue
            if self._speaking and self._barge_in == "commands":
                said = hearing.words[each.first_word : each.last_word + 1]
                spotted += self._interrupt(event, said)
            spotted.append(self._told(hearing, event, each))
            hearing.awake_until_s = each.end_s + self._window_s
            hearing.use(each.last_word)
        hearing.before = found
        return spotted

    def _told(self, hearing: Hearing, event: Partial | Final, found: Found) -> Spotted:
        said = hearing.words[found.first_word : found.last_word + 1]
        text = text_of(said).lstrip(f" {MARKS}")
        if found.wakes:
            return WakeHeard(
                text=text,
                start_s=found.start_s,
                end_s=found.end_s,
                clock_s=event.clock_s,
                utterance=event.utterance,
                session=event.session,
            )
        return CommandHeard(
            name=found.match.meaning.command,
            text=text,
            slots=dict(found.match.values),
            confidence=found.confidence,
            start_s=found.start_s,
            end_s=found.end_s,
            clock_s=event.clock_s,
            utterance=event.utterance,
            session=event.session,
            early=found.last_word >= hearing.n_committed,
        )

    def _talking(self, hearing: Hearing, event: Partial | Final) -> Iterator[BargeIn]:
        """Words that were begun while the program spoke."""
        if self._speaking and self._barge_in == "words":
            said = [word for word in hearing.words if word.start_s >= hearing.barge_from_s]
            if any(word.probability >= _SURE_WORD and key(word.text) for word in said):
                yield from self._interrupt(event, said)

    def _interrupt(self, event: Partial | Final, said: Sequence[Word]) -> Iterator[BargeIn]:
        if not self._interrupted:
            self._interrupted = True
            yield BargeIn(
                text=text_of(list(said)).strip(),
                clock_s=event.clock_s,
                utterance=event.utterance,
                session=event.session,
            )
