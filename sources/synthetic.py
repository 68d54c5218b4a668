"""Made-up audio: silence, tones and noise, the same in every run."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE, AudioChunk, Samples, samples_from_seconds
from streaming.errors import ConfigurationError

from ._chunker import Chunker
from ._pace import Pace, Pacer

__all__ = ["Noise", "Silence", "SyntheticSource", "Tone"]

BLOCK_SAMPLES = 1 << 14
"""Audio is made in blocks of this length, whatever the chunks: about a second."""
PINK_OCTAVES = 14
"""Octaves of pink noise below the highest: down to about 1 Hz."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Zeros."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Tone:
    """A sine that starts at zero."""

    duration_s: float
    frequency_hz: float = 440.0
    amplitude: float = 0.1
    """Peak, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Random audio with equal power per hertz (white) or per octave (pink)."""

    duration_s: float
    color: Literal["white", "pink"] = "white"
    amplitude: float = 0.01
    """Root mean square, 0 to 1; peaks are clipped at full scale."""


class SyntheticSource:
    """Segments of made-up audio, one after another. Needs no file and no device.

    Args:
        segments: what to play.
        pace: as for `FileSource`.
        chunk_s: length of a chunk in seconds.
        seed: of the noise.

    Raises:
        ConfigurationError: a segment, the pace or the chunk length is impossible.
    """

    live = False

    def __init__(
        self,
        segments: Sequence[Silence | Tone | Noise],
        *,
        pace: Pace = "realtime",
        chunk_s: float = 0.1,
        seed: int = 0,
    ) -> None:
        for segment in segments:
            _check(segment)
        self._pacer = Pacer(pace)
        self._chunks = _chunks(tuple(segments), Chunker(chunk_s), seed)
        self._next: AudioChunk | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __aiter__(self) -> AsyncIterator[AudioChunk]:
        return self

    async def __anext__(self) -> AudioChunk:
        if self._next is None:
            self._next = next(self._chunks, None)
            if self._next is None:
                raise StopAsyncIteration
        await self._pacer.wait_for(self._next)
        chunk, self._next = self._next, None
        return chunk


def _check(segment: Silence | Tone | Noise) -> None:
    if not (math.isfinite(segment.duration_s) and segment.duration_s >= 0):
        raise ConfigurationError(f"a segment cannot last {segment.duration_s} s")
    if isinstance(segment, Silence):
        return
    if not 0 <= segment.amplitude <= 1:
        raise ConfigurationError(f"amplitude must lie between 0 and 1, not {segment.amplitude:g}")
    if isinstance(segment, Tone) and not 0 < segment.frequency_hz <= SAMPLE_RATE / 2:
        raise ConfigurationError(
            f"frequency_hz must lie between 0 and {SAMPLE_RATE // 2}, not {segment.frequency_hz:g}"
        )
    if isinstance(segment, Noise) and segment.color not in ("white", "pink"):
        raise ConfigurationError(f"unknown noise {segment.color!r}; choose white or pink")


def _chunks(
    segments: tuple[Silence | Tone | Noise, ...], chunker: Chunker, seed: int
) -> Iterator[AudioChunk]:
    random = np.random.default_rng(seed)
    for segment in segments:
        length = samples_from_seconds(segment.duration_s)
        for start in range(0, length, BLOCK_SAMPLES):
            block = _block(segment, start, random)[: length - start]
            yield from chunker.push(block)
    yield from chunker.flush()


def _block(segment: Silence | Tone | Noise, start: int, random: np.random.Generator) -> Samples:
    block: NDArray[np.float64]
    if isinstance(segment, Tone):
        cycles = (start + np.arange(BLOCK_SAMPLES)) * (segment.frequency_hz / SAMPLE_RATE)
        block = segment.amplitude * np.sin(2 * np.pi * (cycles % 1.0))
    elif isinstance(segment, Noise):
        pink = segment.color == "pink"
        block = _pink(random) if pink else random.standard_normal(BLOCK_SAMPLES)
        block *= segment.amplitude
    else:
        block = np.zeros(BLOCK_SAMPLES)
    return np.clip(block, -1.0, 1.0).astype(np.float32)


def _pink(random: np.random.Generator) -> NDArray[np.float64]:
    """One block of unit-power pink noise, after Voss (Gardner, Scientific American, 1978).

    The sum of white noises, each held twice as long as the one before, has equal power per
    octave within about half a decibel.
    """
    total = np.zeros(BLOCK_SAMPLES)
    for octave in range(PINK_OCTAVES + 1):
        total += np.repeat(random.standard_normal(BLOCK_SAMPLES >> octave), 1 << octave)
    return total / math.sqrt(PINK_OCTAVES + 1)
