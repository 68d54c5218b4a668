"""Any media file on this machine: whatever FFmpeg opens."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, cast

from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError

from ._address import is_url, shown
from ._chunker import Chunker
from ._media_chunks import chunks
from ._pace import Pace, Pacer
from ._part import Part
from ._threaded import ThreadedSource

if TYPE_CHECKING:
    from ._open import Location

__all__ = ["FileSource"]


class FileSource(ThreadedSource[AudioChunk]):
    """Audio of a file, resampled to 16 kHz and mixed to mono.

    It is decoded on a thread, a few seconds ahead, and starts at once whatever its length.
    Damaged places inside a file come as gaps with the reason "damaged". Where a file breaks
    off, what decodes comes first and the error, which names the second, after it.

    Args:
        path: a file; or one that is open and can be sought in. That one may be from anybody: it
            is read only as a plain recording, not as a playlist that names other files. It is
            not closed here, and nobody else may use it until this source is left, which takes as
            long as FFmpeg needs to notice.
        pace: "realtime" hands out each chunk when it would come from a microphone; "fast"
            and "simulated" do not wait.
        chunk_s: length of a chunk in seconds.
        start_s: where to begin, in seconds of the file. Times count from there.
        duration_s: how much to read; less if the file ends before.

    Raises:
        ConfigurationError: an unknown pace, an impossible chunk length or part, or a URL.
        SourceError: on entering or iterating; the audio cannot be opened or read, or ends
            before ``start_s``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        pace: Pace = "realtime",
        chunk_s: float = 0.1,
        start_s: float = 0.0,
        duration_s: float | None = None,
    ) -> None:
        location = os.fspath(path) if isinstance(path, str | os.PathLike) else path
        if isinstance(location, str) and is_url(location):
            raise ConfigurationError(
                f"{shown(location)} is an address, not a file; a MediaSource reads it"
            )
        part = Part(start_s, duration_s)
        stop = None
        if not isinstance(location, str):
            file = _EndingFile(location)
            location, stop = cast(BinaryIO, file), file.end
        items = self._chunks(location, Chunker(chunk_s), part)
        super().__init__(items, part=part, pacer=Pacer(pace), stop=stop)

    def _chunks(
        self, location: Location, chunker: Chunker, part: Part
    ) -> Generator[AudioChunk, None, None]:
        with closing(chunks(location, chunker, part=part, opened=self._opened)) as found:
            for (chunk,) in found:
                yield chunk


class _EndingFile:
    """An open file that can be made to seem to end where it is."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._read = file.read
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        return b"" if self._ended else self._read(size)

    def end(self) -> None:
        self._ended = True
