"""Committed text as a growing log of lines, and wrapping in terminal cells."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from streaming.events import (
    Committed,
    Event,
    Final,
    SessionEnded,
    SessionStarted,
)

__all__ = ["Labels", "TextLog", "one_line", "wrap"]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_CONSOLE = Console(file=None, width=80)


def one_line(text: str) -> str:
    """The text with line breaks and control characters (escape sequences) made spaces."""
    return _CONTROL.sub(" ", text)


def wrap(text: str | Text, width: int) -> list[Text]:
    """Rows of at most ``width`` terminal cells, broken at spaces where there are any.

    Wide characters count two cells and combining ones none; text without spaces is folded.
    """
    return list((Text(text) if isinstance(text, str) else text).wrap(_CONSOLE, width))


class Labels:
    """Labels ("me", "left") of the sessions that are running."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def push(self, event: Event) -> str:
        """The label of the event's session, from its first event to its last; "" for none."""
        if isinstance(event, SessionStarted) and event.label:
            self._labels[event.session] = one_line(event.label)
        if isinstance(event, SessionEnded):
            return self._labels.pop(event.session, "")
        return self._labels.get(event.session, "")


@dataclass(slots=True)
class _Line:
    """What one session says in one utterance."""

    session: str
    utterance: int
    label: str
    text: str = ""
    """Not written yet."""
    begun: bool = False
    ended: bool = False


class TextLog:
    """Committed text, one utterance a line, as it is committed.

    Lines of sessions with a label begin with it. Where several sessions share a log, no line is
    broken by what another one says: that waits until the line ends, and follows it.
    """

    def __init__(self) -> None:
        self._labels = Labels()
        self._lines: list[_Line] = []
        """In the order in which they began; the first one is being written."""

    def push(self, event: Event) -> str:
        """The text that an event appends."""
        label = self._labels.push(event)
        if isinstance(event, Committed):
            self._append(event, label)
        elif isinstance(event, Final | SessionEnded):
            self._end(event.session)
        return self._written()

    def close(self) -> str:
        """What ends the lines that are open, if any are."""
        for line in self._lines:
            line.ended = True
        return self._written()

    def _append(self, event: Committed, label: str) -> None:
        line = next((e for e in self._lines if e.session == event.session and not e.ended), None)
        if line is not None and line.utterance != event.utterance:
            line.ended = True
            line = None
        text = one_line(event.text)
        if line is None:
            text = text.lstrip()
            if not text:
                return
            line = _Line(event.session, event.utterance, label)
            self._lines.append(line)
        line.text += text

    def _end(self, session: str) -> None:
        for line in self._lines:
            line.ended |= line.session == session

    def _written(self) -> str:
        written = ""
        while self._lines:
            line = self._lines[0]
            if line.label and not line.begun:
                written += f"{line.label}: "
            written += line.text
            line.begun, line.text = True, ""
            if not line.ended:
                break
            written += "\n"
            del self._lines[0]
        return written
