"""Loaded backends that any number of sessions share, each on a daemon thread of its own.

Passes run earliest deadline first (Liu and Layland, "Scheduling Algorithms for
Multiprogramming in a Hard-Real-Time Environment", J. ACM 20(1), 1973), but a pass under way is
never put aside. A deadline counts from when its pass was asked for, so what has waited past its
own is overtaken by nothing that is asked for later. As a session has at most one pass out, at
most one of every other session then still goes before it: nobody starves, however much more is
asked for than the machine can do.

Not an executor: those are joined at interpreter exit, and a native pass cannot be stopped
in the middle of its encoder. A daemon thread lets the program go, soon; whoever waits for a pass
can stop waiting at any time, and its result is then discarded.

A native pass that hangs cannot be ended. Past its limit the pool ends instead: whoever waits is
told, and nothing more is taken, as another pass on that model could not be trusted.
"""

from __future__ import annotations

import asyncio
import atexit
import heapq
import itertools
import math
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from ..errors import BackendError, ConfigurationError, StreamingError
from ..hypothesis_check import defect_of
from ..protocols import Backend, Hypothesis, Window

__all__ = ["PASS_LIMIT_S", "BackendPool", "Decoded", "PoolStatistics"]

PASS_LIMIT_S = 120.0
"""Tiny.en takes 0.4 s for a window of half a minute on two cores. The largest model has forty
times its weights, and may hear a window a second time in one pass: half a minute, and four times
that on a slow machine."""

_CLOSED = "the backend is closed"
_UNHURRIED_S = 10.0
"""Patience of a pass that comes without a deadline: live ones go first, but not for ever."""
_BACKGROUND_NICENESS = 10

_AT_EXIT_S = 5.0
"""Longer than a pass takes, so that only one that hangs is left behind."""
_LOOK_S = 1.0
_LOOKS = 20
"""At least so many looks make up the limit of a pass, however short it is."""

_RECENT_S = 10.0
_RECENT_PASSES = 256
"""Passes whose waits are remembered: at most so many, of so long."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A hypothesis and what it took."""

    hypothesis: Hypothesis
    compute_s: float
    """Wall time of the pass on its thread."""
    queue_s: float
    """How long it waited for other passes."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool is doing, and how it keeps up."""

    failed: bool
    """It takes no passes any more."""
    waiting: int
    """Passes that wait for a worker."""
    running: int
    busy_s: float
    """Wall time of all passes that have ended, on all workers."""
    waits_s: tuple[float, ...]
    """How long each pass that came with a deadline waited for others of its kind, over the last
    ten seconds. What a pass without one held up is not in it: it would have been gone before the
    next."""


@dataclass(frozen=True, order=True, slots=True)
class _Job:
    """A pass that waits; the smallest is the next one to run."""

    deadline_s: float
    number: int
    """Rises with every arrival, and decides between equal deadlines."""
    window: Window = field(compare=False)
    future: Future[Decoded] = field(compare=False)
    asked_s: float = field(compare=False)
    urgent: bool = field(compare=False)
    """Came with a deadline."""


@dataclass(slots=True)
class _Running:
    """A pass under way."""

    backend: Backend
    watched_s: float = 0.0
    """How long it has been seen to run. Not by a clock, which goes on while the process is
    stopped (Ctrl-Z) or the machine asleep."""


class BackendPool:
    """Loads backends, each on its own thread, and serves passes there in order of deadlines.

    Any number of sessions may share a pool; each has at most one pass out, so the queue
    is as short as the number of sessions, and ``max_waiting`` bounds it.

    Args:
        load: makes one backend. Called on each thread, never by two at once; the first backend
            serves while the others are loaded. If one cannot be loaded, the whole pool ends.
        workers: backends, and so passes that run at the same time. They slow each other down
            where ``workers`` times the threads of a pass exceeds the cores.
        max_waiting: passes that may wait; one more is an error.
        background: leave the processor to others first (on Linux; elsewhere all threads of
            a process have one priority, or priorities do not work like this).
        pass_limit_s: a pass that runs for longer hangs, and the pool then fails; 0 for no limit.

    Raises:
        ConfigurationError: less than one worker, or a limit below 0.
    """

    def __init__(
        self,
        load: Callable[[], Backend],
        *,
        workers: int = 1,
        max_waiting: int = 1024,
        background: bool = False,
        pass_limit_s: float = PASS_LIMIT_S,
    ) -> None:
        if workers < 1:
            raise ConfigurationError(f"a pool needs at least one worker, not {workers}")
        if not 0 <= pass_limit_s < math.inf:
            raise ConfigurationError(
                f"--pass-limit must be 0 (no limit) or seconds, not {pass_limit_s:g}"
            )
        self._load = load
        self._workers = workers
        self._max_waiting = max_waiting
        self._background = background
        self._limit_s = pass_limit_s
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ending = threading.Condition(self._lock)
        """The pool has failed or been closed, and after that: a pass has ended."""
        self._loading = threading.Lock()
        self._ready = 0
        self._loaded: Future[Backend] = Future()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._waiting: list[_Job] = []
        self._running: dict[Future[Decoded], _Running] = {}
        self._busy_s = 0.0
        self._waits: deque[tuple[float, float]] = deque(maxlen=_RECENT_PASSES)
        """When urgent passes began, and how long each had waited then."""
        self._error: BaseException | None = None
        self._ended: Future[BaseException] = Future()
        self._ended.set_running_or_notify_cancel()  # who stops waiting for it does not cancel it

    def start(self) -> None:
        """Begin to load, if that has not begun yet; returns at once."""
        with self._lock:
            if self._threads or self._error is not None:
                return
            _STARTED.add(self)
            for number in range(self._workers):
                self._threads.append(_started(self._run, f"backend {number}"))
            if self._limit_s:
                _started(self._watch, "pass limit")

    @property
    def loaded(self) -> Future[Backend]:
        """Done once `start` was called and the first backend is loaded, or could not be."""
        return self._loaded

    @property
    def error(self) -> BaseException | None:
        """Why no pass is taken any more; None while passes are."""
        return self._error

    @property
    def ended(self) -> Future[BaseException]:
        """Done with `error` once there is one."""
        return self._ended

    async def ready(self) -> Backend:
        """The first backend, once it is loaded.

        Raises:
            StreamingError: it could not be loaded.
        """
        # Shielded: other sessions may wait for the same model.
        return await asyncio.shield(asyncio.wrap_future(self._loaded))

    def submit(self, window: Window, *, deadline_s: float | None = None) -> Future[Decoded]:
        """Queue one pass. Cancelling the future drops it or, if it runs, aborts it.

        Args:
            window: what to decode.
            deadline_s: when the answer should be there, on the clock of `time.monotonic`. The
                earliest goes first; it is run all the same when it has passed. None stands for
                ten seconds from now.

        Raises:
            BackendError: the pool is closed, a pass hangs, or too many wait already.
            StreamingError: a backend could not be loaded.
        """
        self.start()
        urgent = deadline_s is not None
        if deadline_s is None:
            deadline_s = time.monotonic() + _UNHURRIED_S
        future: Future[Decoded] = Future()
        with self._lock:
            if self._error is not None:
                raise self._error
            if len(self._waiting) >= self._max_waiting:
                raise BackendError(f"{self._max_waiting} passes wait for the backend")
            asked_s = time.perf_counter()
            job = _Job(deadline_s, next(self._numbers), window, future, asked_s, urgent)
            heapq.heappush(self._waiting, job)
            self._changed.notify()
        future.add_done_callback(self._drop_if_cancelled)
        return future

    def statistics(self) -> PoolStatistics:
        """How things are now; from any thread."""
        since_s = time.perf_counter() - _RECENT_S
        with self._lock:
            return PoolStatistics(
                failed=self._error is not None,
                waiting=len(self._waiting),
                running=len(self._running),
                busy_s=self._busy_s,
                waits_s=tuple(wait_s for at_s, wait_s in self._waits if at_s >= since_s),
            )

    def close(self, timeout_s: float = 2.0) -> bool:
        """Stop after the running passes, which are asked to abort.

        Returns:
            True if all threads ended in time and the models were freed. False leaves daemon
            threads behind that end with their native passes.
        """
        self._stop(BackendError(_CLOSED))
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _stop(self, error: BaseException, *, hangs: bool = False) -> None:
        """Let every pass end with an error: those that wait now, those that run soon.

        Args:
            error: why.
            hangs: do not wait for those that run.
        """
        with self._lock:
            if self._error is None:
                self._error = error
            futures = [job.future for job in self._waiting]
            if hangs:
                futures += self._running
            self._waiting = []
            for running in self._running.values():
                running.backend.abort()
            self._changed.notify_all()
            self._ending.notify_all()
        for future in futures:
            _settle(future, error)
        _settle(self._loaded, error)
        with suppress(InvalidStateError):  # an error that is the result
            self._ended.set_result(self._error)

    def _drop_if_cancelled(self, future: Future[Decoded]) -> None:
        if not future.cancelled():
            return
        with self._lock:  # so that no other pass begins meanwhile and is hit instead
            if future in self._running:
                self._running[future].backend.abort()
            else:
                self._waiting = [job for job in self._waiting if job.future is not future]
                heapq.heapify(self._waiting)

    # -- on the threads -----------------------------------------------------------------------

    def _watch(self) -> None:
        """See that no pass takes too long, until there will be none."""
        every_s = min(_LOOK_S, self._limit_s / _LOOKS)
        longest_s = 0.0
        with self._lock:
            while longest_s <= self._limit_s:
                if self._error is not None and not self._running:
                    return
                if self._ending.wait(every_s):
                    continue
                for running in self._running.values():
                    running.watched_s += every_s
                    longest_s = max(longest_s, running.watched_s)
        reason = f"a pass has taken more than {self._limit_s:g} s"
        self._stop(BackendError(f"{reason}; --pass-limit allows more"), hangs=True)

    def _run(self) -> None:
        if self._background and sys.platform == "linux":
            # Before the native threads are made: they inherit it.
            niceness = os.getpriority(os.PRIO_PROCESS, 0) + _BACKGROUND_NICENESS
            os.setpriority(os.PRIO_PROCESS, 0, min(niceness, 19))
        backend = self._load_one()
        if backend is None:
            return
        free_s = 0.0
        while (job := self._next(backend, free_s)) is not None:
            self._serve(backend, job)
            if not job.urgent:
                free_s = time.perf_counter()
        backend.close()

    def _load_one(self) -> Backend | None:
        with self._loading:
            if self._error is not None:
                return None
            try:
                backend = self._load()
            except BaseException as error:  # the waiting side decides what to do with it
                self._stop(self._not_all(error) if self._ready else error)
                return None
            self._ready += 1
        _settle(self._loaded, backend)
        return backend

    def _not_all(self, error: BaseException) -> BackendError:
        """A model that could be loaded, but not once more."""
        failed = BackendError(
            f"only {self._ready} of {self._workers} workers could load the model: "
            f"{str(error) or type(error).__name__}; try --workers {self._ready}"
        )
        failed.__cause__ = error
        return failed

    def _next(self, backend: Backend, free_s: float) -> _Job | None:
        """Wait for the most urgent pass; None once the pool has stopped.

        Args:
            backend: what will run it.
            free_s: when this one's last pass without a deadline ended.
        """
        with self._changed:
            while self._error is None:
                while self._waiting:
                    job = heapq.heappop(self._waiting)
                    if not job.future.cancelled():
                        self._running[job.future] = _Running(backend)
                        if job.urgent:
                            now_s = time.perf_counter()
                            self._waits.append((now_s, now_s - max(job.asked_s, free_s)))
                        return job
                self._changed.wait()
        return None

    def _serve(self, backend: Backend, job: _Job) -> None:
        started_s = time.perf_counter()
        try:
            hypothesis = backend.decode(job.window)
            compute_s = time.perf_counter() - started_s
            defect = defect_of(hypothesis, job.window)
        except StreamingError as error:
            outcome: Decoded | BaseException = error
        except BaseException as error:  # whatever it is, somebody waits for this thread
            outcome = BackendError(f"{backend.name} failed: {str(error) or type(error).__name__}")
            outcome.__cause__ = error
        else:
            outcome = Decoded(hypothesis, compute_s, started_s - job.asked_s)
            if defect is not None:
                outcome = BackendError(f"{backend.name} returned garbage: {defect}")
        with self._lock:
            del self._running[job.future]
            if self._error is not None:
                self._ending.notify_all()
            self._busy_s += time.perf_counter() - started_s
            if self._error is not None and isinstance(outcome, Decoded):
                outcome = self._error  # it was asked to abort: it heard not all
        # The future stays "pending" while it runs, so that whoever waits can cancel it.
        _settle(job.future, outcome)


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    _THREADS.add(thread)
    return thread


def _settle(future: Future[_T], outcome: _T | BaseException) -> None:
    """Give a future its outcome, unless it has one or was cancelled."""
    try:
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass


_STARTED: weakref.WeakSet[BackendPool] = weakref.WeakSet()
_THREADS: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""A thread may outlive its pool: dropping the last reference to it, it frees the model."""


@atexit.register
def _stop_all() -> None:
    """Let threads free their models before the interpreter goes.

    One that comes back from native code into an interpreter that is gone aborts the process.
    """
    for pool in list(_STARTED):
        pool.close(timeout_s=0.0)
    until_s = time.monotonic() + _AT_EXIT_S
    for thread in list(_THREADS):
        thread.join(max(0.0, until_s - time.monotonic()))
