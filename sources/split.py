"""The two channels of a stereo file as two sources: a call recorded with one end on each side."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError, SourceError
from streaming.protocols import Source

from ._address import is_url, shown
from ._background import BackgroundReader
from ._chunker import Chunker
from ._fan import Fan
from ._media_chunks import chunks
from ._pace import Pace, Pacer
from ._part import Part

if TYPE_CHECKING:
    from ._open import Header

__all__ = ["split"]

_AHEAD = 32
_CLOSE_TIMEOUT_S = 0.05

_Pair = tuple[AudioChunk, ...]


def split(
    path: str | os.PathLike[str],
    *,
    pace: Pace = "realtime",
    chunk_s: float = 0.1,
    start_s: float = 0.0,
    duration_s: float | None = None,
) -> tuple[Source, Source]:
    """Left and right channel of a file, each resampled to 16 kHz.

    They are meant to be read side by side: one is never handed out more than half a second
    before the other.

    Args:
        path: a file with two channels.
        pace: as for `sources.file.FileSource`.
        chunk_s: length of a chunk in seconds.
        start_s: where to begin, in seconds of the file. Times count from there.
        duration_s: how much to read; less if the file ends before.

    Raises:
        ConfigurationError: an unknown pace, an impossible chunk length or part, or a URL.
        SourceError: on entering or iterating; the file cannot be read or has not two channels.
    """
    location = os.fspath(path)
    if is_url(location):
        raise ConfigurationError(f"{shown(location)} is an address; channels are split in files")
    fan = Fan(_Channels(location, pace, chunk_s, Part(start_s, duration_s)), 2)
    return fan.members[0], fan.members[1]


class _Channels:
    live = False

    def __init__(self, location: str, pace: Pace, chunk_s: float, part: Part) -> None:
        self._part = part
        self._pacer = Pacer(pace)
        self._pairs = chunks(
            location, Chunker(chunk_s), Chunker(chunk_s), part=part, opened=self._opened
        )
        self._reader: BackgroundReader[_Pair] | None = None
        self._next: _Pair | None = None
        self.length_s: float | None = None
        """What the header declares, once it was read."""

    def _opened(self, header: Header) -> None:
        if header.length_s is not None:
            self.length_s = max(0.0, min(header.length_s, self._part.stop_s) - self._part.start_s)

    async def __aenter__(self) -> Self:
        self._reader = BackgroundReader(self._pairs, ahead=_AHEAD, name="file source")
        try:
            # The first chunks now, so that a file that cannot be read fails here.
            self._next = await self._reader.get()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            await self._reader.close(_CLOSE_TIMEOUT_S)

    def __aiter__(self) -> AsyncIterator[tuple[tuple[AudioChunk], ...]]:
        return self

    async def __anext__(self) -> tuple[tuple[AudioChunk], ...]:
        if self._reader is None:
            raise SourceError("a source is iterated inside `async with`")
        if self._next is None:
            self._next = await self._reader.get()
            if self._next is None:
                raise StopAsyncIteration
        await self._pacer.wait_for(self._next[0])
        pair, self._next = self._next, None
        return tuple((chunk,) for chunk in pair)
