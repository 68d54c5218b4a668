"""The promises of an event log, checked. An empty list is a log that keeps them all."""

from __future__ import annotations

from collections.abc import Iterable

from ..events import (
    Committed,
    Event,
    Final,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Word,
    text_of,
)

__all__ = ["check_events"]


def check_events(events: Iterable[Event]) -> list[str]:
    """List every broken promise of a log of whole sessions, one line each.

    Sessions may be interleaved; each must begin with ``session_started`` and end with
    ``session_ended``. Checked are: ``seq`` rises by one from 0; ``clock_s`` never falls;
    utterance numbers rise, and every utterance has one final, its last event apart from
    ``refined``; committed text is append-only, equal to what every partial and final says,
    and to its words; committed words come in order of time; speech starts and ends in turn and
    never goes back in time; a final is refined once at most, after it was said, and in a session
    with a final model exactly once if it has words.
    """
    sessions: dict[str, _Session] = {}
    for event in events:
        sessions.setdefault(event.session, _Session()).push(event)
    return [
        f"session {name!r}: {problem}" if len(sessions) > 1 else problem
        for name, session in sessions.items()
        for problem in session.close()
    ]


class _Session:
    def __init__(self) -> None:
        self._problems: list[str] = []
        self._last: Event | None = None
        self._utterance: int | None = None
        """The utterance that is open; its final closes it."""
        self._highest: int | None = None
        self._words: list[Word] = []
        """Committed words of the open utterance."""
        self._last_start_s = 0.0
        self._refinable: set[int] = set()
        """Utterances with words that are final and not refined yet."""
        self._refines = False
        self._speech = False
        """It has started and not ended."""
        self._edge_s = 0.0
        """Where speech started or ended last."""

    def push(self, event: Event) -> None:
        """Check one event against what came before it."""
        self._check_frame(event)
        if isinstance(event, Partial | Committed | Final):
            self._enter(event, event.utterance)
        if isinstance(event, Partial):
            self._same(event, "committed", event.committed, text_of(self._words))
            self._same(event, "tentative", event.tentative, text_of(event.words))
        elif isinstance(event, Committed):
            self._check_committed(event)
        elif isinstance(event, Final):
            self._same(event, "text", event.text, text_of(self._words))
            if list(event.words) != self._words:
                self._tell(event, "its words are not the committed ones")
            self._utterance = None
            if event.words:
                self._refinable.add(event.utterance)
        elif isinstance(event, Refined):
            self._check_refined(event)
        elif isinstance(event, SpeechStarted | SpeechEnded):
            self._check_edge(event)
        elif isinstance(event, SessionStarted):
            self._refines = "final_model" in event.options

    def close(self) -> list[str]:
        """All problems, those of the end included."""
        if self._utterance is not None:
            self._problems.append(f"utterance {self._utterance} has no final")
        if not isinstance(self._last, SessionEnded):
            self._problems.append("the last event is not session_ended")
        if self._refines and self._refinable:
            numbers = ", ".join(map(str, sorted(self._refinable)))
            self._problems.append(f"never refined: utterance {numbers}")
        return self._problems

    def _check_frame(self, event: Event) -> None:
        last, self._last = self._last, event
        expected = 0 if last is None else last.seq + 1
        if event.seq != expected:
            self._tell(event, f"seq should be {expected}")
        if isinstance(event, SessionStarted) != (last is None):
            self._tell(event, "session_started must be the first event and no other")
        if last is not None and event.clock_s < last.clock_s:
            self._tell(event, f"clock_s fell from {last.clock_s:.3f} to {event.clock_s:.3f}")
        if isinstance(last, SessionEnded):
            self._tell(event, "follows session_ended")

    def _enter(self, event: Event, utterance: int) -> None:
        if utterance == self._utterance:
            return
        if self._utterance is not None:
            self._tell(event, f"utterance {self._utterance} has no final yet")
        if self._highest is not None and utterance <= self._highest:
            self._tell(event, f"utterance {utterance} is over")
        self._utterance = utterance
        self._highest = max(utterance, self._highest or 0)
        self._words = []

    def _check_committed(self, event: Committed) -> None:
        self._same(event, "text", event.text, text_of(event.words))
        if not event.words:
            self._tell(event, "commits nothing")
        for word in event.words:
            if word.end_s < word.start_s:
                self._tell(event, f"{word.text!r} ends before it starts")
            if word.start_s < self._last_start_s:
                self._tell(event, f"{word.text!r} starts before the word in front of it")
            self._last_start_s = max(self._last_start_s, word.start_s)
        self._words += event.words

    def _check_edge(self, event: SpeechStarted | SpeechEnded) -> None:
        starts = isinstance(event, SpeechStarted)
        if starts == self._speech:
            self._tell(event, f"speech has {'started' if starts else 'ended'} already")
        if event.at_s < self._edge_s:
            self._tell(event, f"speech went back from {self._edge_s:.3f} to {event.at_s:.3f} s")
        self._speech, self._edge_s = starts, event.at_s

    def _check_refined(self, event: Refined) -> None:
        self._same(event, "text", event.text, text_of(event.words))
        if event.utterance not in self._refinable:
            self._tell(event, f"utterance {event.utterance} has no final that waits for it")
        self._refinable.discard(event.utterance)

    def _same(self, event: Event, field: str, said: str, expected: str) -> None:
        if said != expected:
            self._tell(event, f"{field} is {said!r}, should be {expected!r}")

    def _tell(self, event: Event, problem: str) -> None:
        self._problems.append(f"{event.type} with seq {event.seq}: {problem}")
