"""Who is watched, and the row that tells how they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from streaming.events import AudioDropped, Event, Notice, SessionEnded, SessionStarted
from streaming.protocols import Status

from ._status_line import Watched, status_line
from ._text import Labels, one_line

__all__ = ["Watch", "status_row"]

_PEAK_S = 1.5
"""How long a peak stands."""
_DROPPED_S = 3.0
"""How long dropped audio is told."""


@dataclass(slots=True)
class _Watch:
    """One session, and what of its past matters."""

    ask: Callable[[], Status]
    label: str
    fast: bool = False
    began_s: float = math.nan
    ended: bool = False
    peak_db: float = -math.inf
    peak_until_s: float = -math.inf
    dropped_until_s: float = -math.inf
    reconnecting: bool = False

    def push(self, event: Event, now_s: float) -> None:
        if isinstance(event, SessionStarted):
            self.fast = event.options.get("pace", "realtime") != "realtime"
            self.began_s, self.ended = now_s, False
        elif isinstance(event, SessionEnded):
            self.ended = True
        elif isinstance(event, AudioDropped):
            self.dropped_until_s = now_s + _DROPPED_S
        elif isinstance(event, Notice) and event.code in ("reconnecting", "reconnected"):
            self.reconnecting = event.code == "reconnecting"

    def look(self, now_s: float) -> Watched:
        status = self.ask()
        if status.level_db >= self.peak_db or now_s > self.peak_until_s:
            self.peak_db, self.peak_until_s = status.level_db, now_s + _PEAK_S
        dropping = "dropping audio" if now_s < self.dropped_until_s else ""
        return Watched(
            status=status,
            label=self.label,
            peak_db=self.peak_db,
            trouble="reconnecting" if self.reconnecting else dropping,
            fast=self.fast,
            elapsed_s=0.0 if math.isnan(self.began_s) else now_s - self.began_s,
        )


class Watch:
    """Asks how the sessions are, a few times a second at most.

    Args:
        every_s: no status is asked for more often.
    """

    def __init__(self, every_s: float = 0.1) -> None:
        self._every_s = every_s
        self._watched: list[_Watch] = []
        self._labels = Labels()
        self._looks: list[Watched] = []
        self._asked_s = -math.inf

    def follow(self, ask: Callable[[], Status], label: str) -> None:
        """Watch one more session, the one with this label."""
        self._watched.append(_Watch(ask, one_line(label)))

    def push(self, event: Event, now_s: float) -> None:
        """Learn what the status does not tell."""
        label = self._labels.push(event)
        for each in self._watched:
            if each.label == label or len(self._watched) == 1:
                each.push(event, now_s)

    def looks(self, now_s: float) -> list[Watched]:
        """The sessions that run, in the order in which they are followed."""
        if now_s - self._asked_s >= self._every_s:
            self._asked_s = now_s
            self._looks = [each.look(now_s) for each in self._watched if not each.ended]
        return self._looks


def status_row(looks: list[Watched], width: int) -> list[Text]:
    """A row that tells of all of them, each on its share; no row if there is nobody."""
    if not looks:
        return []
    share = (width + 3) // len(looks) - 3
    row = Text()
    for number, look in enumerate(looks):
        row.append(" " * (number * (share + 3) - cell_len(row.plain)))
        row.append_text(status_line(look, share))
    return [row]
