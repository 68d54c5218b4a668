"""When a chunk that could be had at once is handed out."""

from __future__ import annotations

import asyncio
import math
from typing import Literal, get_args

from streaming.audio import AudioChunk, seconds
from streaming.errors import ConfigurationError

__all__ = ["Pace", "Pacer"]

Pace = Literal["realtime", "fast", "simulated"]
"""realtime: a chunk comes when its end is due, as from a microphone. fast, simulated: at once;
in simulated pace the pipeline keeps the clock."""


class Pacer:
    """Waits for the moment a chunk is due on the event loop's monotonic clock.

    Args:
        pace: realtime waits.
        catch_up: how many times as fast as real time overdue chunks are handed out at most.

    Raises:
        ConfigurationError: the pace is none of the three.
    """

    def __init__(self, pace: Pace, *, catch_up: float = math.inf) -> None:
        if pace not in get_args(Pace):
            raise ConfigurationError(
                f"unknown pace {pace!r}; choose one of {', '.join(get_args(Pace))}"
            )
        self._realtime = pace == "realtime"
        self._catch_up = catch_up
        self._zero: float | None = None
        self._last = 0.0

    async def wait_for(self, chunk: AudioChunk) -> None:
        """Return when ``chunk`` is due. Time starts with the first call.

        A consumer that was slow gets the chunks it missed at once, or as quickly as it may
        catch up. Every call lets other tasks run, so that no consumer starves the loop.
        """
        clock = asyncio.get_running_loop().time
        now = clock()
        if self._zero is None:
            self._zero = self._last = now
        due = self._zero + seconds(chunk.end_sample)
        due = max(due, self._last + chunk.duration_s / self._catch_up)
        await asyncio.sleep(max(0.0, due - now) if self._realtime else 0.0)
        self._last = clock()
