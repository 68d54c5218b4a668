"""Plain text: committed words only, one utterance a line."""

from __future__ import annotations

from streaming.events import Event

from ._output import OutputSink, Target
from ._refined import RefinedLog
from ._text import TextLog

__all__ = ["TextSink"]


class TextSink(OutputSink):
    """Writes words when they are committed and a line end when their utterance is final.

    Where a final model refines the session, an utterance is written when it is refined.

    Args:
        target: a path (overwritten in place), ``"-"`` for standard output, or a stream.
        raw: committed words in any case.
    """

    def __init__(self, target: Target, *, raw: bool = False) -> None:
        super().__init__(target)
        self._refined = RefinedLog(raw=raw)
        self._log = TextLog()

    def format(self, event: Event) -> str:
        """The words that the event commits, or the line end."""
        return "".join(map(self._log.push, self._refined.push(event)))

    def tail(self) -> str:
        """What was held back, and the line end where the run stopped inside an utterance."""
        return "".join(map(self._log.push, self._refined.close())) + self._log.close()
