'''Destinations of events: one file, one destination.

A sink is an async context manager with one coroutine, ``write(event)``
(`streaming.protocols.Sink`, which is also a base that does nothing on entering and leaving).
A whole one:

.. code-block:: python

    from streaming.events import Committed, Event
    from streaming.protocols import Sink

    class CountingSink(Sink):
        """Counts committed words."""

        words = 0

        async def __aexit__(self, *exc_info: object) -> None:
            print(f"{self.words} words")

        async def write(self, event: Event) -> None:
            if isinstance(event, Committed):
                self.words += len(event.words)

Ignore event types you do not know: the schema grows. ``write`` may wait, and the pipeline
then waits too; it must not block the event loop. Raise `streaming.errors.SinkError`, one
line that says what failed, where the destination fails. Leaving must work after a failure
and under cancellation, and must then not take longer than about a second.

The built-in ones: `sinks.terminal`, `sinks.notices`, `sinks.text`, `sinks.jsonl`,
`sinks.subtitles`, `sinks.captions`, `sinks.publisher`, `sinks.mqtt`, `sinks.exec`,
`sinks.callback`, `sinks.commands`, `sinks.discard`.
'''

from __future__ import annotations

__all__: list[str] = []
