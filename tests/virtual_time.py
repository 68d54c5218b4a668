"""An event loop whose clock jumps to the next timer when there is nothing else to do.

An hour of sleeping takes milliseconds, and what happens when is exact. Code must read the
loop's clock only. A thread whose outcome is awaited (a pass, a write, `asyncio.to_thread`) takes
no time: the clock stands until it is done, or has not been for a second of real time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

T = TypeVar("T")

PATIENCE_S = 1.0
"""For a thread that waits itself for a time to come; once for each of its futures."""


class _JumpingSelector(selectors.SelectSelector):
    now_s: float = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.threads: dict[asyncio.Future[Any], float] = {}
        """What threads will settle, and until when that is waited for."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        while not ready and (left_s := self._patience_s()) > 0:
            ready = super().select(left_s)
        if not ready:
            self.now_s += timeout
        return ready

    def _patience_s(self) -> float:
        until_s = max((u for f, u in self.threads.items() if not f.done()), default=0.0)
        return until_s - time.perf_counter()


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at 0 seconds."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def jump(self, by_s: float) -> None:
        """Have the clock jump, as it should not."""
        self._jumping.now_s += by_s

    @contextmanager
    def waiting_for_threads(self, patience_s: float) -> Iterator[None]:
        """Have the clock stand while a thread's future is awaited, but not for longer."""
        wrap, threads = asyncio.wrap_future, self._jumping.threads

        def wrapped(future: Any, *, loop: Any = None) -> asyncio.Future[Any]:
            made = wrap(future, loop=loop)
            if made is not future and made.get_loop() is self:
                threads[made] = time.perf_counter() + patience_s
                made.add_done_callback(lambda _: threads.pop(made, None))
            return made

        # `run_in_executor` takes it from where it is made.
        with (
            mock.patch.object(asyncio, "wrap_future", wrapped),
            mock.patch.object(asyncio.futures, "wrap_future", wrapped),
        ):
            yield


def run_virtual(coroutine: Coroutine[Any, Any, T], *, patience_s: float = PATIENCE_S) -> T:
    """`asyncio.run` on a virtual clock.

    Args:
        coroutine: what to run.
        patience_s: real time for each future of a thread; 0 where timers of the loop settle them.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with loop.waiting_for_threads(patience_s):
            return runner.run(coroutine)
