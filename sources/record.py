"""Any source, kept in a file as it is heard."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np

from streaming.audio import AudioChunk
from streaming.errors import SinkError, SourceError
from streaming.events import Notice
from streaming.protocols import Source, SourceItem

from ._audio_writer import AudioWriter

__all__ = ["RecordingSource"]

_FULL_SCALE = 32_768
_CLOSE_LIMIT_S = 2.0


class RecordingSource:
    """Passes a source on and writes its audio to a WAV or FLAC file, 16 kHz mono of 16 bits.

    What is passed on is what the file holds, bit for bit: samples are rounded to 16 bits
    (noise of -98 dB) before both. Lost audio is written as silence, so that times in the file
    are those of the stream; together with the session's event log, which tells where audio was
    lost and where utterances were closed, `sources.replay.ReplaySource` gives the session the
    same to hear again. Nothing is written of what comes while the pipeline is paused.

    The file grows on a thread. If it cannot be written any more, or a live source does not get
    rid of half a minute, a notice says so and the source goes on without it; other sources wait
    for a slow disk.

    Args:
        source: any source, not entered yet.
        path: ends in .wav or .flac; overwritten in place, from the first item on: a run that
            cannot begin, for want of its model say, does not cost the recording of another.

    Raises:
        ConfigurationError: the extension is another one.
        SinkError: on entering or with the first item, where the file cannot be written; on
            leaving, where it cannot be finished.
    """

    def __init__(self, source: Source, path: str | os.PathLike[str]) -> None:
        self.live = source.live
        self._source = source
        self._writer = AudioWriter(path)
        self._items: AsyncIterator[SourceItem] | None = None
        self._waiting: SourceItem | None = None
        self._end_sample = 0
        self._paused = False
        self._told = False

    @property
    def length_s(self) -> float | None:
        """Length of the input, where the source tells."""
        return getattr(self._source, "length_s", None)

    def pause(self) -> None:
        """Record silence from now on; what is not live waits, and nothing of it is lost."""
        self._paused = self.live

    def resume(self) -> None:
        """Record again."""
        self._paused = False

    async def __aenter__(self) -> Self:
        await self._source.__aenter__()
        self.live = self._source.live  # some know only once they are open
        try:
            await self._writer.open()
        except BaseException as error:
            await self._source.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._writer.close(_CLOSE_LIMIT_S)
        except SinkError:
            if exc is None and not self._told:
                raise
        finally:
            await self._source.__aexit__(exc_type, exc, traceback)

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        self._items = aiter(self._source)
        return self

    async def __anext__(self) -> SourceItem:
        if self._items is None:
            raise SourceError("a source is iterated inside `async with`")
        await self._writer.begin()
        if self._waiting is not None:
            item, self._waiting = self._waiting, None
            return item
        if not self.live:
            await self._writer.room()
        try:
            item = await anext(self._items)
        except StopAsyncIteration:
            with suppress(SinkError):  # told by the notice
                await self._writer.close(_CLOSE_LIMIT_S)
            if (trouble := self._trouble()) is not None:
                return trouble
            raise
        if isinstance(item, AudioChunk):
            item = self._keep(item)
        if (trouble := self._trouble()) is not None:
            self._waiting = item
            return trouble
        return item

    def _keep(self, chunk: AudioChunk) -> AudioChunk:
        """Record a chunk, and return it as it is on file."""
        scaled = np.rint(chunk.samples * np.float32(_FULL_SCALE))
        pcm = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        if not self._writer.has_room:  # of a live source: nobody waited
            self._writer.give_up()
        if not self._paused and self._writer.error is None:
            if chunk.start_sample > self._end_sample:
                self._writer.skip(chunk.start_sample - self._end_sample)
            self._writer.write(pcm)
            self._end_sample = chunk.end_sample
        return replace(chunk, samples=pcm.astype(np.float32) / np.float32(_FULL_SCALE))

    def _trouble(self) -> Notice | None:
        """What to say when the recording has failed, once."""
        if self._told or self._writer.error is None:
            return None
        self._told = True
        message = f"{self._writer.error}; the recording stops, the transcript goes on"
        return Notice(level="error", code="recording_failed", message=message)
