"""The transcript as lines, one an utterance, of which what has not left the screen is kept.

Committed text is appended to a line and leaves it at the front, row by row, when a layout
(`sinks._layout`) says so; what a line still has is drawn in place.
"""

from __future__ import annotations

from dataclasses import dataclass

from streaming.events import Committed, Event, Final, Partial, SessionEnded

from ._text import Labels, one_line

__all__ = ["Line", "Lines"]


@dataclass(slots=True, eq=False)
class Line:
    """What one session says without a break, or what is left of it."""

    session: str
    utterance: int
    label: str
    beside: Line | None = None
    """Another label's line: this one begins no higher than where that one then stood."""
    beside_at: int | None = None
    """How many characters that line then had in all; None where it had ended."""
    text: str = ""
    """Committed, and not yet gone."""
    tentative: str = ""
    open: bool = True
    """More may follow."""
    gone: int = 0
    """How many characters have left the screen for good."""
    named: bool = False
    """Its label stands in the scrollback, right above what is left of it."""

    def leave(self, n_characters: int) -> None:
        """That much of it is in the scrollback now."""
        self.text = self.text[n_characters:]
        self.gone += n_characters


class Lines:
    """Lines in the order in which they began."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._labels = Labels()

    @property
    def size(self) -> int:
        """Characters that have not left."""
        return sum(len(line.text) for line in self.lines)

    def push(self, event: Event) -> None:
        """Take in what the event says or ends."""
        label = self._labels.push(event)
        if isinstance(event, Partial):
            self._preview(event, label)
        elif isinstance(event, Committed):
            self._append(event, label)
        elif isinstance(event, Final | SessionEnded):
            line = self._open(event.session)
            if line is not None:
                _end(line)

    def close(self) -> None:
        """Nothing more will follow, and what is tentative will not be said."""
        for line in self.lines:
            _end(line)

    def tidy(self) -> None:
        """Forget the lines that have gone whole; one that is still open goes on as the last."""
        self.lines = [line for line in self.lines if line.open or line.text]
        self.lines.sort(key=lambda line: bool(line.gone and not line.text))
        for line in self.lines:
            if line.beside not in self.lines:
                line.beside = None

    def _open(self, session: str) -> Line | None:
        return next((e for e in self.lines if e.open and e.session == session), None)

    def _line(self, event: Partial | Committed, label: str) -> Line:
        """The line that the event continues, or a new one."""
        line = self._open(event.session)
        if line is not None and line.utterance == event.utterance:
            return line
        if line is not None:
            _end(line)
        new = Line(event.session, event.utterance, label)
        other = next((e for e in reversed(self.lines) if e.label != new.label), None)
        if other is not None:
            new.beside = other
            new.beside_at = other.gone + len(other.text) if other.open else None
        self.lines.append(new)
        return new

    def _preview(self, event: Partial, label: str) -> None:
        text = one_line(event.tentative)
        if text or self._open(event.session) is not None:
            self._line(event, label).tentative = text

    def _append(self, event: Committed, label: str) -> None:
        text = one_line(event.text)
        line = self._line(event, label)
        line.tentative = ""  # the next partial brings what is left of it
        line.text += text if line.text else text.lstrip()


def _end(line: Line) -> None:
    line.open = False
    line.tentative = ""
