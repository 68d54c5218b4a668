"""Standard error beside a transcript: notices, and on a terminal progress under them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.text import Text

from streaming.errors import SinkError
from streaming.events import Event
from streaming.protocols import Status

from ._output import Output
from ._painter import Painter, draws_in_place
from ._view import Notices

__all__ = ["NoticeStream"]


class NoticeStream:
    """Tells notices and progress; where nobody listens any more it falls silent.

    Args:
        stream: standard error, say; None tells nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._notices = Notices(lambda: asyncio.get_running_loop().time())
        self._output: Painter | Output | None = None
        if stream is not None:
            console = Console(file=stream, force_terminal=stream.isatty())
            in_place = draws_in_place(console)
            self._output = Painter(stream, console, self._notices) if in_place else Output(stream)

    def follow(self, status: Callable[[], Status], label: str) -> None:
        """Tell the progress of one more session."""
        self._notices.watch.follow(status, label)

    async def open(self) -> None:
        """Begin.

        Raises:
            SinkError: the stream cannot be written to.
        """
        if self._output is not None:
            await self._output.open()

    async def push(self, event: Event, notice: Text | None) -> None:
        """Take in the event; ``notice`` is what of it is for people."""
        self._notices.push(event)
        try:
            if isinstance(self._output, Painter):
                if notice is not None:
                    self._notices.tell(notice)
                await self._output.draw()
            elif self._output is not None and notice is not None:
                await self._output.write(f"{notice.plain}\n")
        except (SinkError, BrokenPipeError):  # the transcript is still wanted
            await self.close()

    async def close(self) -> None:
        """Remove the progress, and end."""
        self._notices.close()
        if self._output is not None:
            output, self._output = self._output, None
            await output.close(quiet=True)
