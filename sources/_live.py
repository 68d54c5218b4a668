"""Blocks of a device, as they arrive, to numbered audio with its gaps. No clock, no thread.

A device says how much audio it delivers, and a monotonic clock says when. A block's *lag* is
its arrival minus the end of all audio counted so far. Jitter only ever adds to the lag, so its
least value over some seconds is a steady mark, which drift moves by less than a millisecond a
second. Audio that was lost leaves the lag higher for good, by just what was lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE, AudioChunk
from streaming.events import Notice

from ._chunker import Chunker
from ._resample import Resampler, mix_down
from ._sliding_least import SlidingLeast

__all__ = ["Block", "LiveAudio", "SilenceWatch"]

JUMP_S = 0.3
"""A lag that stays higher by more than this is lost audio, though nobody said so."""
SETTLE_S = 0.3
"""How long the lag is watched after a loss: what had piled up meanwhile arrives late first."""
MEMORY_S = 10
"""How long the least lag is remembered; long for jitter and short for drift."""
IDLE_MARGIN_S = 0.3
"""How far silence that is filled in stays behind the clock, so that it never takes the place of
audio that is only late."""
FILL_LIMIT_S = 10.0
"""Longer pauses of a monitor are gaps: its machine slept."""
SILENT_S = 3.0
"""Exact zeros for so long are worth a word."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What a device delivered at once."""

    frames: NDArray[Any]
    """Shape ``(n,)`` or ``(n, channels)``, floats or integers at full scale, n > 0."""
    rate: int
    """Hertz."""
    arrived_s: float
    """When, on a monotonic clock."""
    overflowed: bool = False
    """Audio before it was lost; how much, nobody knows."""
    lost_s: float = 0.0
    """Audio known to be lost before it."""

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return len(self.frames) / self.rate

    def after(self, dropped: Block) -> Block:
        """This block, where the one before it had to go."""
        lost_s = self.lost_s + dropped.lost_s + dropped.duration_s
        return replace(self, lost_s=lost_s, overflowed=self.overflowed or dropped.overflowed)


class LiveAudio:
    """Turns blocks into 16 kHz mono chunks that are numbered by the clock.

    Numbering follows the audio delivered, and over every loss the clock: neither jitter nor the
    drift of the device's clock makes a gap. Reasons of gaps are "overflow", "reconnect" and
    "stall" (the device paused without a word). The stream starts with the first block.

    Args:
        chunk_s: length of a chunk in seconds.
        fills: True for a device that may pause while there is nothing to hear. Its pauses
            become silence, and `idle` keeps time during them.

    Raises:
        ConfigurationError: ``chunk_s`` is impossible.
    """

    def __init__(self, chunk_s: float, *, fills: bool = False) -> None:
        self._chunker = Chunker(chunk_s)
        self._fills = fills
        self._resampler: Resampler | None = None
        self._rate = 0
        self._lag = SlidingLeast(1.0, MEMORY_S)
        self._counted_s = 0.0
        self._held: list[Block] = []
        self._held_s = 0.0
        self._held_lag_s = math.inf
        self._loss = ""
        self._paused = ""

    def push(self, block: Block) -> Iterator[AudioChunk]:
        """Take a block; yields what it completes.

        After a loss the audio is held back for about `SETTLE_S`, until its length is known.
        """
        lag_s = self._lag_of(block)
        if not self._lag.known:
            self._paused = ""
            self._lag.add(block.arrived_s, lag_s)
            yield from self._take(block)
            return
        if block.lost_s:
            yield from self._settle()
            yield from self._jump(block.lost_s, "overflow")
            lag_s = self._lag_of(block)
        loss = self._paused or ("overflow" if block.overflowed else "")
        if not (self._held or loss or lag_s - self._lag.least > JUMP_S):
            self._lag.add(block.arrived_s, lag_s)
            yield from self._take(block)
            return
        if loss:
            self._loss, self._paused, self._held_lag_s = self._loss or loss, "", math.inf
        self._held.append(block)
        self._held_s += block.duration_s
        self._held_lag_s = min(self._held_lag_s, lag_s)
        came_back = self._excess_s() <= (0.0 if self._loss else JUMP_S)
        if came_back or block.arrived_s - self._held[0].arrived_s >= SETTLE_S:
            yield from self._settle()

    def end(self) -> Iterator[AudioChunk]:
        """Yield the rest: the device is gone. If audio follows, a gap tells how long it was."""
        yield from self._settle()
        yield from self._flush_resampler()
        yield from self._chunker.flush()
        self._paused = "reconnect"

    def idle(self, now_s: float) -> Iterator[AudioChunk]:
        """Yield silence up to a little before now; nothing has arrived for some time."""
        yield from self._settle()
        if not self._lag.known:
            self._lag.add(now_s, now_s - IDLE_MARGIN_S)
        behind_s = now_s - IDLE_MARGIN_S - self._lag.least - self._counted_s
        if behind_s > 0:
            yield from self._jump(behind_s, self._paused or "stall")
            self._paused = "stall"

    def _lag_of(self, block: Block) -> float:
        return block.arrived_s - self._counted_s - self._held_s - block.duration_s

    def _excess_s(self) -> float:
        return self._held_lag_s - self._lag.least

    def _settle(self) -> Iterator[AudioChunk]:
        """Decide how much was lost before what is held, and let it go."""
        if not self._held:
            return
        held, loss, lag_s, excess_s = self._held, self._loss, self._held_lag_s, self._excess_s()
        self._held, self._held_s, self._held_lag_s, self._loss = [], 0.0, math.inf, ""
        if loss or excess_s > JUMP_S:
            # A loss that the clock does not show is still one: the device said so.
            lost_s = max(excess_s, 1 / SAMPLE_RATE)
            yield from self._jump(lost_s, loss or "stall")
            lag_s -= lost_s
        self._lag.add(held[-1].arrived_s, lag_s)
        for block in held:
            yield from self._take(block)

    def _take(self, block: Block) -> Iterator[AudioChunk]:
        if self._resampler is None or block.rate != self._rate:
            yield from self._flush_resampler()
            self._resampler, self._rate = Resampler(block.rate), block.rate
        self._counted_s += block.duration_s
        mono = np.nan_to_num(mix_down(block.frames), posinf=0.0, neginf=0.0)
        yield from self._chunker.push(self._resampler.push(mono))

    def _jump(self, duration_s: float, reason: str) -> Iterator[AudioChunk]:
        """Go on later: over a gap, or over silence where that is what a pause means."""
        yield from self._flush_resampler()
        self._counted_s += duration_s
        # From the count rather than the duration, so that rounding does not add up.
        missing = max(1, round(self._counted_s * SAMPLE_RATE) - self._chunker.end_sample)
        if self._fills and reason == "stall" and duration_s <= FILL_LIMIT_S:
            yield from self._chunker.push(np.zeros(missing, np.float32))
        else:
            yield from self._chunker.flush()
            self._chunker.skip(missing, reason)

    def _flush_resampler(self) -> Iterator[AudioChunk]:
        if self._resampler is not None:
            yield from self._chunker.push(self._resampler.flush())


class SilenceWatch:
    """Tells once when a microphone gives nothing but exact zeros, and once when it is over.

    Args:
        name: of the microphone, for people.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._silent_s = 0.0
        self._told = False

    def push(self, block: Block) -> Notice | None:
        """Look at a block."""
        self._silent_s = 0.0 if block.frames.any() else self._silent_s + block.duration_s
        silent = self._silent_s >= SILENT_S
        if silent == self._told:
            return None
        self._told = silent
        if not silent:
            return Notice(code="sound_back", message=f"{self._name} gives sound again")
        return Notice(
            level="warning",
            code="silent_input",
            message=f"{self._name} gives nothing but silence: is it muted, not permitted or "
            "the wrong one?",
        )
