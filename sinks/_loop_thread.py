"""An event loop of its own, for clients that would hold up or not fit the caller's.

aiomqtt watches sockets (`add_reader`), which the default loop of Windows cannot; and it
connects in the loop's executor, whose threads are joined at exit: with a broker that does not
answer, leaving would take as long as the operating system tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")


class LoopThread:
    """Runs a selector event loop on a daemon thread, from making it to `stop`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_default_executor(_DaemonThreads(name))
        self._ended = asyncio.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it; cancelling the one cancels the other."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def post(self, function: Callable[..., object], *args: object) -> None:
        """Have a function called there, soon and in order. After `stop`: nothing."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *args)

    def stop(self) -> None:
        """Cancel what still runs there and end the thread, without waiting for it."""
        self.post(self._ended.set)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_ended())

    async def _until_ended(self) -> None:
        await self._ended.wait()


class _DaemonThreads(ThreadPoolExecutor):
    """A thread a call; the interpreter does not wait for them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        name = f"{self._name} call"
        threading.Thread(target=work, name=name, daemon=True).start()
        return future
