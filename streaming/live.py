"""Drives a session on the event loop's clock.

Audio goes into the session as it arrives; passes run beside it on the backend's thread, and
where a larger model refines, its windows on another one that no final waits for. A
bounded channel stands between the source and the session: when the session has no room,
the channel fills, and then a live source loses its oldest audio (reported as a gap) and any
other source waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from .audio import AudioChunk, samples_from_seconds, seconds
from .channel import Channel, ChannelClosed
from .events import Event
from .input import Input
from .passes import Work
from .protocols import SourceItem
from .session import Session, pieces

__all__ = ["drive_live"]

_CHANNEL_SAMPLES = samples_from_seconds(10.0)
_LOOK_S = 0.5
"""How often a wait for the final model looks whether the program was asked to end."""
_REFINING_LIMIT_S = 10.0
"""How long an end waits for the final model: a small one hears half a minute in that time on
one core, and who has asked a program to end takes more for a hang."""


async def drive_live(
    session: Session,
    items: Input,
    works: Sequence[Work],
    *,
    live: bool,
) -> AsyncGenerator[Event, None]:
    """Yield the session's events as they happen.

    Args:
        session: a fresh session.
        items: the audio.
        works: its passes, and its refinements if there are any.
        live: True drops the oldest audio when work does not keep up; False waits.
    """
    driver = _LiveDriver(session, works, live)
    reader = asyncio.ensure_future(driver.read(items))
    try:
        async with aclosing(driver.events(items)) as events:
            async for event in events:
                yield event
        await reader
        for event in session.end(driver.now_s, items.error):
            yield event
    finally:
        driver.cancel()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


class _LiveDriver:
    def __init__(self, session: Session, works: Sequence[Work], live: bool) -> None:
        self._session = session
        self._works = works
        self._live = live
        self._channel = Channel(_CHANNEL_SAMPLES, overflow="drop_oldest" if live else "wait")
        self._clock = asyncio.get_running_loop().time
        self._zero_s: float | None = None
        self._newest_s = 0.0
        self._arriving: asyncio.Task[SourceItem] | None = None

    async def read(self, items: Input) -> None:
        """Move the source's items into the channel until it ends or fails."""
        try:
            async for item in items:
                if isinstance(item, AudioChunk):
                    # Stream time starts when the first sample was said. Audio that was buffered
                    # arrives late at first; nothing can arrive before it was said.
                    zero_s = self._clock() - seconds(item.end_sample)
                    self._zero_s = zero_s if self._zero_s is None else min(self._zero_s, zero_s)
                await self._channel.put(item)
        finally:
            self._channel.close()

    @property
    def now_s(self) -> float:
        """Stream time; it never goes back, whatever the clock does."""
        if self._zero_s is not None:
            self._newest_s = max(self._newest_s, self._clock() - self._zero_s)
        return self._newest_s

    async def events(self, items: Input) -> AsyncGenerator[Event, None]:
        session = self._session
        waiting: deque[SourceItem] = deque()
        ended = finished = False
        for event in session.start(self.now_s):
            yield event
        while not (finished and session.idle):
            while waiting and session.has_room:
                for event in session.take(waiting.popleft(), self.now_s):
                    yield event
            if ended and not waiting and not finished:
                finished = True
                for event in session.finish(self.now_s):
                    yield event
                continue  # there may be nothing left to wait for
            if not ended and not waiting and self._arriving is None:
                self._arriving = asyncio.ensure_future(self._channel.get())
            if items.stopped:
                session.hurry()
            for event in await self._something(self._clock() + _LOOK_S if waiting else math.inf):
                yield event
            if self._arriving is not None and self._arriving.done():
                arrived, self._arriving = self._arriving, None
                try:
                    item = arrived.result()
                except ChannelClosed:
                    ended = True
                else:
                    waiting.extend(pieces(item))
        # A file that has come to its end can wait; a stream, or who stops it, cannot.
        until_s = math.inf
        while not session.refined and self._clock() < until_s:
            if self._live or items.stopped:
                until_s = min(until_s, self._clock() + _REFINING_LIMIT_S)
            for event in await self._something(min(until_s, self._clock() + _LOOK_S)):
                yield event

    def cancel(self) -> None:
        """Stop waiting for audio."""
        if self._arriving is not None:
            self._arriving.cancel()

    async def _something(self, until_s: float = math.inf) -> list[Event]:
        """Begin what is due, wait until something is done, and tell what came of it."""
        for work in self._works:
            work.start()
        futures: list[asyncio.Future[Any]] = [w.running for w in self._works if w.running]
        if self._arriving is not None:
            futures.append(self._arriving)
        if futures:
            timeout_s = None if until_s == math.inf else max(0.0, until_s - self._clock())
            await asyncio.wait(futures, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return [event for work in self._works for event in work.finish(self.now_s)]
