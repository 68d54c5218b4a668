"""What the terminal shows: the transcript, which stays, and how the sessions are."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from streaming.events import Event, SessionStarted

from ._layout import beside, columns, rule, stacked, widths
from ._lines import Lines
from ._status_line import status_line
from ._text import one_line, wrap
from ._watch import Watch, status_row

__all__ = ["View"]

_COLUMNS_FROM = 60
"""Cells of a row in which two columns can be read."""
_SPACED_FROM = 10
"""Rows of a terminal that can spare one."""


class View:
    """Takes events, and composes rows of them when asked; pure but for the clock it is given.

    Args:
        clock: seconds, rising.
        pair: labels of the two sessions that stand side by side, left and right; by default
            those of the first two, if there are no others.
    """

    def __init__(self, clock: Callable[[], float], *, pair: tuple[str, str] | None = None) -> None:
        self.watch = Watch()
        self._clock = clock
        self._lines = Lines()
        self._labels = [one_line(label) for label in pair or ()]
        self._told: list[Text] = []
        self._parallel = False
        self._closed = False

    @property
    def size(self) -> int:
        """Characters that have not left the screen for good, or were never on it."""
        return self._lines.size + sum(len(line.plain) for line in self._told)

    def push(self, event: Event) -> None:
        """Take in what the event says."""
        self.watch.push(event, self._clock())
        if isinstance(event, SessionStarted):
            self._closed = False
            label = one_line(event.label)
            if label not in self._labels and len(self._labels) <= 2:  # more than two is enough
                self._labels.append(label)
        self._lines.push(event)

    def tell(self, line: Text) -> None:
        """Put a line of its own above what may still change."""
        self._told.append(line)

    def close(self) -> None:
        """What is tentative will not be said, and nobody is watched any more."""
        self._lines.close()
        self._closed = True

    def compose(self, width: int, height: int) -> tuple[list[Text], list[Text]]:
        """Rows that are finished, which are forgotten, and live ones.

        Args:
            width: cells of a row.
            height: live rows there may be.
        """
        told, self._told = self._told, []
        finished = [row for line in told for row in wrap(line, width)]
        parallel = self._paired and width >= _COLUMNS_FROM
        if parallel and not self._parallel:
            finished += self._header(width)
        self._parallel = parallel
        status = [] if self._closed or height < 2 else self._status(width)
        if status and height >= _SPACED_FROM:
            status = [rule(width) if parallel else Text(), *status]
        room = height - len(status)
        if parallel:
            rows, live = columns(self._lines.lines, self._labels[0], width, room)
        else:
            rows, live = stacked(self._lines.lines, width, room)
        self._lines.tidy()
        return finished + rows, live + status

    @property
    def _paired(self) -> bool:
        return len(self._labels) == 2 and all(self._labels)

    def _header(self, width: int) -> list[Text]:
        labels = [Text.assemble((label, "bold")) for label in self._labels]
        for label, cells in zip(labels, widths(width), strict=True):
            label.truncate(cells, overflow="ellipsis")
        return [beside(labels[0], labels[1], width), rule(width)]

    def _status(self, width: int) -> list[Text]:
        looks = self.watch.looks(self._clock())
        if not looks or not self._parallel:
            return status_row(looks, width)
        rows = [Text(), Text()]
        for look in looks:
            side = int(look.label != self._labels[0])
            rows[side] = status_line(look, widths(width)[side])
        return [beside(rows[0], rows[1], width)]
