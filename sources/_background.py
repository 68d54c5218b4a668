"""A blocking generator, read on a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Generic, TypeVar

__all__ = ["BackgroundReader"]

T = TypeVar("T")


class BackgroundReader(Generic[T]):
    """Hands the items of a blocking generator to one asyncio consumer.

    The thread is a daemon, not one of an executor's: those are joined when the interpreter
    exits, and a read that never returns would keep the process alive. The generator is closed
    on the thread that runs it, so that what it opened is freed there, also after an early stop.

    Args:
        items: the generator; it may block.
        ahead: items read before the consumer asks for them, at most.
        name: of the thread.
    """

    def __init__(self, items: Generator[T, None, None], *, ahead: int, name: str) -> None:
        self._items = items
        self._slots = threading.Semaphore(ahead)
        self._ready: deque[T] = deque()
        self._error: BaseException | None = None
        self._stopped = False
        self._done = False
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def get(self) -> T | None:
        """The next item, or None at the end. Cancelling the wait loses nothing.

        Raises:
            Exception: what the generator raised, after the items before it.
        """
        while True:
            done = self._done  # read first: nothing is added once it is set
            if self._ready:
                self._slots.release()
                return self._ready.popleft()
            if done:
                if self._error is not None:
                    raise self._error
                return None
            self._changed.clear()
            await self._changed.wait()

    async def close(self, timeout_s: float | None) -> None:
        """Stop reading and wait that long for the generator to be closed; None: however long.

        A read that blocks longer ends by itself on its thread.
        """
        self._stopped = True
        self._slots.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._done:
                    self._changed.clear()
                    await self._changed.wait()

    def _run(self) -> None:
        try:
            with closing(self._items):
                while self._slots.acquire() and not self._stopped:
                    try:
                        item = next(self._items)
                    except StopIteration:
                        break
                    self._ready.append(item)
                    self._wake()
        except BaseException as error:
            self._error = error
        self._done = True
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._changed.set)
