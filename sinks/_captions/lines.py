"""Committed text as numbered lines that never reflow.

Lines are broken greedily, word by word, as words are committed: a committed word has its
line for good. Tentative words are laid out after them and take their place when they are
committed unchanged.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

from streaming.events import Word, text_of

from .._text import one_line

__all__ = ["COLUMNS", "MOST_LINES", "Line", "Lines", "fill", "pieces"]

COLUMNS = 42
"""Cells in a line: 42 Latin letters or 21 wide characters, as subtitles have."""
MOST_LINES = 200
"""Lines that are kept; older ones go."""
_MOST_CHARACTERS = 4 * COLUMNS
"""In a line: combining marks have no width, and a line of them alone would have no end."""
_SPACES = re.compile(r"\s+")
_PIECES = re.compile(r"\s*\S+|\s+")


@dataclass(slots=True)
class Line:
    """One line."""

    text: str
    """As it was committed, spaces included: lines join by plain concatenation."""
    kind: Literal["text", "lost"] = "text"
    """"lost" marks audio that was dropped."""
    language: str = ""
    lost_s: float = 0.0


class Lines:
    """The lines of one session, from ``start`` to ``end``, numbered from the first ever."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=MOST_LINES)
        self._touched = 0
        self.end = 0
        """Number of the next line."""
        self.open = False
        """True while the last line may go on."""

    @property
    def start(self) -> int:
        """Number of the oldest line that is kept."""
        return self.end - len(self._lines)

    def since(self, number: int) -> list[Line]:
        """The lines from a number on."""
        return list(self._lines)[max(number - self.start, 0) :]

    def take_touched(self) -> int:
        """Number of the first line that was added or changed since this was last asked."""
        touched, self._touched = self._touched, self.end
        return max(touched, self.start)

    def write(self, pieces: Iterable[str], language: str) -> None:
        """Append committed pieces."""
        first, *more = self.lay_out(pieces)
        if first:
            self._lines[-1].text += first
            self._touched = min(self._touched, self.end - 1)
        for text in more:
            self._append(Line(text, "text", language))
            self.open = True

    def lay_out(self, pieces: Iterable[str]) -> list[str]:
        """Where pieces would go: what joins the last line ("" if nothing), then new lines."""
        if self.open:
            return fill(self._lines[-1].text, pieces)
        first, *more = fill("", pieces)
        return ["", first, *more] if first.strip() else [""]

    def mark_lost(self, lost_s: float) -> None:
        """Mark dropped audio, on a line of its own; what is lost in a row is told as one."""
        if self._lines and self._lines[-1].kind == "lost":
            line = self._lines[-1]
            self._touched = min(self._touched, self.end - 1)
        else:
            line = Line("", "lost")
            self._append(line)
        line.lost_s += lost_s
        line.text = f"[audio lost {max(line.lost_s, 0.1):.1f} s]"
        self.open = False

    def close(self) -> None:
        """End the last line: what follows begins another."""
        self.open = False

    def _append(self, line: Line) -> None:
        self._lines.append(line)
        self.end += 1


def fill(line: str, pieces: Iterable[str]) -> list[str]:
    """Break pieces greedily into lines after ``line``.

    Returns:
        What is appended to ``line``, then the text of each further line.
    """
    added = [""]
    last = line
    for piece in pieces:
        for part in [piece] if _fits(piece) else piece:  # too long for any line: by characters
            if _fits(last + part) or not last.strip():
                added[-1] += part
                last += part
            else:
                added.append(part)
                last = part
    return added


def _fits(text: str) -> bool:
    return len(text) <= _MOST_CHARACTERS and cell_len(text.strip()) <= COLUMNS


def pieces(text: str, words: Sequence[Word]) -> list[str]:
    """Text cut where a line may break: at its words, or at spaces where they are not known.

    Control characters and runs of spaces become one space.
    """
    parts = [word.text for word in words]
    if text_of(tuple(words)) != text:
        parts = _PIECES.findall(text)
    return [_SPACES.sub(" ", one_line(part)) for part in parts]
