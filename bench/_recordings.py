"""Recordings as arrays, and sources that hand arrays out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from _backends import Pool
from _report import RECORDINGS

from sources.file import FileSource
from streaming import AudioChunk, Event, Word
from streaming.audio import SAMPLE_RATE, Samples, seconds
from streaming.evaluation.alignment import align_words
from streaming.evaluation.delays import committed_words
from streaming.offline import decode_offline

__all__ = ["LiveAudio", "commit_delays", "read_clip", "read_spoken", "shifted"]

_CHUNK_SAMPLES = SAMPLE_RATE // 10


async def read_clip(name: str) -> Samples:
    """All of a recording, 16 kHz mono."""
    async with FileSource(RECORDINGS / f"{name}.flac", pace="fast") as source:
        return np.concatenate([chunk.samples async for chunk in source])


async def read_spoken(names: Sequence[str], pool: Pool) -> tuple[Samples, tuple[Word, ...]]:
    """Recordings joined to one, and what an offline pass over each of them hears."""
    audio: list[Samples] = []
    words: list[Word] = []
    at_s = 0.0
    for name in names:
        audio.append(await read_clip(name))
        source = FileSource(RECORDINGS / f"{name}.flac", pace="fast")
        heard = await decode_offline(source, pool, language="en")
        words += [shifted(word, at_s) for word in heard]
        at_s += seconds(len(audio[-1]))
    return np.concatenate(audio), tuple(words)


def shifted(word: Word, by_s: float) -> Word:
    """The word that much later."""
    return replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s)


def commit_delays(events: Iterable[Event], spoken: Sequence[Word]) -> list[tuple[float, float]]:
    """When each spoken word was committed, and how long after its end, in seconds."""
    words = committed_words(events)
    matches = align_words([item.word for item in words], spoken)
    return [
        (item.committed_s, item.committed_s - spoken[match].end_s)
        for item, match in zip(words, matches, strict=True)
        if match is not None
    ]


class LiveAudio:
    """Samples as a microphone hands them out: every tenth of a second, whoever listens."""

    live = True

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        clock = asyncio.get_running_loop().time
        zero_s = clock()
        for at in range(0, len(self._samples), _CHUNK_SAMPLES):
            chunk = AudioChunk(self._samples[at : at + _CHUNK_SAMPLES], at)
            await asyncio.sleep(max(0.0, zero_s + seconds(chunk.end_sample) - clock()))
            yield chunk
