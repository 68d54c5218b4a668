"""What a run has to say beside its output: notices, and on a terminal how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from streaming.events import Event
from streaming.protocols import Status

from ._notices import NoticeStream
from ._view import notice_text

__all__ = ["NoticesSink"]


class NoticesSink:
    """Tells notices and dropped audio, a line each.

    On a terminal a bar stands under them while sessions run whose pace is not that of their
    audio: the share that is done, and how long the rest will take. It is gone in the end.

    Args:
        stream: standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = NoticeStream(stream or sys.stderr)

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
        """Tell what of the event is for people."""
        await self._stream.push(event, notice_text(event))
