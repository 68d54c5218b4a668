"""Voice commands, each handed to a function of yours."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from streaming.errors import ConfigurationError
from streaming.events import Event, Notice

from ._report import log_notice

__all__ = ["CommandSink", "Spotter"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_CANCELLED_S = 1.0
"""Limit of ending the calls that still run."""


class Spotter(Protocol[T_co]):
    """What finds commands in events, above all a `streaming.commands.CommandSpotter`."""

    def push(self, event: Event) -> Sequence[T_co]:
        """Take the next event, and tell what was found by now."""
        ...


class CommandSink(Generic[T]):
    """Calls a function with every command, wake phrase and barge-in that a spotter tells.

    A plain function runs on the event loop, so it must not block. A coroutine runs beside the
    session, which does not wait for it, and beside those that were called before: one that speaks
    for seconds keeps nobody from hearing "stop". They begin in the order of the commands.

    A function that fails ends nothing: that is told through ``report`` (code ``command_failed``).
    Where too many calls are still running, the next one is left out, and that is told
    (``command_dropped``). Leaving waits for those that run, and then cancels them: at once after
    an error or under cancellation.

    Args:
        spotter: what to listen for. Set its ``speaking`` while your program speaks.
        handler: takes what the spotter tells.
        most_running: calls that may run at a time.
        drain_s: how long leaving waits for those that run.

    Raises:
        ConfigurationError: a limit that cannot work.
    """

    def __init__(
        self,
        spotter: Spotter[T],
        handler: Callable[[T], object],
        *,
        most_running: int = 32,
        drain_s: float = 5.0,
    ) -> None:
        if most_running < 1 or drain_s < 0:
            raise ConfigurationError("a command sink needs room for a call and time to end it")
        self.report: Callable[[Notice], None] = log_notice
        self._spotter = spotter
        self._handler = handler
        self._most_running = most_running
        self._drain_s = drain_s
        self._running: set[asyncio.Task[None]] = set()
        self.leave_limit_s = drain_s + 2 * _CANCELLED_S

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._running and exc_type is None:
                await asyncio.wait(self._running, timeout=self._drain_s)
        finally:
            if self._running:
                self._tell("command_dropped", f"was not done with {len(self._running)} calls")
                for task in self._running:
                    task.cancel()
                await asyncio.wait(self._running, timeout=_CANCELLED_S)

    async def write(self, event: Event) -> None:
        """Have the commands that are certain now handled; never waits for that."""
        for told in self._spotter.push(event):
            if len(self._running) >= self._most_running:
                busy = f"while {len(self._running)} calls are still running"
                self._tell("command_dropped", f"is not called for {told}, {busy}")
                continue
            try:
                result = self._handler(told)
            except Exception as error:  # whatever it is, the session goes on
                self._tell_failure(error)
                continue
            if inspect.isawaitable(result):
                task = asyncio.create_task(self._finish(result))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _finish(self, result: Awaitable[object]) -> None:
        try:
            await result
        except Exception as error:
            self._tell_failure(error)

    def _tell_failure(self, error: Exception) -> None:
        words = " ".join(str(error).split())
        self._tell("command_failed", f"failed: {type(error).__name__}: {words}")

    def _tell(self, code: str, what: str) -> None:
        name = getattr(self._handler, "__name__", type(self._handler).__name__)
        self.report(Notice(level="warning", code=code, message=f"commands: {name} {what}"))
