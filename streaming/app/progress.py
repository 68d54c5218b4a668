"""How a model comes along, on stderr."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self, TextIO

from ..backends.pool import BackendPool
from ..models import Stage
from .compose import make_final_worker, make_worker
from .settings import Settings

__all__ = ["ModelProgress", "command_workers"]

_SAYS: dict[Stage, str] = {
    "wait": "waiting for another process that prepares the model",
    "download": "downloading the model",
    "convert": "preparing the model from its installed package",
    "quantize": "quantizing the model",
}
_EVERY_S = 0.1


class ModelProgress:
    """A line that is redrawn in place on a terminal, and one line a stage elsewhere.

    Call it from any thread, as often as there is news; it draws ten times a second at most.
    A stage that is complete, and `close`, leave the terminal as it was.

    Args:
        stream: standard error by default.
        clock: seconds, rising.
    """

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._in_place = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._lock = threading.Lock()
        self._stage: Stage | None = None
        self._drawn_at = 0.0
        self._width = 0
        self._closed = False

    def __call__(self, stage: Stage, done: int, total: int) -> None:
        """Tell the stage, the bytes done and the bytes in all, 0 if they are not known."""
        with self._lock:
            if self._closed:
                return
            begins, self._stage = stage != self._stage, stage
            if not self._in_place:
                if begins:
                    self._write(_SAYS[stage] + "\n")
            elif total and done >= total:
                self._draw("")
            elif begins or self._clock() - self._drawn_at >= _EVERY_S:
                self._draw(_line(stage, done, total))

    def close(self) -> None:
        """Remove the line; whatever is told later is not shown."""
        with self._lock:
            self._closed = True
            self._draw("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self, line: str) -> None:
        line = line[: shutil.get_terminal_size().columns - 1]
        if line or self._width:
            # Spaces instead of an escape sequence: they need nothing of the terminal.
            self._write("\r" + " " * self._width + "\r" + line)
        self._width, self._drawn_at = len(line), self._clock()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody watches; the model is still wanted
            self._closed = True


def _line(stage: Stage, done: int, total: int) -> str:
    if not total:
        return _SAYS[stage]
    return f"{_SAYS[stage]}: {done / total:4.0%} of {total / 1e6:.0f} MB"


@contextmanager
def command_workers(settings: Settings) -> Iterator[tuple[BackendPool, BackendPool | None]]:
    """Workers for the model and the final one, which show how their models come along.

    They are closed in the end.

    Raises:
        ConfigurationError: unknown backend.
    """
    with ModelProgress() as progress, ExitStack() as stack:
        worker = make_worker(settings, progress=progress)
        final_worker = make_final_worker(settings, progress=progress)
        awaited = [worker]
        if final_worker is not None:
            stack.callback(final_worker.close, timeout_s=0.2)
            if settings.pace != "realtime":
                awaited.append(final_worker)
        stack.callback(worker.close, timeout_s=0.2)

        def close(_: object) -> None:
            if all(each.loaded.done() for each in awaited):
                progress.close()

        # Before anybody who waits for the models goes on: the terminal is theirs then.
        for each in awaited:
            each.loaded.add_done_callback(close)
        yield worker, final_worker
