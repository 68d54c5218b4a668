"""What a client sends, as the source of its session."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np

from ...audio import AudioChunk, Flush, Samples, samples_from_seconds, seconds
from ...events import Notice
from ...options import Configure, TranscriberOptions
from ...protocols import SourceItem

__all__ = ["Feed"]

_PIECE_SAMPLES = samples_from_seconds(0.1)
_ENOUGH_SAMPLES = samples_from_seconds(5.0)
"""Audio that may wait here. What comes after this source holds 40 s more."""
_MOST_ITEMS = 1_000
"""Pieces of audio and wishes that may wait here, however short the audio between the wishes is."""
_FAST = 1.2
"""Audio that comes faster than this, times real time, was not said just now."""
_JITTER_S = 1.0
_MOST_ARRIVALS = 1_200
"""Two minutes of audio, in the smallest pieces."""
_LOOK_BACK_S = 10.0
_QUIET_S = 3.0
"""A client that sent nothing for this long was away, or kept back, and not slow."""
_AHEAD_S = 10.0
"""Audio that a client may send at any speed."""
_LONGEST_WAIT_S = 10.0
"""While a client has to wait its pings are not answered, and it takes that for a dead line after
20 s or more."""


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
        self._clock = asyncio.get_running_loop().time
        self._items: deque[SourceItem] = deque()
        self._waiting = 0
        """Samples of audio among them."""
        self._changed = asyncio.Event()
        self._lost = False
        self._said = 0
        """Samples that were appended, without what was skipped."""
        self._zero_s: float | None = None
        self._waited_s = 0.0
        self._marks: deque[tuple[float, int]] = deque()
        """Time in which the client was sending, without its waits, and what it had said then."""
        self._newest_s = self._clock()
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=_MOST_ARRIVALS)
        """Where the audio ended, and when that had come."""
        self._told = False
        self.end_sample = 0
        """Where the audio ends, with what was skipped."""
        self.ended = False

    def append(self, samples: Samples) -> None:
        """Take audio, shape ``(n,)``, of any length."""
        if self.ended or not len(samples):
            return
        if self._zero_s is None:
            self._zero_s = self._clock()
        self._mark()
        if self._items and isinstance(last := self._items[-1], AudioChunk):
            room = _PIECE_SAMPLES - len(last.samples)
            if room > 0:  # pieces as long as can be: each costs as much
                whole = np.concatenate((last.samples, samples[:room]))
                self._items[-1] = AudioChunk(whole, last.start_sample, last.gap_reason)
                self._count(min(room, len(samples)))
                samples = samples[room:]
        for at in range(0, len(samples), _PIECE_SAMPLES):
            piece = AudioChunk(samples[at : at + _PIECE_SAMPLES], self.end_sample)
            self._items.append(piece)
            self._count(len(piece.samples))
        if not self._arrivals or self.end_sample - self._arrivals[-1][0] >= _PIECE_SAMPLES:
            self._arrivals.append((self.end_sample, self._clock()))
        if self._waiting > _ENOUGH_SAMPLES and not self._fast:
            self._shed()
        self._changed.set()

    def skip(self, n_samples: int, reason: str) -> None:
        """The next samples are lost. The last of them is put as silence: it tells of the gap."""
        if self.ended or n_samples < 1:
            return
        self.end_sample += n_samples
        silence = np.zeros(1, np.float32)
        place = self.end_sample - 1
        self._items.append(AudioChunk(silence, place, reason if n_samples > 1 else ""))
        self._waiting += 1
        self._changed.set()

    def flush(self) -> None:
        """Close the utterance here. Without audio since the last wish that says nothing new."""
        if not self._items or not isinstance(self._items[-1], Flush | Configure):
            self._put(Flush())

    def configure(self, options: TranscriberOptions) -> None:
        """Hear in another way from here on, which closes the utterance, too."""
        while self._items and isinstance(self._items[-1], Flush | Configure):
            self._items.pop()
        self._put(Configure(options))

    def end(self) -> None:
        """No more will come; what waits is still heard."""
        self.ended = True
        self._changed.set()

    def age_s(self, at_s: float) -> float:
        """How long ago the audio at a second of the stream came, of the last minutes."""
        at = samples_from_seconds(at_s)
        place = bisect_left(self._arrivals, at, key=lambda arrival: arrival[0])
        if place == len(self._arrivals):
            return 0.0
        return self._clock() - self._arrivals[place][1]

    async def room(self) -> None:
        """Return once the client may send more, or has waited for long enough."""
        began_s = self._clock()
        await self._in_time()
        while not self.ended and self._full:
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
        while not self._items:
            if self.ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        item = self._items.popleft()
        if isinstance(item, AudioChunk):
            self._waiting -= len(item.samples)
            if self._lost:
                self._lost = False
                item = AudioChunk(item.samples, item.start_sample, "overload")
        self._changed.set()
        return item

    # -- inside ---------------------------------------------------------------------------------

    @property
    def _full(self) -> bool:
        return self._waiting > _ENOUGH_SAMPLES or len(self._items) > _MOST_ITEMS

    def _count(self, n_samples: int) -> None:
        self._waiting += n_samples
        self._said += n_samples
        self.end_sample += n_samples

    def _put(self, item: SourceItem) -> None:
        if not self.ended:
            self._items.append(item)
            self._changed.set()

    def _shed(self) -> None:
        """Drop the oldest audio; the newest wish before what stays is kept."""
        wish: SourceItem | None = None
        while self._waiting > _ENOUGH_SAMPLES:
            oldest = self._items.popleft()
            if isinstance(oldest, AudioChunk):
                self._waiting -= len(oldest.samples)
                self._lost = True
            elif isinstance(oldest, Configure) or not isinstance(wish, Configure):
                wish = oldest
        if wish is not None:
            self._items.appendleft(wish)

    def _mark(self) -> None:
        quiet_s = self._clock() - self._newest_s
        if quiet_s > _QUIET_S:
            self._waited_s += quiet_s
        self._newest_s = self._clock()
        free_s = self._clock() - self._waited_s
        if not self._marks or free_s - self._marks[-1][0] >= _LOOK_BACK_S / 10:
            self._marks.append((free_s, self._said))
        while len(self._marks) > 1 and self._marks[1][0] <= free_s - _LOOK_BACK_S:
            self._marks.popleft()

    @property
    def _fast(self) -> bool:
        """Whether the client sends what was said before."""
        since_s, since = self._marks[0]
        free_s = self._clock() - self._waited_s - since_s
        return seconds(self._said - since) > _FAST * free_s + _JITTER_S

    async def _in_time(self) -> None:
        """Wait while the client is further ahead than its rate allows."""
        if not self._max_rate or self._zero_s is None:
            return
        allowed_s = _AHEAD_S + self._max_rate * (self._clock() - self._zero_s)
        early_s = (seconds(self._said) - allowed_s) / self._max_rate
        if early_s <= 0:
            return
        if not self._told:
            self._told = True
            message = f"audio comes faster than {self._max_rate:g} times real time: it has to wait"
            self._put(Notice(level="info", code="max_rate", message=message))
        await asyncio.sleep(early_s)
