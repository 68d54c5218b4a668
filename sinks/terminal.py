"""The terminal: committed text plain, tentative text dim, in place.

Committed text leaves for good in full rows, into the terminal's own scrollback. Only the
last, unfinished row and the tentative text after it are drawn again, so an utterance may
be longer than the screen and a resize disturbs a few rows at most.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, TextIO, cast

from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

from streaming.errors import SinkError
from streaming.events import AudioDropped, Committed, Event, Final, Notice, Partial, SessionStarted

from ._output import Output
from ._refined import RefinedLog
from ._text import TextLog, one_line, wrap

__all__ = ["TerminalSink"]


class TerminalSink:
    """Shows the transcript on a terminal, and notices beside it.

    What somebody has read as committed stays: refined text is not shown on a terminal.

    Where the stream is no terminal, committed text is written plainly, one utterance a
    line, each word when it is committed; or refined text, as `sinks.text.TextSink` does.

    Args:
        stream: where the transcript goes; standard output by default.
        notices: where notices and dropped audio are told; standard error by default.
        console: the terminal, instead of the one that ``stream`` is.
        raw: committed words, not refined ones, also where the stream is no terminal.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        notices: TextIO | None = None,
        console: Console | None = None,
        raw: bool = False,
    ) -> None:
        stream = stream or (cast(TextIO, console.file) if console else sys.stdout)
        # Asked of the stream itself: rich would take FORCE_COLOR for a terminal, and a pipe
        # must not receive cursor movements.
        self._console = console or Console(
            file=stream, force_terminal=stream is not None and stream.isatty()
        )
        self._in_place = (
            self._console.is_terminal
            and not self._console.is_dumb_terminal
            and not self._console.legacy_windows
        )
        self._output = Output(stream if stream is not None else "-")
        notices = notices or sys.stderr
        self._notices = None if notices is None else Output(notices)
        self._refined = RefinedLog(raw=raw or self._console.is_terminal)
        self._log = TextLog()
        self._unfinished = ""
        """Committed text that has not left for good."""
        self._tentative = ""
        self._drawn: list[Text] = []

    async def __aenter__(self) -> Self:
        await self._output.open()
        if self._notices is not None:
            await self._notices.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tentative = ""
        ending = "".join(map(self._log.push, self._refined.close())) + self._log.close()
        self._unfinished += ending
        try:
            last = self._redraw() if self._in_place else ending
            await self._output.close(last, quiet=exc is not None)
        finally:
            if self._notices is not None:
                await self._notices.close(quiet=True)

    async def write(self, event: Event) -> None:
        """Show what the event changes.

        Raises:
            SinkError: the terminal or file failed.
            BrokenPipeError: nobody reads standard output any more.
        """
        if isinstance(event, Notice | AudioDropped):
            await self._tell(_notice(event))
            return
        if isinstance(event, SessionStarted) and event.model and self._in_place:
            await self._tell(f"{event.model} on {event.backend}")
        added = "".join(map(self._log.push, self._refined.push(event)))
        if not self._in_place:
            if added:
                await self._output.write(added)
            return
        self._unfinished += added
        if isinstance(event, Partial):
            self._tentative = self._log.preview(event)
        elif isinstance(event, Committed | Final):
            self._tentative = ""  # the next partial brings what is left of it
        if text := self._redraw():
            await self._output.write(text)

    async def _tell(self, line: str) -> None:
        """A line on the notices' stream, which may well be the same terminal."""
        if self._notices is None:
            return
        if erase := self._erase():
            await self._output.write(erase)
        try:
            await self._notices.write(line + "\n")
        except SinkError:  # nobody listens; the transcript is still wanted
            await self._notices.close(quiet=True)
            self._notices = None
        if text := self._redraw():
            await self._output.write(text)

    def _redraw(self) -> str:
        """Text that brings the screen up to date; "" if it is."""
        width = max(self._console.width - 1, 2)  # the last column stays free of wrapping quirks
        *ended, rest = self._unfinished.split("\n")
        finished = [row for line in ended for row in wrap(line, width)]
        *full, last = wrap(rest, width)
        finished += full
        self._unfinished = last.plain
        live = self._live(width)
        if not finished and live == self._drawn:
            return ""
        text = self._erase()
        text += "".join(f"{row.plain.rstrip()}\n" for row in finished)
        self._drawn = live
        return text + "\n".join(self._render(row) for row in live)

    def _live(self, width: int) -> list[Text]:
        """The rows that may still change; never more than the cursor can go back over."""
        if not self._unfinished and not self._tentative:
            return []
        rows = wrap(Text.assemble(self._unfinished, (self._tentative, "dim")), width)
        limit = max(self._console.height - 1, 1)
        if len(rows) > limit:
            rows = rows[:limit]
            rows[-1].rstrip()
            rows[-1].append("…", "dim")
        return rows

    def _erase(self) -> str:
        """Text that removes the live rows and leaves the cursor where they began."""
        if not self._drawn:
            return ""
        # The terminal may have become narrower since, and have folded them.
        width = self._console.width
        rows = sum(max(1, -(-cell_len(row.plain) // width)) for row in self._drawn)
        self._drawn = []
        erase: tuple[ControlType | tuple[ControlType, int], ...]
        erase = (ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
        up = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        return str(Control(*erase, *(up * (rows - 1))))

    def _render(self, row: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(row, end="", soft_wrap=True)
        return capture.get()


def _notice(event: Notice | AudioDropped) -> str:
    if isinstance(event, Notice):
        return f"{event.level}: {one_line(event.message)}"
    reason = f": {one_line(event.reason)}" if event.reason else ""
    return f"warning: audio dropped from {event.start_s:.1f} to {event.end_s:.1f} s{reason}"
