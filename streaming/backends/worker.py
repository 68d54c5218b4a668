"""The daemon thread that a loaded backend runs on.

Not an executor: those are joined at interpreter exit, and a native pass cannot be stopped
in the middle of its encoder. A daemon thread lets the program go; whoever waits for a pass
can stop waiting at any time, and its result is then discarded.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass

from ..errors import BackendError, StreamingError
from ..protocols import Backend, Hypothesis, Window

__all__ = ["BackendWorker", "Decoded"]

_CLOSED = "the backend is closed"
_BACKGROUND_NICENESS = 10


@dataclass(frozen=True, slots=True)
class Decoded:
    """A hypothesis and what it took."""

    hypothesis: Hypothesis
    compute_s: float
    """Wall time of the pass on the worker's thread."""
    queue_s: float
    """How long it waited for other passes."""


class BackendWorker:
    """Loads a backend on its own thread and serves passes there, one at a time, in order.

    Any number of sessions may share a worker; each has at most one pass out, so the queue
    is as short as the number of sessions, and ``max_waiting`` bounds it.

    Args:
        load: makes the backend; runs on the worker's thread.
        max_waiting: passes that may wait; one more is an error.
        background: leave the processor to others first (on Linux; elsewhere all threads of
            a process have one priority, or priorities do not work like this).
    """

    def __init__(
        self, load: Callable[[], Backend], *, max_waiting: int = 64, background: bool = False
    ) -> None:
        self._load = load
        self._background = background
        self._jobs: queue.Queue[tuple[Window, Future[Decoded], float] | None] = queue.Queue(
            max_waiting
        )
        self._loaded: Future[Backend] = Future()
        self._running: Future[Decoded] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="backend", daemon=True)
        self._started = False

    def start(self) -> None:
        """Begin to load, if that has not begun yet; returns at once."""
        with self._lock:
            if not self._started and not self._closed:
                self._started = True
                self._thread.start()

    @property
    def loaded(self) -> Future[Backend]:
        """Done once `start` was called and the model is loaded, or could not be."""
        return self._loaded

    def submit(self, window: Window) -> Future[Decoded]:
        """Queue one pass. Cancelling the future drops it or, if it runs, aborts it.

        Raises:
            BackendError: the worker is closed, or too many passes wait already.
            StreamingError: the backend could not be loaded.
        """
        self.start()
        future: Future[Decoded] = Future()
        with self._lock:
            if self._closed:
                failed = self._loaded.exception() if self._loaded.done() else None
                raise failed or BackendError(_CLOSED)
            try:
                self._jobs.put_nowait((window, future, time.perf_counter()))
            except queue.Full:
                raise BackendError(f"{self._jobs.maxsize} passes wait for the backend") from None
        future.add_done_callback(self._abort_if_cancelled)
        return future

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop after the running pass, which is asked to abort.

        Returns:
            True if the thread ended in time and the model was freed. False leaves a daemon
            thread behind that ends with its native pass.
        """
        with self._lock:
            already, self._closed = self._closed, True
        if not self._started:
            if not already:
                self._loaded.set_exception(BackendError(_CLOSED))
            return True
        if not already:
            self._drop_waiting(BackendError(_CLOSED))
            if self._loaded.done() and not self._loaded.exception():
                self._loaded.result().abort()
            self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _drop_waiting(self, error: BaseException) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return
            if job is not None and job[1].set_running_or_notify_cancel():
                job[1].set_exception(error)

    def _abort_if_cancelled(self, future: Future[Decoded]) -> None:
        if not future.cancelled():
            return
        with self._lock:  # so that no other pass begins meanwhile and is hit instead
            if self._running is future:
                self._loaded.result().abort()

    def _run(self) -> None:
        if self._background and sys.platform == "linux":
            # Before the native threads are made: they inherit it.
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + _BACKGROUND_NICENESS
            os.setpriority(os.PRIO_PROCESS, 0, min(niceness, 19))
        try:
            backend = self._load()
        except BaseException as error:  # the waiting side decides what to do with it
            self._loaded.set_exception(error)
            with self._lock:
                self._closed = True
            self._drop_waiting(error)
            return
        self._loaded.set_result(backend)
        while (job := self._jobs.get()) is not None:
            self._serve(backend, *job)
        backend.close()

    def _serve(
        self, backend: Backend, window: Window, future: Future[Decoded], asked: float
    ) -> None:
        with self._lock:
            if future.cancelled():
                return
            self._running = future
        started = time.perf_counter()
        try:
            hypothesis = backend.decode(window)
        except StreamingError as error:
            outcome: Decoded | BaseException = error
        except Exception as error:
            outcome = BackendError(f"{backend.name} failed: {error or type(error).__name__}")
            outcome.__cause__ = error
        else:
            outcome = Decoded(hypothesis, time.perf_counter() - started, started - asked)
        with self._lock:
            self._running = None
            if self._closed and isinstance(outcome, Decoded):
                outcome = BackendError(_CLOSED)  # it was asked to abort: it heard not all
        # The future stays "pending" while it runs, so that whoever waits can cancel it.
        try:
            if isinstance(outcome, Decoded):
                future.set_result(outcome)
            else:
                future.set_exception(outcome)
        except InvalidStateError:
            pass  # cancelled meanwhile: the result is discarded
