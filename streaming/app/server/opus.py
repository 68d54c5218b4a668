"""Opus in WebM or Ogg, as it comes: FFmpeg (PyAV) on a thread of its own.

FFmpeg reads through a callback that may block, so the demuxer of each session has a daemon
thread, which most of its time waits for bytes in `_Inlet.read`. FFmpeg holds nothing back: the
audio of an Ogg page or a WebM block is out once its last byte is in. What strangers send is
bounded: two containers, one codec, a few streams, so many bytes without audio, and so many
seconds of audio in one frame.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from sources._resample import Resampler, mix_down

from ...audio import Samples, samples_from_seconds
from .refusal import INVALID, UNSUPPORTED, Refusal

__all__ = ["OpusDecoder"]

RATE = 48_000
"""Hertz. FFmpeg decodes all Opus to this."""
MAX_BARREN_BYTES = 1 << 20
"""Bytes without audio: a header with a picture has fewer. FFmpeg makes up to 33 times as much
memory of what a hostile header holds, and frees it again."""
BARREN = f"no audio in {MAX_BARREN_BYTES} bytes"
MAX_PUSH_S = 30
"""Audio in one push, which a `Feed` can take: 256 KiB of 14 kbit/s. Two bytes can make 0.12 s."""
JUMP_S, MAX_JUMP_S = 0.1, 60.0
"""A timestamp later by this much tells of lost audio; by less it is jitter, by more a new clock."""
CLOSE_TIMEOUT_S = 1.0
FORMATS = {b"OggS": "ogg", b"\x1aE\xdf\xa3": "matroska"}
OPTIONS = {
    "codec_whitelist": "opus,libopus",
    "max_streams": "8",
    # So that a picture track beside the sound is not waited for. Microseconds.
    "probesize": "65536",
    "analyzeduration": "100000",
}


class OpusDecoder:
    """A container's bytes, cut anywhere; a `streaming.app.server.decoders.Decoder`.

    Damage costs Ogg what is damaged, and WebM, which has no marks to find back to, often more;
    it becomes silence where the timestamps after it show how long it was.
    A decoder belongs to one event loop.
    """

    unit: Literal["samples", "bytes"] = "bytes"

    def __init__(self) -> None:
        self.position = 0
        self._inlet = _Inlet(self._wake)
        self._decoded: list[Samples] = []  # the loop's while the thread is idle, else the thread's
        self._held = 0  # samples in it
        self._error: Exception | None = None
        self._done = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    async def push(self, data: bytes) -> Samples:
        """See `Decoder`."""
        await self._until_idle()
        if not self._done:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                threading.Thread(target=self._run, name="opus decoder", daemon=True).start()
            self._inlet.put(data)
            self.position += len(data)
            await self._until_idle()
        return self._taken()

    def forget_rest(self) -> None:
        """See `Decoder`. Bytes are never torn."""

    def skip(self, count: int) -> int:
        """See `Decoder`. Always refused: what follows lost bytes may be in the midst of a page."""
        raise Refusal(
            "bad_message",
            "skip is for raw samples; with opus, begin a new session",
            close_code=INVALID,
        )

    async def finish(self) -> Samples:
        """See `Decoder`."""
        await self._until_idle()
        self._inlet.end()
        await self._until_done()
        return self._taken()

    async def aclose(self) -> None:
        """See `Decoder`. The thread ends after the packet that it decodes."""
        self._inlet.end(at_once=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._until_done()

    async def _until_idle(self) -> None:
        while not (self._loop is None or self._inlet.idle or self._done):
            self._changed.clear()
            await self._changed.wait()

    async def _until_done(self) -> None:
        while not (self._loop is None or self._done):
            self._changed.clear()
            await self._changed.wait()

    def _taken(self) -> Samples:
        """What is decoded, or else what became of it. Only while the thread is idle."""
        if not self._decoded:
            if self._error is not None:
                raise self._error
            return np.zeros(0, np.float32)
        taken = np.concatenate(self._decoded)
        self._decoded, self._held = [], 0
        return taken

    def _run(self) -> None:
        try:
            for samples in _audio(self._inlet):
                self._held += len(samples)
                if self._held > samples_from_seconds(MAX_PUSH_S):
                    raise _bad(f"more than {MAX_PUSH_S} s of audio in one frame; send shorter ones")
                self._decoded.append(samples)
            if not self._inlet.ended:
                raise _bad(f"this Opus cannot be decoded further: {BARREN}")
        except av.FFmpegError as error:
            reason = BARREN if self._inlet.barren else error.strerror
            self._error = _bad(f"this Opus cannot be decoded: {reason}")
        except Exception as error:
            self._error = error
        self._done = True
        self._wake()

    def _wake(self) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._changed.set)


class _Inlet:
    """The file that FFmpeg reads: bytes as they come, and a wait where there are none.

    Args:
        wake: called when all bytes were read and more are wanted.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._bytes = bytearray()
        self.idle = False
        self.ended = False
        self.stopped = False
        self.taken = 0
        self.fruitful = 0
        """Bytes read before the latest audio."""

    def put(self, data: bytes) -> None:
        with self._changed:
            self._bytes += data
            self.idle = self.idle and not data
            self._changed.notify()

    def end(self, *, at_once: bool = False) -> None:
        """No more bytes; of those that are there, read none if ``at_once``."""
        with self._changed:
            self.ended = True
            self.stopped = self.stopped or at_once
            self._changed.notify()

    def read(self, size: int) -> bytes:
        """At most so many bytes, and at least one before the end. Called by FFmpeg."""
        with self._changed:
            while not (self._bytes or self.ended):
                self.idle = True
                self._wake()
                self._changed.wait()
            if self.stopped or self.barren:
                return b""
            data = bytes(self._bytes[:size])
            del self._bytes[:size]
            self.taken += len(data)
            return data

    @property
    def barren(self) -> bool:
        """Too many bytes came without audio."""
        return self.taken - self.fruitful > MAX_BARREN_BYTES

    def unread(self, data: bytes) -> None:
        with self._changed:
            self._bytes[:0] = data


def _bad(message: str) -> Refusal:
    return Refusal("bad_audio", message, close_code=UNSUPPORTED)


def _audio(inlet: _Inlet) -> Iterator[Samples]:
    """All audio of what is read, 16 kHz mono; blocks."""
    resampler = Resampler(RATE)
    end_s: float | None = None
    for frame in _frames(inlet):
        inlet.fruitful = inlet.taken
        time_s = frame.time
        if time_s is not None and end_s is not None and JUMP_S < time_s - end_s <= MAX_JUMP_S:
            yield resampler.push(np.zeros(round((time_s - end_s) * RATE), np.float32))
        if time_s is not None:
            end_s = time_s + frame.samples / RATE
        # Damaged Opus may decode to anything.
        yield resampler.push(np.nan_to_num(mix_down(frame.to_ndarray().T)))
    yield resampler.flush()


def _frames(inlet: _Inlet) -> Iterator[AudioFrame]:
    head = b""
    while len(head) < 4 and (more := inlet.read(4 - len(head))):
        head += more
    if not head:
        return
    if head not in FORMATS:
        raise _bad("this is neither WebM nor Ogg; send what MediaRecorder or ffmpeg write")
    inlet.unread(head)
    with av.open(
        inlet, "r", format=FORMATS[head], options=OPTIONS, metadata_errors="ignore"
    ) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context is None:
            raise _bad("no Opus in this container")
        if (codec := stream.codec_context.codec.canonical_name) != "opus":
            raise _bad(f"the audio is {codec}, not Opus")
        for packet in container.demux(stream):
            if inlet.stopped:
                return
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            yield from (frame for frame in frames if frame.samples)
