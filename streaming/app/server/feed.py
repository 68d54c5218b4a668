"""What a client sends, as the source of its session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from ...audio import AudioChunk, Flush, Samples, samples_from_seconds, seconds
from ...channel import Channel, ChannelClosed
from ...events import Notice
from ...options import Configure, TranscriberOptions
from ...protocols import SourceItem

__all__ = ["Feed"]

_PIECE_SAMPLES = samples_from_seconds(0.1)
_ENOUGH_SAMPLES = samples_from_seconds(10.0)
"""Audio that may wait here before the client has to."""
_CAPACITY_SAMPLES = samples_from_seconds(30.0)
"""More than that and the longest frame."""
_MOST_BEHIND_S = 30.0
"""Audio that waited for longer goes, so that a session that cannot keep up does not fall back
for ever."""
_AHEAD_S = 10.0
"""Audio that a client may send at any speed."""


class Feed:
    """A source that is appended to, and says when its client should wait.

    Appending never blocks. `room` does: while the client sends faster than it may, or while
    enough audio waits that can still be heard in time. What nobody has made room for after
    30 s of delay goes, the oldest first, and shows as a gap with the reason "overload".

    Args:
        max_rate: audio taken in multiples of real time; 0 takes any.
    """

    live = False  # by its own rules: whoever is ahead of the clock can wait

    def __init__(self, max_rate: float) -> None:
        self._max_rate = max_rate
        self._channel = Channel(_CAPACITY_SAMPLES, overflow="drop_oldest")
        self._clock = asyncio.get_running_loop().time
        self._zero_s: float | None = None
        self._absence_s = 0.0
        self._told = False
        self._gap_reason = ""
        self._changed = asyncio.Event()
        self.end_sample = 0
        """Where the audio ends that was appended."""
        self.ended = False

    async def append(self, samples: Samples) -> None:
        """Take audio, shape ``(n,)``. Does not wait, whatever its form."""
        if self._zero_s is None and len(samples):
            self._zero_s = self._clock() - seconds(len(samples))
        for at in range(0, len(samples), _PIECE_SAMPLES):
            piece = AudioChunk(samples[at : at + _PIECE_SAMPLES], self.end_sample, self._gap_reason)
            self._gap_reason = ""
            self.end_sample = piece.end_sample
            await self._put(piece)

    async def skip(self, n_samples: int, reason: str) -> None:
        """The next samples are lost."""
        self.end_sample += n_samples
        self._gap_reason = reason

    async def flush(self) -> None:
        """Close the utterance here."""
        await self._put(Flush())

    async def configure(self, options: TranscriberOptions) -> None:
        """Hear in another way from here on."""
        await self._put(Configure(options))

    def end(self) -> None:
        """No more will come; what waits is still heard."""
        self.ended = True
        self._channel.close()
        self._changed.set()

    def returned(self, absence_s: float) -> None:
        """The client was away for so long, and what it sends now is late by that."""
        self._absence_s = absence_s

    async def room(self) -> None:
        """Return once the client may send more."""
        await self._in_time()
        while not self.ended and self._waiting > _ENOUGH_SAMPLES:
            left_s = _MOST_BEHIND_S + self._absence_s - self._behind_s
            if left_s <= 0:
                return
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
        if self._waiting <= _PIECE_SAMPLES:
            self._absence_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nobody reads on."""
        self.end()

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        return self

    async def __anext__(self) -> SourceItem:
        try:
            item = await self._channel.get()
        except ChannelClosed:
            raise StopAsyncIteration from None
        self._changed.set()
        return item

    @property
    def _waiting(self) -> int:
        return self._channel.statistics().waiting_samples

    @property
    def _now_s(self) -> float:
        """Stream time: at first, audio arrives as it is said."""
        return 0.0 if self._zero_s is None else self._clock() - self._zero_s

    @property
    def _behind_s(self) -> float:
        """How long the oldest audio has waited; negative while the client is ahead."""
        return self._now_s - seconds(self.end_sample - self._waiting)

    async def _in_time(self) -> None:
        """Wait while the client is further ahead than its rate allows."""
        if not self._max_rate:
            return
        early_s = (seconds(self.end_sample) - _AHEAD_S) / self._max_rate - self._now_s
        if early_s <= 0:
            return
        if not self._told:
            self._told = True
            message = f"audio comes faster than {self._max_rate:g} times real time: it has to wait"
            await self._put(Notice(level="info", code="max_rate", message=message))
        await asyncio.sleep(early_s)

    async def _put(self, item: SourceItem) -> None:
        with suppress(ChannelClosed):  # the session has ended; nobody would hear it
            await self._channel.put(item)
