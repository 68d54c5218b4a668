"""Raw audio from a pipe: signed 16 bits, little-endian, 16 kHz, mono."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from streaming.audio import AudioChunk
from streaming.errors import SourceError

from ._background import BackgroundReader

__all__ = ["PcmStdinSource"]

BLOCK_BYTES = 3200
"""Most that is read at once: 0.1 s."""
LEAST_BYTES = 640
"""Least that makes a chunk, except at the end: 20 ms."""
AHEAD = 32
"""Chunks read before they are asked for; the pipe then holds the writer back."""
HEADERS = {
    b"RIFF": "wav",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"FORM": "aiff",
    b"caff": "caf",
    b"ID3": "mp3",
    b"\x1aE\xdf\xa3": "webm or mkv",
    b"\0\0\0\x18ftyp": "mp4",
    b"\0\0\0\x1cftyp": "mp4",
    b"\0\0\0\x20ftyp": "mp4",
}
"""First bytes of media files, which are not raw audio."""
CONVERT = "convert it: ffmpeg -i FILE -f s16le -ar 16000 -ac 1 - | ..."


class PcmStdinSource:
    """Raw s16le 16 kHz mono audio, as it arrives.

    It is read on a daemon thread: a writer that says nothing neither blocks the event loop nor
    holds up cancellation or the end of the program. Half a sample at the end is left out.

    Args:
        stream: a binary stream; standard input if None.
        live: True where the writer records: audio is then dropped, and reported, when work
            does not keep up. Otherwise the writer is made to wait.

    Raises:
        SourceError: on entering or iterating; the stream is closed, a terminal, empty, not
            raw audio, or fails.
    """

    def __init__(self, stream: BinaryIO | None = None, *, live: bool = False) -> None:
        self.live = live
        self._stream = stream
        self._reader: BackgroundReader[AudioChunk] | None = None

    async def __aenter__(self) -> Self:
        stream: Any = self._stream
        if stream is None:
            stream = getattr(sys.stdin, "buffer", None)
        if stream is None or stream.closed:
            raise SourceError("standard input is closed; pipe raw s16le 16 kHz mono audio into it")
        if stream.isatty():
            raise SourceError(
                "standard input is a terminal; pipe raw s16le 16 kHz mono audio into it"
            )
        # Below the buffer: its lock, held by a blocked read, would abort the interpreter's exit.
        chunks = _chunks(getattr(stream, "raw", stream))
        self._reader = BackgroundReader(chunks, ahead=AHEAD, name="pcm source")
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._reader is not None:
            await self._reader.close(timeout_s=0.0)  # nothing to free, and the read may never end

    def __aiter__(self) -> AsyncIterator[AudioChunk]:
        return self

    async def __anext__(self) -> AudioChunk:
        if self._reader is None:
            raise SourceError("a source is iterated inside `async with`")
        chunk = await self._reader.get()
        if chunk is None:
            raise StopAsyncIteration
        return chunk


def _chunks(stream: Any) -> Generator[AudioChunk, None, None]:
    position = 0
    held = b""
    while True:
        try:
            data = stream.read(BLOCK_BYTES)
        except (OSError, ValueError) as error:
            raise SourceError(f"standard input cannot be read: {error}") from error
        if data is None:
            raise SourceError("standard input does not block; pipe the audio through `cat`")
        held += data
        if data and len(held) < LEAST_BYTES:
            continue
        if not position:
            _check_start(held)
        whole = len(held) - len(held) % 2
        if whole:
            samples = np.frombuffer(held[:whole], "<i2").astype(np.float32) / np.float32(32768)
            yield AudioChunk(samples, position)
            position += len(samples)
        held = held[whole:]
        if not data:
            return


def _check_start(held: bytes) -> None:
    if len(held) < 2:
        raise SourceError("no audio came on standard input; check the command that is to write it")
    kind = next((kind for head, kind in HEADERS.items() if held.startswith(head)), None)
    if kind is not None:
        raise SourceError(
            f"standard input carries a {kind} file, not raw s16le 16 kHz mono audio; {CONVERT}"
        )
