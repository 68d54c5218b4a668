"""Blocking calls, one after the other on a thread of their own, for callers that cannot wait."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["SerialThread"]

T = TypeVar("T")


class SerialThread:
    """Runs calls in turn on one daemon thread, which starts with the first.

    For libraries that are not thread-safe and may hang. The thread is no executor's: those are
    joined when the interpreter exits.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._started = False

    async def call(
        self,
        function: Callable[[], T],
        *,
        timeout_s: float,
        undo: Callable[[T], object] | None = None,
    ) -> T:
        """What ``function`` returns or raises, once calls made before are done.

        A caller that gives up does not stop the call; what it returns is then given to
        ``undo``, on the same thread. One that has not begun and would be undone is left out.

        Raises:
            TimeoutError: it took longer.
        """
        future = self._submit(function, undo)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.wrap_future(future)
        except (asyncio.CancelledError, TimeoutError):
            if not future.cancel() and future.exception() is None and undo is not None:
                result = future.result()  # done just now
                self._calls.put(lambda: _quietly(undo, result))
            raise

    def wait(self, function: Callable[[], T], *, timeout_s: float) -> T:
        """The same for callers that can wait.

        Raises:
            TimeoutError: it took longer.
        """
        return self._submit(function, None).result(timeout_s)

    def _submit(self, function: Callable[[], T], undo: Callable[[T], object] | None) -> Future[T]:
        future: Future[T] = Future()

        def call() -> None:
            if undo is not None and future.cancelled():
                return
            try:
                result = function()
            except BaseException as error:
                with suppress(InvalidStateError):  # nobody waits any more
                    future.set_exception(error)
                return
            try:
                future.set_result(result)
            except InvalidStateError:
                if undo is not None:
                    _quietly(undo, result)

        with self._starting:
            if not self._started:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
                self._started = True
        self._calls.put(call)
        return future

    def _run(self) -> None:
        while True:
            self._calls.get()()


def _quietly(function: Callable[[Any], object], argument: Any) -> None:
    """Undo what nobody asked for in the end; nobody is there to hear of a failure either."""
    with suppress(Exception):
        function(argument)
