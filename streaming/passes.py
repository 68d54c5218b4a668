"""What of a session is being decoded: a pass of the live model, a window of the final one.

Each of the two is one piece of work at a time, begun when it is due and finished whenever the
driver sees that it is done; the drivers differ only in when they look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from .backends.pool import BackendPool, Decoded
from .errors import BackendError, ConfigurationError, StreamingError
from .events import Event, Notice
from .protocols import PromptChecking
from .session import Session
from .transcriber import Pass

__all__ = ["Passes", "Refinements", "Work", "abandoned_at_exit"]

_MOST_FAILURES = 3
"""In a row, which end a session. One may be the fault of its window, and the next hears another;
what
still fails a second later, with the time between the tries, will go on failing."""
_RETRY_S = 0.5


class Work(Protocol):
    """Decoding for one session, one piece at a time."""

    @property
    def running(self) -> asyncio.Future[Any] | None:
        """Done when `finish` has something to do; None while nothing is out."""
        ...

    def start(self) -> None:
        """Begin what is due, unless something is out."""
        ...

    def finish(self, clock_s: float, compute_s: float | None = None) -> list[Event]:
        """Take what is done, if it is.

        Args:
            clock_s: when.
            compute_s: what it took on a virtual clock, where nothing waits for other sessions;
                None stands for what it really took.
        """
        ...


@asynccontextmanager
async def abandoned_at_exit(works: Sequence[Work]) -> AsyncGenerator[None, None]:
    """Stop waiting for what is still out then; a native pass ends by itself, unheard."""
    try:
        yield
    finally:
        running = [work.running for work in works if work.running is not None]
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Passes:
    """The passes of the live model.

    One that fails is lost, which a notice tells, and the next one hears its audio again. Where
    one after the other fails, or the pool takes none any more, `finish` raises the error.

    Args:
        session: whose passes.
        worker: decodes; other sessions may use it too.
        urgent: text is awaited, so that a pass is due when its patience ends; otherwise it
            lets urgent ones go first.
    """

    def __init__(self, session: Session, worker: BackendPool, *, urgent: bool) -> None:
        self._session = session
        self._worker = worker
        self._urgent = urgent
        self._due: Pass | None = None
        """None while what is out is only the time until the next try."""
        self._failures = 0
        """In a row."""
        self.running: asyncio.Future[Decoded] | asyncio.Future[None] | None = None

    def start(self) -> None:
        """See `Work`."""
        if self.running is None and (due := self._session.next_pass()) is not None:
            self._due = due
            deadline_s = time.monotonic() + due.patience_s if self._urgent else None
            future = self._worker.submit(self._session.window(due), deadline_s=deadline_s)
            self.running = asyncio.wrap_future(future)

    def finish(self, clock_s: float, compute_s: float | None = None) -> list[Event]:
        """See `Work`."""
        if self.running is None or not self.running.done():
            return []
        done, self.running = self.running, None
        due, self._due = self._due, None
        if due is None:
            return []
        try:
            decoded = done.result()
        except StreamingError as error:
            return self._failed(due, error, clock_s, pauses=compute_s is None)
        assert decoded is not None
        self._failures = 0
        cost_s, queue_s = decoded.compute_s, decoded.queue_s
        if compute_s is not None:
            cost_s, queue_s = compute_s, 0.0
        return self._session.complete(due, decoded.hypothesis, cost_s, clock_s, queue_s=queue_s)

    def _failed(
        self, lost: Pass, error: StreamingError, clock_s: float, *, pauses: bool
    ) -> list[Event]:
        self._failures += 1
        stays = isinstance(error, ConfigurationError) or self._worker.error is not None
        if stays or self._failures >= _MOST_FAILURES:
            raise error
        self._session.abandon(lost)
        if pauses:
            self.running = asyncio.ensure_future(asyncio.sleep(_RETRY_S))
        message = f"{error}; the next pass hears the audio again"
        return self._session.say(
            [Notice(level="warning", code="pass_failed", message=message)], clock_s
        )


class Refinements:
    """The windows that the final model hears, once it is loaded.

    If it cannot be loaded, or fails, the session goes on without it: `Refiner.fail` says so.
    """

    def __init__(self, session: Session, worker: BackendPool) -> None:
        assert session.refiner is not None
        self._session = session
        self._refiner = session.refiner
        self._worker = worker
        self.running: asyncio.Future[Decoded | None] | None = None

    def start(self) -> None:
        """See `Work`. Loading counts as out, so that its failure is told at once."""
        loaded = self._worker.loaded
        ready = loaded.done() and loaded.exception() is None
        due = not ready or not self._refiner.idle
        if due and self.running is None and self._refiner.error is None:
            self.running = asyncio.ensure_future(self._hear())

    def finish(self, clock_s: float, compute_s: float | None = None) -> list[Event]:
        """See `Work`."""
        if self.running is None or not self.running.done():
            return []
        done, self.running = self.running, None
        try:
            decoded = done.result()
        except StreamingError as error:
            return self._session.say(self._refiner.fail(error), clock_s)
        except Exception as error:  # no bug of the larger model ends the session either
            failed = BackendError(f"the final model failed: {error!r}")
            failed.__cause__ = error
            return self._session.say(self._refiner.fail(failed), clock_s)
        if decoded is None:
            return []
        model = self._worker.loaded.result().model
        return self._session.say(self._refiner.complete(decoded.hypothesis, model), clock_s)

    async def _hear(self) -> Decoded | None:
        backend = await self._worker.ready()
        if isinstance(backend, PromptChecking):
            backend.check_prompt(self._refiner.prompt)
        if self._refiner.idle:
            return None
        return await asyncio.wrap_future(self._worker.submit(self._refiner.next_window(backend)))
