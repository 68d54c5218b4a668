"""What a client sends, as the source of its session."""

from __future__ import annotations

import asyncio
from collections import deque
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
_ENOUGH_SAMPLES = samples_from_seconds(5.0)
"""Audio that may wait here. What comes after this source holds 40 s more."""
_CAPACITY_SAMPLES = samples_from_seconds(180.0)
"""More than that and the longest frame, which may be a minute of compressed audio."""
_FAST = 1.2
"""Audio that comes faster than this, times real time, was not said just now."""
_JITTER_S = 1.0
_LOOK_BACK_S = 10.0
_QUIET_S = 3.0
"""A client that sent nothing for this long was away, or kept back, and not slow."""
_AHEAD_S = 10.0
"""Audio that a client may send at any speed."""
_LONGEST_WAIT_S = 10.0
"""While a client has to wait its pings are not answered, and it takes that for a dead line after
20 s."""


class Feed:
    """A source that is appended to, and says when its client should wait.

    Appending never blocks; `room` does, while the client sends faster than it may, or faster than
    audio is said while enough of it waits. A client that is not fast is live: waiting would only
    leave it further and further behind. Of its audio the oldest goes where there is too
    much, which shows as a gap with the reason "overload".

    Args:
        max_rate: audio taken in multiples of real time; 0 takes any.
    """

    live = False  # what is dropped is decided here

    def __init__(self, max_rate: float) -> None:
        self._max_rate = max_rate
        self._channel = Channel(_CAPACITY_SAMPLES, overflow="drop_oldest")
        self._clock = asyncio.get_running_loop().time
        self._zero_s: float | None = None
        self._waited_s = 0.0
        self._marks: deque[tuple[float, int]] = deque()
        """Time in which the client was sending, without its waits, and where its audio ended."""
        self._newest_s = self._clock()
        self._told = False
        self._gap_reason = ""
        self._changed = asyncio.Event()
        self.end_sample = 0
        """Where the audio ends that was appended."""
        self.ended = False

    async def append(self, samples: Samples) -> None:
        """Take audio, shape ``(n,)``. Does not wait, whatever its form."""
        if self._zero_s is None:
            self._zero_s = self._clock()
        self._mark()
        for at in range(0, len(samples), _PIECE_SAMPLES):
            piece = AudioChunk(samples[at : at + _PIECE_SAMPLES], self.end_sample, self._gap_reason)
            self._gap_reason = ""
            self.end_sample = piece.end_sample
            await self._put(piece)
        if self._waiting > _ENOUGH_SAMPLES and not self._fast:
            self._channel.shed(_ENOUGH_SAMPLES)

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

    async def room(self) -> None:
        """Return once the client may send more, or has waited for long enough."""
        began_s = self._clock()
        await self._in_time()
        while not self.ended and self._waiting > _ENOUGH_SAMPLES:
            left_s = began_s + _LONGEST_WAIT_S - self._clock()
            if left_s <= 0:
                break
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
        self._newest_s = self._clock()
        self._waited_s += self._newest_s - began_s

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

    def _mark(self) -> None:
        quiet_s = self._clock() - self._newest_s
        if quiet_s > _QUIET_S:
            self._waited_s += quiet_s
        self._newest_s = self._clock()
        free_s = self._clock() - self._waited_s
        if not self._marks or free_s - self._marks[-1][0] >= _LOOK_BACK_S / 10:
            self._marks.append((free_s, self.end_sample))
        while len(self._marks) > 1 and self._marks[1][0] <= free_s - _LOOK_BACK_S:
            self._marks.popleft()

    @property
    def _fast(self) -> bool:
        """Whether the client sends what was said before."""
        since_s, since = self._marks[0]
        free_s = self._clock() - self._waited_s - since_s
        return seconds(self.end_sample - since) > _FAST * free_s + _JITTER_S

    async def _in_time(self) -> None:
        """Wait while the client is further ahead than its rate allows."""
        if not self._max_rate or self._zero_s is None:
            return
        allowed_s = _AHEAD_S + self._max_rate * (self._clock() - self._zero_s)
        early_s = (seconds(self.end_sample) - allowed_s) / self._max_rate
        if early_s <= 0:
            return
        if not self._told:
            self._told = True
            message = f"audio comes faster than {self._max_rate:g} times real time: it has to wait"
            await self._put(Notice(level="info", code="max_rate", message=message))
        await asyncio.sleep(min(early_s, _LONGEST_WAIT_S))

    async def _put(self, item: SourceItem) -> None:
        with suppress(ChannelClosed):  # the session has ended; nobody would hear it
            await self._channel.put(item)
