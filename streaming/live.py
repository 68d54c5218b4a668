"""Drives a session on the event loop's clock.

Audio goes into the session as it arrives; passes run beside it on the backend's thread. A
bounded channel stands between the source and the session: when the session has no room,
the channel fills, and then a live source loses its oldest audio (reported as a gap) and any
other source waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from .audio import AudioChunk, Flush, samples_from_seconds, seconds
from .backends.pool import BackendPool, Decoded
from .channel import Channel, ChannelClosed
from .events import Event
from .input import Input
from .session import Session, pieces
from .transcriber import Pass

__all__ = ["drive_live"]

_CHANNEL_SAMPLES = samples_from_seconds(10.0)


async def drive_live(
    session: Session,
    items: Input,
    worker: BackendPool,
    *,
    live: bool,
) -> AsyncGenerator[Event, None]:
    """Yield the session's events as they happen.

    Args:
        session: a fresh session.
        items: the audio.
        worker: decodes, the most urgent pass of all sessions first; only one of this session is
            ever out.
        live: True drops the oldest audio when work does not keep up; False waits.
    """
    driver = _LiveDriver(session, worker, live)
    reader = asyncio.ensure_future(driver.read(items))
    try:
        async with aclosing(driver.events()) as events:
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
    def __init__(self, session: Session, worker: BackendPool, live: bool) -> None:
        self._session = session
        self._worker = worker
        self._channel = Channel(_CHANNEL_SAMPLES, overflow="drop_oldest" if live else "wait")
        self._clock = asyncio.get_running_loop().time
        self._zero_s: float | None = None
        self._arriving: asyncio.Task[AudioChunk | Flush] | None = None
        self._decoding: tuple[Pass, asyncio.Future[Decoded]] | None = None

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
        """Stream time."""
        return 0.0 if self._zero_s is None else self._clock() - self._zero_s

    async def events(self) -> AsyncGenerator[Event, None]:
        session = self._session
        waiting: deque[AudioChunk | Flush] = deque()
        ended = finished = False
        for event in session.start(self.now_s):
            yield event
        while not (finished and session.idle):
            while waiting and session.has_room:
                for event in self._feed(waiting.popleft()):
                    yield event
            if ended and not waiting and not finished:
                finished = True
                for event in session.finish(self.now_s):
                    yield event
            self._start_pass()
            if not ended and not waiting and self._arriving is None:
                self._arriving = asyncio.ensure_future(self._channel.get())
            await self._something()
            for event in self._finish_pass():
                yield event
            if self._arriving is not None and self._arriving.done():
                arrived, self._arriving = self._arriving, None
                try:
                    item = arrived.result()
                except ChannelClosed:
                    ended = True
                else:
                    waiting.extend([item] if isinstance(item, Flush) else pieces(item))

    def cancel(self) -> None:
        """Stop waiting; a running pass ends by itself and is discarded."""
        if self._arriving is not None:
            self._arriving.cancel()
        if self._decoding is not None:
            self._decoding[1].cancel()

    def _feed(self, item: AudioChunk | Flush) -> list[Event]:
        if isinstance(item, Flush):
            return self._session.flush(self.now_s)
        return self._session.feed(item, self.now_s)

    def _start_pass(self) -> None:
        if self._decoding is None and (due := self._session.next_pass()) is not None:
            deadline_s = time.monotonic() + due.patience_s
            future = self._worker.submit(self._session.window(due), deadline_s=deadline_s)
            self._decoding = (due, asyncio.wrap_future(future))

    def _finish_pass(self) -> list[Event]:
        if self._decoding is None or not self._decoding[1].done():
            return []
        (due, future), self._decoding = self._decoding, None
        decoded = future.result()
        return self._session.complete(
            due, decoded.hypothesis, decoded.compute_s, self.now_s, queue_s=decoded.queue_s
        )

    async def _something(self) -> None:
        futures: list[asyncio.Future[Any]] = []
        if self._arriving is not None:
            futures.append(self._arriving)
        if self._decoding is not None:
            futures.append(self._decoding[1])
        if futures:
            await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
