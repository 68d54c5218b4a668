"""Progress of a run that does not wait for its audio, on a terminal beside the output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from streaming.events import Event
from streaming.protocols import Status

from ._notices import NoticeStream

__all__ = ["ProgressSink"]


class ProgressSink:
    """A bar, the share that is done, and how long the rest will take; nothing else.

    It stands on the last row while sessions run whose pace is not that of their audio, and is
    gone in the end. Where the stream is no terminal, nothing is written.

    Args:
        stream: standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        shown = stream is not None and stream.isatty()
        self._stream = NoticeStream(stream if shown else None)

    def follow(self, status: Callable[[], Status], *, label: str = "") -> None:
        """Show how far a session is.

        Args:
            status: tells it, without waiting; called a few times a second on the event loop.
            label: whose it is, where several sessions are followed.
        """
        self._stream.follow(status, label)

    async def __aenter__(self) -> Self:
        await self._stream.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stream.close()

    async def write(self, event: Event) -> None:
        """Learn from the event; what it says is for others to show."""
        await self._stream.push(event, None)
