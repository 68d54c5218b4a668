"""Log lines to standard error, which may be a terminal that is stopped or a full pipe."""

from __future__ import annotations

import sys
import threading
from queue import Full, Queue

__all__ = ["LogStream"]

_WAIT_S = 0.5
_MOST_LINES = 1000


class LogStream:
    """A stream for `logging` that holds up nobody for long, above all no event loop.

    Lines are written on a thread, and waited for, so that they come in order with what others
    write; once that has taken too long, no more of them is waited for until all are out. Beyond
    a bound they are lost.
    """

    def __init__(self) -> None:
        self._lines: Queue[tuple[str, threading.Event]] = Queue(_MOST_LINES)
        self._stuck: threading.Event | None = None
        self._working: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Write a line."""
        if self._working is None:
            self._working = threading.Thread(target=self._work, name="log", daemon=True)
            self._working.start()
        done = threading.Event()
        try:
            self._lines.put_nowait((text, done))
        except Full:
            return
        if self._stuck is None or self._stuck.is_set():
            self._stuck = None if done.wait(_WAIT_S) else done

    def flush(self) -> None:
        """Nothing is kept back."""

    def _work(self) -> None:
        while True:
            text, done = self._lines.get()
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (OSError, ValueError):  # nobody reads it
                pass
            finally:
                done.set()
