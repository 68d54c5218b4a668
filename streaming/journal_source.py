"""The audio of a journal as a source, and what the input had behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from .audio import SAMPLE_RATE, AudioChunk
from .errors import SourceError
from .journal_files import AudioFile, audio_files
from .protocols import Source, SourceItem

__all__ = ["LOST", "JournalSource"]

LOST = "lost"
"""Why there is a gap where the journal lacks audio and its events do not say why."""
_CHUNK_SAMPLES = SAMPLE_RATE // 10


class JournalSource:
    """Yields what a session's journal holds from a sample on, as fast as it is taken.

    Flushes and gaps that the events tell of are not in it.

    Args:
        folder: of the session.
        start_sample: where to begin.
        rest: the input of the session from a second on that the journal has; what follows the
            journal's audio is taken of it.
        rest_from: the session's number of its first sample.
    """

    live = False

    def __init__(
        self, folder: Path, start_sample: int, rest: Source | None = None, rest_from: int = 0
    ) -> None:
        self._files = audio_files(folder)
        self._start_sample = start_sample
        self._rest = rest
        self._rest_from = rest_from
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._rest is not None:
            await self._stack.enter_async_context(self._rest)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        end = self._start_sample
        for file in self._files:
            for chunk in _chunks(file, end):
                yield chunk if chunk.start_sample == end else replace(chunk, gap_reason=LOST)
                end = chunk.end_sample
        if self._rest is None:
            return
        known = max((file.end_sample for file in self._files), default=0)
        async for item in self._rest:
            if isinstance(item, AudioChunk):
                start = item.start_sample + self._rest_from
                before = max(0, known - start)
                if before >= len(item.samples):
                    continue
                item = replace(item, samples=item.samples[before:], start_sample=start + before)
            yield item


def _chunks(file: AudioFile, start_sample: int) -> Iterator[AudioChunk]:
    at = max(start_sample, file.start_sample)
    if at >= file.end_sample:
        return
    try:
        with file.path.open("rb") as opened:
            opened.seek(2 * (at - file.start_sample))
            while at < file.end_sample:
                data = opened.read(2 * min(_CHUNK_SAMPLES, file.end_sample - at))
                pcm = np.frombuffer(data[: len(data) // 2 * 2], "<i2")
                if not len(pcm):
                    return
                yield AudioChunk(pcm.astype(np.float32) / np.float32(32768), at)
                at += len(pcm)
    except OSError as error:
        raise SourceError(f"cannot read {file.path}: {error.strerror or error}") from error
