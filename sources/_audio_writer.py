"""Audio to a file as it comes, on a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from io import FileIO
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from streaming.audio import SAMPLE_RATE
from streaming.errors import ConfigurationError, SinkError

__all__ = ["AudioWriter", "Pcm"]

Pcm = NDArray[np.int16]
"""Samples of one channel, shape ``(n,)``, or of several, shape ``(n, channels)``."""

_FORMATS = {".wav": "pcm_s16le", ".flac": "flac"}
"""Codecs; the containers have the names of the extensions."""
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""By the number of channels, as FLAC has them."""
_ROOM_SAMPLES = 30 * SAMPLE_RATE
_MOST_AT_ONCE = SAMPLE_RATE


class AudioWriter:
    """Writes 16 kHz audio of 16 bits to a WAV or FLAC file, by its extension.

    All but the newest second is with the operating system at any time, so that little is lost
    where the process dies; FFmpeg, and what stands on it, reads a file that was not finished.

    Args:
        path: the file; overwritten in place, from `begin` on.
        channels: 1 to 8.

    Raises:
        ConfigurationError: another extension, or number of channels.
    """

    def __init__(self, path: str | os.PathLike[str], *, channels: int = 1) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise ConfigurationError(f"cannot record to {path}: the extension must be {known}")
        if not 1 <= channels <= len(_LAYOUTS):
            raise ConfigurationError(
                f"a recording has 1 to {len(_LAYOUTS)} channels, not {channels}"
            )
        self._channels = channels
        self._jobs: SimpleQueue[Pcm | int | None] = SimpleQueue()
        self._n_given = 0
        self._n_taken = 0
        """Each of the two is counted on one thread alone."""
        self._at = 0
        self._opened = self._asked = self._begun = self._ended = self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self.error: SinkError | None = None
        """Why nothing more is written."""

    async def open(self) -> None:
        """Open the file, or create it. What it holds is kept until `begin`.

        Raises:
            SinkError: it cannot be written.
        """
        self._loop = asyncio.get_running_loop()
        # A daemon: a disk that hangs must not keep the process.
        threading.Thread(target=self._run, name=f"write {self._path.name}", daemon=True).start()
        try:
            await self._until(lambda: self._opened)
            if self.error is not None:
                raise self.error
        except BaseException:
            self._jobs.put(None)
            raise

    async def begin(self) -> None:
        """Empty the file, and write what comes before the audio; once is enough.

        Raises:
            SinkError: it cannot be written.
        """
        if not self._asked:
            self._asked = True
            self._jobs.put(0)
        if not self._begun:
            await self._until(lambda: self._begun)
            if self.error is not None:
                raise self.error

    @property
    def has_room(self) -> bool:
        """False while half a minute of audio waits to be written."""
        return self._n_given - self._n_taken < _ROOM_SAMPLES

    async def room(self) -> None:
        """Wait until there is room. After an error there always is."""
        await self._until(lambda: self.has_room)

    def write(self, samples: Pcm) -> None:
        """Append audio, which must not change afterwards. Never waits: see to the room first."""
        self._n_given += len(samples)
        self._jobs.put(samples)

    def skip(self, n_samples: int) -> None:
        """Append silence."""
        self._jobs.put(n_samples)

    def give_up(self) -> None:
        """Write nothing more: the disk is too slow."""
        self.error = self.error or self._failure("the disk does not keep up")

    async def close(self, timeout_s: float) -> None:
        """Finish the file; one that was not begun stays as it was.

        Raises:
            SinkError: something could not be written, here or before, or not in time.
        """
        self._jobs.put(None)
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._closed)
        except TimeoutError:
            self.give_up()
        if self.error is not None:
            raise self.error

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            if not condition():
                await self._changed.wait()

    def _failure(self, reason: str) -> SinkError:
        return SinkError(f"cannot write {self._path}: {reason}")

    # The rest runs on the thread.

    def _run(self) -> None:
        try:
            self._write_all()
        except Exception as error:  # FFmpeg has many, and somebody waits for this thread
            self.error = self.error or self._failure(getattr(error, "strerror", "") or str(error))
        self._opened = self._begun = True
        self._wake()
        if not self._ended:
            for job in self._given():
                self._took(job)
        self._closed = True
        self._wake()

    def _write_all(self) -> None:
        if not self._path.parent.is_dir():
            reason = f"the folder {self._path.parent} does not exist; create it first"
            raise FileNotFoundError(errno.ENOENT, reason)
        with open(self._path, "wb", buffering=0, opener=_as_it_is) as file:
            self._opened = True
            self._wake()
            if self._jobs.get() is None:
                self._ended = True
                return
            if os.fstat(file.fileno()).st_size:
                file.truncate(0)
            self._encode(file)

    def _encode(self, file: FileIO) -> None:
        import av  # FFmpeg is loaded on use, and here: off the event loop
        from av.audio.stream import AudioStream

        extension = self._path.suffix.lower()
        layout = _LAYOUTS[self._channels - 1]
        # At once to the disk; and more than 4 GB, which are 37 hours, make it an RF64.
        options = {"flush_packets": "1", **({"rf64": "auto"} if extension == ".wav" else {})}
        with av.open(file, "w", format=extension[1:], container_options=options) as container:
            stream = container.add_stream(_FORMATS[extension], rate=SAMPLE_RATE, layout=layout)
            assert isinstance(stream, AudioStream)
            container.start_encoding()
            self._begun = True
            self._wake()
            for job in self._given():
                for pcm in self._pieces(job):
                    frame = av.AudioFrame.from_ndarray(
                        pcm.reshape(1, -1), format="s16", layout=layout
                    )
                    frame.sample_rate = SAMPLE_RATE
                    frame.time_base = Fraction(1, SAMPLE_RATE)
                    frame.pts = self._at
                    container.mux(stream.encode(frame))
                    self._at += len(pcm)
                self._took(job)
                if self.error is not None:
                    return
            self._ended = True
            container.mux(stream.encode(None))

    def _given(self) -> Iterator[Pcm | int]:
        """What there is to write, until the end is asked for."""
        while (job := self._jobs.get()) is not None:
            yield job

    def _pieces(self, job: Pcm | int) -> Iterator[Pcm]:
        n_samples = job if isinstance(job, int) else len(job)
        for at in range(0, n_samples, _MOST_AT_ONCE):
            n = min(_MOST_AT_ONCE, n_samples - at)
            if isinstance(job, int):
                yield np.zeros((n, self._channels), np.int16)
            else:
                yield np.ascontiguousarray(job[at : at + n])

    def _took(self, job: Pcm | int) -> None:
        if not isinstance(job, int):
            self._n_taken += len(job)
        self._wake()

    def _wake(self) -> None:
        assert self._loop is not None
        with suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._changed.set)


def _as_it_is(path: str, flags: int) -> int:
    """Opens a file without emptying it."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)
