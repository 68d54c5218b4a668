"""What a session said lately, for whoever has to catch up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from ...events import Event, Partial, event_to_json

__all__ = ["Entry", "EventLog"]

_MOST_CHARACTERS = 2**20
"""Several minutes of speech; a session outlives its connection by one."""


class Entry(NamedTuple):
    """One event."""

    seq: int
    interim: bool
    line: str
    """Its JSON form."""


class EventLog:
    """Keeps the newest events, up to a million characters.

    Args:
        changed: called after each event.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._entries: deque[Entry] = deque()
        self._size = 0
        self.last_seq = -1

    def push(self, event: Event) -> None:
        """Keep an event, and forget the oldest where there is no room."""
        entry = Entry(event.seq, isinstance(event, Partial), event_to_json(event))
        self._entries.append(entry)
        self._size += len(entry.line)
        self.last_seq = event.seq
        while self._size > _MOST_CHARACTERS and len(self._entries) > 1:
            self._size -= len(self._entries.popleft().line)
        self._changed()

    def reaches_back_to(self, seq: int) -> bool:
        """Whether every event after ``seq`` is there."""
        return seq >= self.last_seq or (bool(self._entries) and self._entries[0].seq <= seq + 1)

    def after(self, seq: int) -> list[Entry]:
        """The events after ``seq``, oldest first, as far as they are kept."""
        newest = islice(reversed(self._entries), max(0, self.last_seq - seq))
        return list(newest)[::-1]
