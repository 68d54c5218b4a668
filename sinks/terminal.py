"""The terminal: committed text plain, tentative text dim, in place, and how it is going.

Committed text leaves for good in full rows, into the terminal's own scrollback. Only the
last, unfinished row, the tentative text after it and a status line are drawn again, so an
utterance may be longer than the screen and a resize disturbs a few rows at most.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO, cast

from rich.console import Console
from rich.text import Text

from streaming.events import Event, SessionStarted
from streaming.protocols import Status

from ._notices import NoticesSink, notice_text
from ._output import Output
from ._painter import Painter, draws_in_place
from ._refined import RefinedLog
from ._text import TextLog
from ._view import View

__all__ = ["TerminalSink"]


class TerminalSink:
    """Shows the transcript on a terminal, notices in it, and a status line below.

    What somebody has read as committed stays: refined text is not shown on a terminal. Two
    labelled sessions stand side by side where the terminal is 60 cells wide; elsewhere, and
    where there are more, labels stand before the lines. A terminal that is stopped (Ctrl-S)
    does not hold up the session; it shows the newest once it goes on.

    Where the stream is no terminal, committed text is written plainly, one utterance a
    line, each word when it is committed; or refined text, as `sinks.text.TextSink` does. Notices
    go to ``notices`` then, and if that is a terminal, so does the progress of a run that is
    followed and does not wait for its audio.

    Args:
        stream: where the transcript goes; standard output by default.
        notices: where notices and dropped audio are told; standard error by default. If it is
            a terminal as the stream is, they stand in the transcript instead.
        console: the terminal, instead of the one that ``stream`` is.
        raw: committed words, not refined ones, also where the stream is no terminal.
        columns: labels of the sessions on the left and on the right; by default those of the
            first two.
    """

    tells_only = False

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        notices: TextIO | None = None,
        console: Console | None = None,
        raw: bool = False,
        columns: tuple[str, str] | None = None,
    ) -> None:
        stream = stream or (cast(TextIO, console.file) if console else sys.stdout)
        # Asked of the stream itself: rich would take FORCE_COLOR for a terminal, and a pipe
        # must not receive cursor movements.
        console = console or Console(
            file=stream, force_terminal=stream is not None and stream.isatty()
        )
        notices = notices or sys.stderr
        target = stream if stream is not None else "-"
        in_place = draws_in_place(console)
        self._view = View(lambda: asyncio.get_running_loop().time(), pair=columns)
        self._painter = Painter(target, console, self._view) if in_place else None
        self._output = Output(target)
        self._log = TextLog()
        self._refined = RefinedLog(raw=raw or console.is_terminal)
        within = in_place and notices is not None and notices.isatty()
        self._notices = None if within else NoticesSink(notices)
        """None where they are rows of the view."""
        self._model = ""

    @property
    def name(self) -> str:
        """For messages: "standard output", say."""
        return self._output.name

    def follow(self, status: Callable[[], Status], *, label: str = "") -> None:
        """Show how a session is doing: its level, delay, progress.

        Args:
            status: tells it, without waiting; called a few times a second on the event loop.
            label: whose it is, where several sessions are followed.
        """
        self._view.watch.follow(status, label)
        if self._notices is not None:
            self._notices.follow(status, label=label)

    async def __aenter__(self) -> Self:
        await (self._painter or self._output).open()
        if self._notices is not None:
            await self._notices.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._painter is not None:
                await self._painter.close(quiet=exc is not None)
            else:
                last = "".join(map(self._log.push, self._refined.close())) + self._log.close()
                await self._output.close(last, quiet=exc is not None)
        finally:
            if self._notices is not None:
                await self._notices.__aexit__(exc_type, exc, traceback)

    async def write(self, event: Event) -> None:
        """Show what the event changes.

        Raises:
            SinkError: the terminal or file failed.
            BrokenPipeError: nobody reads standard output any more.
        """
        opening = self._opening(event)
        if self._notices is not None:
            await self._notices.write(event)
            await self._notices.tell(opening)
        elif (line := notice_text(event) or opening) is not None:
            self._view.tell(line)
        if self._painter is not None:
            self._view.push(event)
            await self._painter.draw()
        elif added := "".join(map(self._log.push, self._refined.push(event))):
            await self._output.write(added)

    def _opening(self, event: Event) -> Text | None:
        """The model, named once on a terminal."""
        if self._painter is None or not isinstance(event, SessionStarted) or not event.model:
            return None
        before, self._model = self._model, f"{event.model} on {event.backend}"
        return Text.assemble((self._model, "dim")) if self._model != before else None
