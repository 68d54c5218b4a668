"""A terminal of some size: what is on its screen and in its scrollback."""

from __future__ import annotations

import pyte
from rich.cells import cell_len, chop_cells

__all__ = ["TerminalScreen"]


class _Screen(pyte.Screen):
    """With scrollback, and with dim text, which stands as blinking: pyte knows no dim."""

    def __init__(self, width: int, height: int) -> None:
        self.gone: list[list[pyte.screens.Char]] = []
        self.forgiving = False
        super().__init__(width, height)

    def row(self, number: int) -> list[pyte.screens.Char]:
        return [self.buffer[number][column] for column in range(self.columns)]

    def index(self) -> None:
        if self.cursor.y == self.lines - 1:
            self.gone.append(self.row(0))
        super().index()

    def cursor_up(self, count: int | None = None) -> None:
        assert self.forgiving or self.cursor.y >= (count or 1), "cannot go back above the screen"
        super().cursor_up(count)

    def select_graphic_rendition(self, *attrs: int, private: bool = False) -> None:
        known = {2: 5, 22: 25}
        super().select_graphic_rendition(*(known.get(number, number) for number in attrs))


class TerminalScreen:
    """Takes what a program writes to a terminal."""

    def __init__(self, width: int, height: int) -> None:
        self._screen = _Screen(width, height)
        self._stream = pyte.Stream(self._screen)

    def feed(self, text: str) -> None:
        self._stream.feed(text.replace("\r\n", "\n").replace("\n", "\r\n"))

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """Scrollback and screen down to the cursor's row."""
        screen = self._screen
        return screen.gone + [screen.row(number) for number in range(screen.cursor.y + 1)]

    @property
    def rows(self) -> list[str]:
        """The same as text, without the spaces at the right."""
        return ["".join(cell.data for cell in row).rstrip() for row in self.cells]

    @property
    def visible(self) -> list[str]:
        """What is on the screen."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def dim(self) -> str:
        """All that is dim, spaces left out."""
        return "".join(c.data for row in self.cells for c in row if c.blink).replace(" ", "")

    @property
    def works(self) -> bool:
        """The cursor is visible, and long lines fold."""
        return {pyte.modes.DECTCEM, pyte.modes.DECAWM} <= self._screen.mode

    @property
    def left_as_found(self) -> bool:
        """It works, and the cursor is at the start of an empty row."""
        return self.works and self._screen.cursor.x == 0 and not self.rows[-1]

    def resize(self, width: int, height: int) -> None:
        """Rows that are too long are folded, as most terminals do.

        What then has left the screen at the top is out of a program's reach.
        """
        rows, column = self.rows, self._screen.cursor.x
        assert column == cell_len(rows[-1]), "the cursor rests at the end of the last row"
        self.__init__(width, height)  # type: ignore[misc]
        self.feed("\n".join(piece for row in rows for piece in chop_cells(row, width) or [""]))
        self._screen.forgiving = True
