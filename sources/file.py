"""Any media file or stream: whatever FFmpeg opens, from a path or a URL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator
from contextlib import closing
from types import TracebackType
from typing import Self

from streaming.audio import SAMPLE_RATE, AudioChunk
from streaming.errors import SourceError

from ._background import BackgroundReader
from ._chunker import Chunker
from ._pace import Pace, Pacer
from ._resample import Resampler

__all__ = ["FileSource"]

AHEAD = 32
"""Chunks decoded before they are asked for; a longer file takes no more memory."""
CLOSE_TIMEOUT_S = 0.1
"""Freeing the decoder takes milliseconds, unless it waits for a network."""


class FileSource:
    """Audio of a file or URL, resampled to 16 kHz and mixed to mono.

    It is decoded on a thread, a few seconds ahead, and starts at once whatever its length.
    Damaged places inside a file come as gaps with the reason "damaged". Where a file breaks
    off, what decodes comes first and the error, which names the second, after it.

    Args:
        path: a file, or a URL such as ``https://...`` or ``rtsp://...``.
        pace: "realtime" hands out each chunk when it would come from a microphone; "fast"
            and "simulated" do not wait.
        chunk_s: length of a chunk in seconds.

    Raises:
        ConfigurationError: an unknown pace or an impossible chunk length.
        SourceError: on entering or iterating; the audio cannot be opened or read.
    """

    live = False

    def __init__(
        self, path: str | os.PathLike[str], *, pace: Pace = "realtime", chunk_s: float = 0.1
    ) -> None:
        self._location = os.fspath(path)
        self._pacer = Pacer(pace)
        self._chunker = Chunker(chunk_s)
        self._reader: BackgroundReader[AudioChunk] | None = None
        self._next: AudioChunk | None = None

    async def __aenter__(self) -> Self:
        chunks = _chunks(self._location, self._chunker)
        self._reader = BackgroundReader(chunks, ahead=AHEAD, name="file source")
        try:
            # The first chunk now, so that a file that cannot be read fails here.
            self._next = await self._reader.get()
        except BaseException:
            await self._reader.close(CLOSE_TIMEOUT_S)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            await self._reader.close(CLOSE_TIMEOUT_S)

    def __aiter__(self) -> AsyncIterator[AudioChunk]:
        return self

    async def __anext__(self) -> AudioChunk:
        if self._reader is None:
            raise SourceError("a source is iterated inside `async with`")
        if self._next is None:
            self._next = await self._reader.get()
            if self._next is None:
                raise StopAsyncIteration
        await self._pacer.wait_for(self._next)
        chunk, self._next = self._next, None
        return chunk


def _chunks(location: str, chunker: Chunker) -> Generator[AudioChunk, None, None]:
    """Decode, resample and cut; blocking. An error comes after all the audio before it."""
    from ._decode import decode  # FFmpeg is loaded on use, and here: off the event loop

    resampler: Resampler | None = None
    rate = 0
    failure: SourceError | None = None
    with closing(decode(location)) as blocks:
        try:
            for block in blocks:
                if resampler is not None and (block.lost_s or block.rate != rate):
                    yield from chunker.push(resampler.flush())
                if block.lost_s:
                    yield from chunker.flush()
                    chunker.skip(round(block.lost_s * SAMPLE_RATE), "damaged")
                if resampler is None or block.rate != rate:
                    resampler, rate = Resampler(block.rate), block.rate
                yield from chunker.push(resampler.push(block.samples))
        except SourceError as error:
            failure = error
    if resampler is not None:
        yield from chunker.push(resampler.flush())
    yield from chunker.flush()
    if failure is not None:
        raise failure
