"""Standard error beside a transcript: notices, and on a terminal progress under them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.text import Text

from streaming.errors import SinkError
from streaming.events import AudioDropped, Event, Notice
from streaming.protocols import Status

from ._output import Output
from ._painter import Painter, draws_in_place
from ._text import one_line, wrap
from ._watch import Watch, status_row

__all__ = ["NoticesSink", "notice_text"]

_STYLES = {"info": "dim", "warning": "yellow", "error": "red"}


def notice_text(event: Event) -> Text | None:
    """The event as a line for people, where it is for them."""
    if isinstance(event, Notice):
        return Text.assemble((f"{event.level}: {one_line(event.message)}", _STYLES[event.level]))
    if isinstance(event, AudioDropped):
        reason = f": {one_line(event.reason)}" if event.reason else ""
        span = f"audio dropped from {event.start_s:.1f} to {event.end_s:.1f} s"
        return Text.assemble((f"warning: {span}{reason}", _STYLES["warning"]))
    return None


class NoticesSink:
    """Tells notices and dropped audio, a line each; falls silent where nobody reads them.

    On a terminal a bar stands under them while sessions run whose pace is not that of their
    audio: the share that is done, and how long the rest will take. It is gone in the end.

    Args:
        stream: standard error by default.
    """

    tells_only = True

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream = stream or sys.stderr
        self._console = Console(file=stream, force_terminal=stream is not None and stream.isatty())
        self._watch = Watch()
        self._rows = _Rows(self._watch)
        self._output: Painter | Output | None = None

    def follow(self, status: Callable[[], Status], *, label: str = "") -> None:
        """Show how far a session is.

        Args:
            status: tells it, without waiting; called a few times a second on the event loop.
            label: whose it is, where several sessions are followed.
        """
        self._watch.follow(status, label)

    async def __aenter__(self) -> Self:
        if self._stream is None:  # a program without a console has none
            return self
        self._rows = _Rows(self._watch)
        if draws_in_place(self._console):
            output: Painter | Output = Painter(self._stream, self._console, self._rows)
        else:
            output = Output(self._stream)
        try:
            await output.open()
        except SinkError:  # the transcript is still wanted
            return self
        self._output = output
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        output, self._output = self._output, None
        if output is not None:
            await output.close(quiet=True)

    async def write(self, event: Event) -> None:
        """Tell what of the event is for people."""
        self._watch.push(event, asyncio.get_running_loop().time())
        await self.tell(notice_text(event))

    async def tell(self, line: Text | None) -> None:
        """Tell a line of its own; None only brings the progress up to date."""
        try:
            if isinstance(self._output, Painter):
                if line is not None:
                    self._rows.tell(line)
                await self._output.draw()
            elif self._output is not None and line is not None:
                await self._output.write(f"{line.plain}\n")
        except (SinkError, BrokenPipeError):  # the transcript is still wanted
            await self.__aexit__(None, None, None)


class _Rows:
    """Notices that stay, and under them the progress of what runs faster than its audio."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._told: list[Text] = []
        self._closed = False

    @property
    def size(self) -> int:
        """Characters that wait to be shown."""
        return sum(len(line.plain) for line in self._told)

    def tell(self, line: Text) -> None:
        """Put a line above what may still change."""
        self._told.append(line)

    def close(self) -> None:
        """Nobody is watched any more."""
        self._closed = True

    def compose(self, width: int, _height: int) -> tuple[list[Text], list[Text]]:
        """Rows that are finished, which are forgotten, and the progress."""
        told, self._told = self._told, []
        now_s = asyncio.get_running_loop().time()
        looks = [] if self._closed else self._watch.looks(now_s)
        progress = status_row([look for look in looks if look.fast], width)
        return [row for line in told for row in wrap(line, width)], progress
