"""Plain text: committed words only, one utterance a line."""

from __future__ import annotations

from streaming.events import Event

from ._output import OutputSink, Target
from ._text import TextLog

__all__ = ["TextSink"]


class TextSink(OutputSink):
    """Writes words when they are committed and a line end when their utterance is final.

    Args:
        target: a path (overwritten in place), ``"-"`` for standard output, or a stream.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._log = TextLog()

    def format(self, event: Event) -> str:
        """The words that the event commits, or the line end."""
        return self._log.push(event)

    def tail(self) -> str:
        """The line end, where the run stopped inside an utterance."""
        return self._log.close()
