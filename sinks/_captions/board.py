"""What the captions show: the lines of every session, as far as they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Partial,
    SessionEnded,
    SessionStarted,
)

from .._text import one_line
from .lines import Lines, pieces

__all__ = ["MOST_SESSIONS", "Board"]

MOST_SESSIONS = 16
"""Sessions that are kept; of more, those go that ended, then those silent for longest."""
_MOST_LOST = 8
"""Losses of one session that wait for their place in the text."""
_MOST_LABEL = 60
"""Characters of a label."""


@dataclass(slots=True)
class _Session:
    label: str = ""
    language: str = ""
    last_seq: int = -1
    ended: bool = False
    changed_s: float = 0.0
    lines: Lines = field(default_factory=Lines)
    tentative: list[str] = field(default_factory=lambda: [""])
    running: int | None = None
    """The utterance that has shown text and has no final."""
    committed_text: str = ""
    """Of that utterance."""
    tentative_text: str = ""
    lost: list[tuple[float, float]] = field(default_factory=list)
    """Start and length of dropped audio, in seconds, that the text has not reached yet."""

    def push(self, event: Event) -> None:
        self.last_seq = event.seq
        if isinstance(event, SessionStarted):
            self.label = one_line(event.label)[:_MOST_LABEL]
            self.language = event.language or ""
        elif isinstance(event, Partial):
            self._run(event.utterance)
            self.language = event.language or self.language
            self.committed_text, self.tentative_text = event.committed, event.tentative
            self.tentative = self.lines.lay_out(pieces(event.tentative, event.words))
        elif isinstance(event, Committed):
            self._run(event.utterance)
            self.language = event.language or self.language
            self._commit(event)
        elif isinstance(event, Final):
            if self.running in (None, event.utterance):
                self._rest()
        elif isinstance(event, AudioDropped):
            self._lose(event.start_s, max(event.end_s - event.start_s, 0.0))
        elif isinstance(event, SessionEnded):
            self._rest()
            self.ended = True

    def _run(self, utterance: int) -> None:
        """The utterance whose text comes now; each begins a line."""
        if utterance != self.running:
            self.lines.close()
            self.running, self.committed_text = utterance, ""

    def _commit(self, event: Committed) -> None:
        # The next partial brings what is left of the tentative text.
        self.tentative, self.tentative_text = [""], ""
        self.committed_text += event.text
        words = list(event.words)
        parts = pieces(event.text, words)
        while self.lost and words and len(parts) == len(words):
            n_before = sum(word.start_s < self.lost[0][0] for word in words)
            if n_before == len(words):
                break
            self.lines.write(parts[:n_before], self.language)
            self.lines.mark_lost(self.lost.pop(0)[1])
            words, parts = words[n_before:], parts[n_before:]
        self.lines.write(parts, self.language)

    def _lose(self, start_s: float, lost_s: float) -> None:
        if self.running is None:
            self.lines.mark_lost(lost_s)
        elif len(self.lost) < _MOST_LOST:
            self.lost.append((start_s, lost_s))
        else:
            self.lost[-1] = (self.lost[-1][0], self.lost[-1][1] + lost_s)

    def _rest(self) -> None:
        """The running utterance is over."""
        self.lines.close()
        self.tentative, self.tentative_text = [""], ""
        self.running, self.committed_text = None, ""
        for _, lost_s in self.lost:
            self.lines.mark_lost(lost_s)
        self.lost.clear()

    def view(self, since: int) -> dict[str, Any]:
        """The lines from a number on and what may come after them."""
        return {
            "from": since,
            "lines": [
                {"text": line.text, "kind": line.kind, "language": line.language}
                for line in self.lines.since(since)
            ],
            "open": self.lines.open,
            "tentative": self.tentative,
            "language": self.language,
        }


class Board:
    """The captions of all sessions: takes events, says what changed, and what there is."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}

    def push(self, event: Event, now_s: float) -> dict[str, Any] | None:
        """Take an event at a time on a clock that rises.

        Returns:
            The message ``lines`` where what is shown changed: a reader forgets its lines of
            this session from ``from`` on and appends ``lines``. The first of ``tentative``
            joins the last line, and each other one is a line after it.
        """
        session = self._sessions.get(event.session)
        if session is None:
            session = self._add(event.session)
            session.changed_s = now_s
        before = (session.tentative, session.lines.open)
        session.push(event)
        touched = session.lines.take_touched()
        if touched == session.lines.end and before == (session.tentative, session.lines.open):
            return None
        session.changed_s = now_s
        return {"type": "lines", "session": event.session, **session.view(touched)}

    def snapshot(self, now_s: float) -> dict[str, Any]:
        """All of it; ``from`` counts the lines of a session that are not kept any more."""
        sessions = [
            {
                "session": name,
                "label": session.label,
                "last_seq": session.last_seq,
                "ended": session.ended,
                "idle_s": round(max(now_s - session.changed_s, 0.0), 3),
                "partial": _partial(session),
                **session.view(session.lines.start),
            }
            for name, session in self._sessions.items()
        ]
        return {
            "truncated": any(session["from"] for session in sessions),
            "ended": bool(sessions) and all(session["ended"] for session in sessions),
            "sessions": sessions,
        }

    def _add(self, name: str) -> _Session:
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=self._worth)]
        return self._sessions.setdefault(name, _Session())

    def _worth(self, name: str) -> tuple[bool, float]:
        session = self._sessions[name]
        return not session.ended, session.changed_s


def _partial(session: _Session) -> Mapping[str, Any] | None:
    """The utterance that runs, in the words of `streaming.events.Partial`."""
    if session.running is None:
        return None
    return {
        "utterance": session.running,
        "committed": session.committed_text,
        "tentative": session.tentative_text,
        "language": session.language,
    }
