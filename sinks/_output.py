"""Where text goes: a file, standard output or a stream, written off the event loop.

Every output owns a thread, because a write may block for ever (a full pipe, a stopped
terminal) and the event loop must not. The thread is a daemon: an executor's threads are
joined at exit and would turn a stalled reader into a hang.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import select
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TextIO

from streaming.errors import NobodyReadsError, SinkError
from streaming.events import Event

__all__ = ["Output", "OutputSink", "Target"]

Target = str | os.PathLike[str] | TextIO
"""A path, ``"-"`` for standard output, or a stream opened by the caller."""

_CLOSE_LIMIT_S = 1.0

_Job = tuple[Callable[[], None], "Future[Exception | None]"]


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Run jobs in order; an error is a result, so that nobody has to collect it."""
    while (job := jobs.get()) is not None:
        call, done = job
        try:
            call()
        except Exception as error:
            done.set_result(error)
        else:
            done.set_result(None)


class Output:
    """A text destination: UTF-8 and plain line feeds on every platform.

    Nothing is buffered here: what `write` has returned from is with the operating system.
    A file is overwritten in place from the start, not swapped in at the end, since it is a
    log that others may follow while it grows. A stream of the caller's is written in its
    own encoding, flushed, and left open.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._is_stdout = target == "-" or target is sys.stdout
        self._owned = isinstance(target, str | os.PathLike) and not self._is_stdout
        self.name = self._name()
        """For messages: the path, or "standard output"."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._stream: TextIO | None = None
        self._raw: io.RawIOBase | None = None
        self._failed = False
        self._newest: Future[Exception | None] | None = None

    @property
    def busy(self) -> bool:
        """True while something that was given is not yet with the operating system."""
        return self._newest is not None and not self._newest.done()

    async def open(self) -> None:
        """Open the destination and start its thread.

        Raises:
            SinkError: it cannot be opened.
        """
        worker = threading.Thread(target=_work, args=(self._jobs,), daemon=True)
        worker.name = f"output {self.name}"
        worker.start()
        try:
            self._check(await self._run(self._open))
        except SinkError:
            self._jobs.put(None)
            raise

    async def write(self, text: str) -> None:
        """Write all of it. Cancelling stops the waiting; the text is still written.

        Raises:
            SinkError: the destination failed.
            NobodyReadsError: nobody reads standard output any more.
        """
        self._check(await self._run(lambda: self._write(text)))

    async def close(self, last: str = "", *, quiet: bool = False) -> None:
        """Write what is left and close, waiting at most a second. After a failure: nothing.

        Args:
            last: text to write before closing.
            quiet: swallow errors, for when another one is on its way.

        Raises:
            SinkError: the destination failed, or takes no data.
            NobodyReadsError: nobody reads standard output any more.
        """
        jobs = []
        if last and not self._failed:
            jobs.append(self._run(lambda: self._write(last)))
        jobs.append(self._run(self._close))
        self._jobs.put(None)
        try:
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                for job in jobs:
                    self._check(await job)
        except TimeoutError:
            if not quiet:
                raise SinkError(f"cannot write {self.name}: its reader takes no data") from None
        except (SinkError, BrokenPipeError):
            if not quiet:
                raise

    def _name(self) -> str:
        if self._is_stdout:
            return "standard output"
        if isinstance(self._target, str | os.PathLike):
            return os.fspath(self._target)
        return str(getattr(self._target, "name", "the stream"))

    def _run(self, call: Callable[[], None]) -> asyncio.Future[Exception | None]:
        done: Future[Exception | None] = Future()
        self._newest = done
        self._jobs.put((call, done))
        return asyncio.shield(asyncio.wrap_future(done))

    def _check(self, error: Exception | None) -> None:
        if error is None:
            return
        self._failed = True
        if isinstance(error, BrokenPipeError) and self._is_stdout:
            raise NobodyReadsError(*error.args) from error
        if isinstance(error, OSError):
            raise SinkError(f"cannot write {self.name}: {_reason(error)}") from error
        if isinstance(error, ValueError):  # a closed stream, an encoding that lacks a letter
            raise SinkError(f"cannot write {self.name}: {error}") from error
        raise error

    # The rest runs on the thread.

    def _open(self) -> None:
        if isinstance(self._target, str | os.PathLike) and not self._is_stdout:
            path = Path(self._target)
            if not path.parent.is_dir():
                reason = f"the folder {path.parent} does not exist; create it first"
                raise FileNotFoundError(errno.ENOENT, reason)
            self._raw = path.open("wb", buffering=0)
            return
        stream = sys.stdout if self._is_stdout else self._target
        if stream is None:
            raise ValueError("it is closed")
        assert not isinstance(stream, str | os.PathLike)
        self._stream = stream
        if stream in (sys.stdout, sys.stderr):
            # Below their buffers: a thread stuck inside those would abort the interpreter
            # at exit, and Windows would encode with the code page.
            stream.flush()
            buffer = getattr(stream, "buffer", None)
            self._raw = getattr(buffer, "raw", buffer)

    def _write(self, text: str) -> None:
        if self._raw is None:
            assert self._stream is not None
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode("utf-8", errors="replace"))
        while data:
            written = self._raw.write(data)
            if written is None:  # a pipe that somebody made non-blocking is full
                select.select([], [self._raw], [])
            else:
                data = data[written:]

    def _close(self) -> None:
        if self._raw is not None and self._owned:
            self._raw.close()


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


class OutputSink:
    """Base of the sinks that turn events into text: override ``head``, ``format``, ``tail``.

    Each of the three returns the text to append now, or ""; none of them may wait.
    """

    def __init__(self, target: Target) -> None:
        self._output = Output(target)

    @property
    def name(self) -> str:
        """For messages: the path, or "standard output"."""
        return self._output.name

    def head(self) -> str:
        """What the output begins with."""
        return ""

    def format(self, event: Event) -> str:
        """What one event adds."""
        raise NotImplementedError

    def tail(self) -> str:
        """What ends the output, however the run ended."""
        return ""

    async def __aenter__(self) -> Self:
        await self._output.open()
        if head := self.head():
            try:
                await self._output.write(head)
            except BaseException:
                await self._output.close(quiet=True)
                raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._output.close(self.tail(), quiet=exc is not None)

    async def write(self, event: Event) -> None:
        """Append what the event adds.

        Raises:
            SinkError: the destination failed.
            NobodyReadsError: nobody reads standard output any more.
        """
        if text := self.format(event):
            await self._output.write(text)
