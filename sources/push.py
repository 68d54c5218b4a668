"""For programs that already hold the audio: they push it, from any thread."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streaming.audio import AudioChunk, Flush, Samples, samples_from_seconds, seconds
from streaming.errors import ConfigurationError, SourceError

from ._resample import Resampler, mix_down

__all__ = ["PushSource"]

CHUNK_SAMPLES = 1600
"""Longest chunk, and the most that an overflow drops beyond what it must."""


class PushSource:
    """Audio pushed by the program itself.

    ``push``, ``flush`` and ``end`` return at once and may be called from any thread, also
    before the source is entered. What the consumer has not taken is kept up to a capacity;
    beyond it the oldest audio goes, and the next chunk carries a gap with the reason
    "overflow". A producer that can wait keeps ``buffered_s`` below the capacity.

    Args:
        sample_rate: of what is pushed, in hertz; 16 kHz needs no resampling.
        channels: of what is pushed; they are averaged.
        capacity_s: seconds of audio kept at most.
        live: False where the audio is not produced in real time.

    Raises:
        ConfigurationError: ``channels`` or ``capacity_s`` is impossible.
        SourceError: the sample rate is out of range.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        channels: int = 1,
        capacity_s: float = 30.0,
        live: bool = True,
    ) -> None:
        if channels < 1:
            raise ConfigurationError(f"audio needs at least 1 channel, not {channels}")
        if not (math.isfinite(capacity_s) and 0.1 <= capacity_s <= 3600):
            raise ConfigurationError(
                f"capacity_s must lie between 0.1 and 3600 s, not {capacity_s:g}"
            )
        self.live = live
        self._rate = sample_rate
        self._channels = channels
        self._capacity = samples_from_seconds(capacity_s)
        self._resampler = Resampler(sample_rate)
        self._pushing = threading.Lock()  # guards the resampler and the order of pushes
        self._lock = threading.Lock()  # guards all below; never held for long
        self._items: deque[AudioChunk | Flush] = deque()
        self._buffered = 0
        self._pushed = 0
        self._taken = 0
        self._ended = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    @property
    def buffered_s(self) -> float:
        """Seconds of audio that wait for the consumer."""
        return seconds(self._buffered)

    def push(self, samples: NDArray[Any]) -> None:
        """Add audio; it is copied. An empty array is nothing.

        Args:
            samples: float32 (or float64) in [-1, 1] or int16, shape ``(n,)`` for one channel
                or ``(n, channels)``.

        Raises:
            SourceError: the wrong shape or type, a sample that is not finite (nothing of the
                array is then taken), or the source has ended.
        """
        mono = self._checked(samples)
        with self._pushing:
            self._check_open("push")
            for start in range(0, len(mono), self._rate):  # a second at a time
                self._append(self._resampler.push(mono[start : start + self._rate]))

    def flush(self) -> None:
        """Close the utterance here: what was pushed is final, without waiting for silence.

        Raises:
            SourceError: the source has ended.
        """
        with self._pushing:
            self._check_open("flush")
            self._append(self._resampler.flush(), Flush())

    def end(self) -> None:
        """No more audio will come; what is buffered is still read. Once is enough."""
        with self._pushing:
            self._append(self._resampler.flush())
            with self._lock:
                self._ended = True
        self._wake()

    async def __aenter__(self) -> Self:
        with self._lock:
            self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nobody will read on: a push from now on is an error."""
        with self._lock:
            self._loop = None
            self._ended = True
            self._items.clear()
            self._buffered = 0

    def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
        return self

    async def __anext__(self) -> AudioChunk | Flush:
        await asyncio.sleep(0)  # a full buffer must not starve the loop
        while True:
            with self._lock:
                if self._items:
                    return self._take()
                if self._ended:
                    raise StopAsyncIteration
                self._changed.clear()
            await self._changed.wait()

    def _checked(self, samples: NDArray[Any]) -> Samples:
        samples = np.asarray(samples)
        if samples.dtype not in (np.float32, np.float64, np.int16):
            raise SourceError(f"push takes float32 or int16 samples, not {samples.dtype}")
        channels = samples.shape[1] if samples.ndim == 2 else 1
        if samples.ndim not in (1, 2) or channels != self._channels:
            raise SourceError(
                f"push takes shape (n, {self._channels}), not {samples.shape}"
                + (" or (n,)" if self._channels == 1 else "")
            )
        mono = mix_down(samples)
        if not np.isfinite(mono).all():
            raise SourceError(
                "push was given a sample that is not a number (NaN or infinite); "
                "nothing of that array was taken"
            )
        return mono

    def _check_open(self, what: str) -> None:
        if self._ended:
            raise SourceError(f"{what} after the end: the source has ended; make a new one")

    def _append(self, samples: Samples, flush: Flush | None = None) -> None:
        with self._lock:
            if self._ended:
                return
            for start in range(0, len(samples), CHUNK_SAMPLES):
                piece = samples[start : start + CHUNK_SAMPLES]
                self._items.append(AudioChunk(piece, self._pushed))
                self._pushed += len(piece)
                self._buffered += len(piece)
            if flush is not None and not (self._items and isinstance(self._items[-1], Flush)):
                self._items.append(flush)
            self._drop_oldest()
        self._wake()

    def _drop_oldest(self) -> None:
        """Make room. A flush among what goes stays, in its place before what remains."""
        flush = None
        while self._buffered > self._capacity:
            oldest = self._items.popleft()
            if isinstance(oldest, Flush):
                flush = oldest
            else:
                self._buffered -= len(oldest.samples)
        if flush is not None and not isinstance(self._items[0], Flush):
            self._items.appendleft(flush)

    def _take(self) -> AudioChunk | Flush:
        item = self._items.popleft()
        if isinstance(item, Flush):
            return item
        self._buffered -= len(item.samples)
        if item.start_sample != self._taken:
            item = replace(item, gap_reason="overflow")
        self._taken = item.end_sample
        return item

    def _wake(self) -> None:
        with self._lock:
            loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(self._changed.set)
