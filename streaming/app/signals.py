"""Ctrl-C and SIGTERM: one asks for the end, another one does not wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Told", "signals"]


@dataclass(slots=True)
class Told:
    """Signals received."""

    first: asyncio.Event
    """The program was asked to end."""
    number: int = 0
    """Of the last one; 0 while there was none."""

    @property
    def exit_code(self) -> int:
        """Of a program that ended for it; 0 where it was not asked to."""
        return 128 + self.number if self.number else 0


@contextlib.contextmanager
def signals(waits: Callable[[], bool] = lambda: True) -> Iterator[Told]:
    """The first one sets an event, the next one cancels the running task.

    Plain signal handlers, not the event loop's: those do not exist on Windows.

    Args:
        waits: whether there is anything to finish; where not, the first one cancels.

    Yields:
        The signals received so far.
    """
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    told = Told(asyncio.Event())

    def on_signal(number: int, _frame: object) -> None:
        finishes = not told.number and waits()
        told.number = number
        loop.call_soon_threadsafe(told.first.set if finishes else running.cancel)

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
