"""The two channels of a stereo file as two sources: a call recorded with one end on each side."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing

from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError
from streaming.protocols import Source

from ._address import is_url, shown
from ._chunker import Chunker
from ._fan import Fan
from ._media_chunks import chunks
from ._pace import Pace, Pacer
from ._part import Part
from ._threaded import ThreadedSource

__all__ = ["split"]

_Step = tuple[tuple[AudioChunk], tuple[AudioChunk]]


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


class _Channels(ThreadedSource[_Step]):
    """Both side by side, as a `Fan` shares them out."""

    def __init__(self, location: str, pace: Pace, chunk_s: float, part: Part) -> None:
        steps = self._steps(location, (Chunker(chunk_s), Chunker(chunk_s)), part)
        super().__init__(steps, part=part, pacer=Pacer(pace))

    def _steps(
        self, location: str, chunkers: tuple[Chunker, Chunker], part: Part
    ) -> Generator[_Step, None, None]:
        with closing(chunks(location, *chunkers, part=part, opened=self._opened)) as pairs:
            for left, right in pairs:
                yield (left,), (right,)

    def _paced(self, item: _Step) -> AudioChunk:
        return item[0][0]
