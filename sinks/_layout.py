"""Where lines stand on the screen: one after the other, or two sessions side by side.

Sessions do not run at the same speed, and a row of the scrollback is written once. So rows
have an order in time. One after the other, lines stand in the order in which they began. Side
by side, a line begins no higher than where the other side stood then: below a line that had
ended, beside one that was going on. Read from top to bottom, what was said first comes first,
to within an utterance, and people who talk at once stand side by side.

A row leaves once nobody can write on it any more, or above it: when it is full or its utterance
over. What waits for that is on the screen as well. Where the screen has no room for it, an
unfinished row leaves as it is, and its line goes on below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from ._lines import Line
from ._text import wrap

__all__ = ["beside", "columns", "rule", "stacked", "widths"]

_DIVIDER, _CROSSING = " │ ", "─┼─"

_Rows = list[Text]


def stacked(lines: Sequence[Line], width: int, height: int) -> tuple[_Rows, _Rows]:
    """Lines one after the other, with labels before them.

    Args:
        lines: in the order in which they began; what they let go of leaves them.
        width: cells of a row.
        height: live rows there may be.

    Returns:
        Finished rows and live rows.
    """
    finished = _settled(_stack(lines, width), 1, height)
    live = _live(_stack(lines, width), 1, height)
    return finished[0], live[0]


def columns(lines: Sequence[Line], left: str, width: int, height: int) -> tuple[_Rows, _Rows]:
    """The lines of the label ``left``, and beside them all others.

    Args:
        lines: in the order in which they began; what they let go of leaves them.
        left: the label.
        width: cells of a row.
        height: live rows there may be.

    Returns:
        Finished rows and live rows.
    """
    finished = _settled(_place(lines, left, widths(width)), 2, height)
    live = _live(_place(lines, left, widths(width)), 2, height)
    return (
        [beside(a, b, width) for a, b in zip(*finished, strict=True)],
        [beside(a, b, width) for a, b in zip(*live, strict=True)],
    )


def widths(width: int) -> tuple[int, int]:
    """Cells of the two sides in a row of this width."""
    left = (width - cell_len(_DIVIDER)) // 2
    return left, width - cell_len(_DIVIDER) - left


def beside(left: Text, right: Text, width: int) -> Text:
    """One row of both sides, the left one padded to its width."""
    gap = widths(width)[0] - cell_len(left.plain)
    return Text.assemble(left, " " * gap, (_DIVIDER, "dim"), right)


def rule(width: int) -> Text:
    """A row that parts what is above from what is below, on both sides."""
    left, right = ("─" * cells for cells in widths(width))
    return Text.assemble((f"{left}{_CROSSING}{right}", "dim"))


@dataclass(frozen=True, slots=True)
class _Row:
    text: str
    end: int
    """Where in the text the next row begins."""


@dataclass(slots=True)
class _Placed:
    """A line's committed text among the rows that have not left."""

    line: Line
    side: int
    width: int
    prefix: str
    top: int
    rows: list[_Row]

    @property
    def bottom(self) -> int:
        """The row below it."""
        return self.top + len(self.rows)

    def row_at(self, place: int) -> int:
        """The row in which its first ``place`` characters, gone ones included, end."""
        place -= self.line.gone
        ends = (self.top + number for number, row in enumerate(self.rows) if row.end >= place)
        return next(ends, self.bottom)

    def leave(self, n_rows: int) -> list[_Row]:
        """That many rows, which are no longer the line's."""
        rows = self.rows[:n_rows]
        if rows:
            self.line.leave(rows[-1].end - len(self.prefix))
            # A line that goes on below others has to say again whose it is.
            said = self.line.named or bool(self.prefix)
            self.line.named = said and bool(self.line.text)
        return rows

    def shown(self, most: int) -> _Rows:
        """All there is of it, tentative text too; an ellipsis if that takes too many rows."""
        certain = (self.prefix + self.line.text, "" if self.line.text else "dim")
        tentative = self.line.tentative if self.line.text else self.line.tentative.lstrip()
        rows = wrap(Text.assemble(certain, (tentative, "dim")), self.width)
        if len(rows) > most:
            del rows[max(most, len(self.rows)) :]
            if rows:
                rows[-1].rstrip()
                if cell_len(rows[-1].plain) < self.width:
                    rows[-1].append("…", "dim")
        return rows


def _stack(lines: Sequence[Line], width: int) -> list[_Placed]:
    placed: list[_Placed] = []
    top = 0
    for line in _shown_lines(lines):
        prefix = f"{line.label}: " if line.label and not line.named else ""
        rows = _rows_of(line.text and prefix + line.text, width)
        placed.append(_Placed(line, 0, width, prefix, top, rows))
        top = placed[-1].bottom
    return placed


def _place(lines: Sequence[Line], left: str, halves: tuple[int, int]) -> list[_Placed]:
    placed: dict[int, _Placed] = {}
    free = [0, 0]
    for line in _shown_lines(lines):
        side = int(line.label != left)
        top = free[side]
        if line.beside is not None and (other := placed.get(id(line.beside))):
            at = line.beside_at
            top = max(top, other.bottom if at is None else other.row_at(at))
        rows = _rows_of(line.text, halves[side])
        each = placed[id(line)] = _Placed(line, side, halves[side], "", top, rows)
        free[side] = each.bottom
    return list(placed.values())


def _shown_lines(lines: Sequence[Line]) -> list[Line]:
    """Those of which nothing is certain come last, and take no row from the others."""
    shown = [line for line in lines if line.text or line.tentative]
    return sorted(shown, key=lambda line: not line.text)


def _settled(placed: Sequence[_Placed], n_sides: int, height: int) -> list[_Rows]:
    """The rows that leave now, of each side."""
    total = max((each.bottom for each in placed), default=0)
    unfinished = [each.bottom - 1 for each in placed if each.line.open and each.rows]
    n_rows = min(unfinished, default=total)
    n_rows = max(n_rows, total - height)
    sides = [[Text()] * n_rows for _ in range(n_sides)]
    for each in placed:
        for number, row in enumerate(each.leave(max(n_rows - each.top, 0)), each.top):
            sides[each.side][number] = Text(row.text)
    return sides


def _live(placed: Sequence[_Placed], n_sides: int, height: int) -> list[_Rows]:
    """The rows that stay, of each side. Tentative text makes room for what is committed."""
    sides: list[_Rows] = [[] for _ in range(n_sides)]
    ends = [0] * n_sides
    for each in placed:
        ends[each.side] = each.bottom
    for each in placed:
        rows = sides[each.side]
        rows += [Text()] * (each.top - len(rows))
        below = ends[each.side] - each.bottom
        rows += each.shown(height - len(rows) - below)
    n_rows = max(map(len, sides))
    return [rows + [Text()] * (n_rows - len(rows)) for rows in sides]


def _rows_of(text: str, width: int) -> list[_Row]:
    if not text:
        return []
    plain = [row.plain for row in wrap(text, width)]
    starts, place = [], 0
    for row in plain:
        # Spaces that a row had no room for have fallen away between the rows.
        starts.append(text.index(row, place))
        place = starts[-1] + len(row)
    return [_Row(row, end) for row, end in zip(plain, [*starts[1:], len(text)], strict=True)]
