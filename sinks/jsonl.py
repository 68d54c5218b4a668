"""JSON Lines: every event, one line each, in the wire format."""

from __future__ import annotations

from streaming.events import Event, event_to_json

from ._output import OutputSink

__all__ = ["JsonlSink"]


class JsonlSink(OutputSink):
    """Writes events as they come, each line with one write.

    `streaming.events.event_from_json` reads them back. The target is a path (overwritten in
    place), ``"-"`` for standard output, or a stream.
    """

    def format(self, event: Event) -> str:
        """The event's line."""
        return event_to_json(event) + "\n"
