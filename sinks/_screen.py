"""Rows at the bottom of a terminal that are drawn again in place, under rows that stay.

Rows that are finished go into the terminal's own scrollback and are never touched again.
The live rows under them are overwritten, only from the first one that changed, and in one
string that the terminal may show at once, so nothing flickers. The cursor is never hidden:
it rests at the end of the last live row, so there is nothing to restore however a run ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import chop_cells
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

__all__ = ["Screen"]

# Synchronized update: shown as a whole by terminals that know it, ignored by others.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
# A live row must not fold, even where the terminal takes a character for wider than we do.
_NO_FOLDING, _FOLDING = "\x1b[?7l", "\x1b[?7h"
_TO_ROW_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"


class Screen:
    """What is drawn, and how to come from there to what should be.

    Args:
        console: the terminal: its size, asked anew each time, and its colours.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Text] = []
        self._width = 0

    @property
    def width(self) -> int:
        """Cells that a row may have; the last column stays free of wrapping quirks."""
        return max(self._console.width - 1, 2)

    @property
    def height(self) -> int:
        """How many live rows there may be: as many as the cursor can go back over."""
        return max(self._console.height - 1, 1)

    def draw(self, finished: Sequence[Text], live: Sequence[Text]) -> str:
        """Text that puts the finished rows in place of the live ones, and new live rows below.

        Returns:
            One string for the terminal; "" if nothing changes.
        """
        live = [_stripped(row) for row in live]
        width = self._console.width
        same = 0
        if not finished and (width == self._width or not self._drawn):
            if live == self._drawn:
                return ""
            while same < min(len(self._drawn), len(live) - 1) and self._drawn[same] == live[same]:
                same += 1
        parts = [_BEGIN, self._back_to(same, width)]
        parts += [f"{self._render(_stripped(row))}{_TO_ROW_END}\n" for row in finished]
        parts.append(_NO_FOLDING)
        parts.append(f"{_TO_ROW_END}\n".join(self._render(row) for row in live[same:]))
        parts += [_TO_SCREEN_END, _FOLDING, _END]
        self._drawn, self._width = live, width
        return "".join(parts)

    def _back_to(self, row: int, width: int) -> str:
        """Moves the cursor from the end of the last live row to the start of this one."""
        if not self._drawn:
            return ""
        if row == len(self._drawn):
            return "\n"
        up = len(self._drawn) - row - 1
        if width < self._width:  # the terminal has folded what has no room any more
            up = sum(len(chop_cells(each.plain, width)) or 1 for each in self._drawn) - 1
        return f"\r\x1b[{up}A" if up else "\r"

    def _render(self, row: Text) -> str:
        # Not by way of the console's own capture, which writes to its file, though nothing.
        segments = row.render(self._console)
        if self._console.no_color:
            segments = Segment.remove_color(segments)
        system = ColorSystem.STANDARD if self._console.color_system else None
        return "".join(
            style.render(text, color_system=system) if style else text
            for text, style, _ in segments
        )


def _stripped(row: Text) -> Text:
    row = row.copy()
    row.rstrip()
    return row
