"""Committed text as a growing log of lines, and wrapping in terminal cells."""

from __future__ import annotations

import re

from rich.console import Console
from rich.text import Text

from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
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

    def push(self, event: Event) -> None:
        """Learn from the events that open and close sessions."""
        if isinstance(event, SessionStarted) and event.label:
            self._labels[event.session] = one_line(event.label)
        elif isinstance(event, SessionEnded):
            self._labels.pop(event.session, None)

    def __getitem__(self, session: str) -> str:
        return self._labels.get(session, "")


class TextLog:
    """Committed text, one utterance a line, as it is committed.

    Several sessions may share a log: a line breaks where another session commits, and
    lines of sessions with a label begin with it.
    """

    def __init__(self) -> None:
        self._labels = Labels()
        self._line: tuple[str, int] | None = None

    def push(self, event: Event) -> str:
        """The text that an event appends."""
        self._labels.push(event)
        if isinstance(event, Committed):
            return self._append(event)
        if isinstance(event, Final) and self._line == (event.session, event.utterance):
            return self.close()
        return ""

    def preview(self, partial: Partial) -> str:
        """The tentative text, as it would be appended; "" while another session's line runs."""
        text = one_line(partial.tentative)
        if self._line is None:
            text = text.lstrip()
            return self._prefix(partial.session) + text if text else ""
        return text if self._line == (partial.session, partial.utterance) else ""

    def close(self) -> str:
        """What ends the line that is open, if one is."""
        ending = "" if self._line is None else "\n"
        self._line = None
        return ending

    def _append(self, event: Committed) -> str:
        text = one_line(event.text)
        line = (event.session, event.utterance)
        if self._line == line:
            return text
        text = text.lstrip()
        if not text:
            return ""
        ending = self.close()
        self._line = line
        return ending + self._prefix(event.session) + text

    def _prefix(self, session: str) -> str:
        label = self._labels[session]
        return f"{label}: " if label else ""
