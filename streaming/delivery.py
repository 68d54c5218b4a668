"""Events to their sinks, each in order, and on without a sink that fails.

A sink that raises, or takes nothing for too long, is closed and the others are told; the run
goes on for as long as one is left that keeps the text, and raises the error in its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from .errors import NobodyReadsError, SinkError, StreamingError
from .events import Event, Notice
from .leaving import leaving
from .protocols import Lingering, Reporting, Sink, Telling

__all__ = ["SINK_LIMIT_S", "Delivery"]

_LOG = logging.getLogger(__name__)

SINK_LIMIT_S = 10.0
"""How long one sink may hold up the others of a live source: about what its buffer holds. A
disk that wakes up takes less."""
_LEAVE_S = 5.0
"""More than the second that leaving should take at most."""


class Delivery:
    """An async context manager that enters sinks, in order, and leaves them in time.

    Args:
        sinks: each is given every event.
        say: puts a notice among the events.
    """

    def __init__(self, sinks: Sequence[Sink], say: Callable[[Notice], None]) -> None:
        self._sinks = list(sinks)
        self._say = say
        self.limit_s: float | None = None
        """How long a sink may take for an event where there are others; None waits."""
        self._open: list[_Outlet] = []
        self._stack = AsyncExitStack()
        self.error: Exception | None = None
        """Of the first sink that failed."""
        self.over = False
        """That one was the last."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for sink in self._sinks:
                if isinstance(sink, Reporting):
                    sink.report = self._say
                await sink.__aenter__()
                limit_s = sink.leave_limit_s if isinstance(sink, Lingering) else _LEAVE_S
                outlet = _Outlet(sink, await stack.enter_async_context(AsyncExitStack()))
                outlet.exits.push_async_exit(
                    leaving(sink, name=outlet.name, limit_s=limit_s, fault=SinkError)
                )
                self._open.append(outlet)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    async def write(self, event: Event) -> None:
        """Give an event to every sink that is left.

        Raises:
            NobodyReadsError: nobody reads standard output any more.
            Exception: what the last sink raised, unchanged.
        """
        for outlet in tuple(self._open):
            try:
                await _uncancelled(self._give(outlet, event), outlet.name)
            except NobodyReadsError:
                self.over = True
                raise
            except Exception as error:
                await self._drop(outlet, error)

    def _others(self, outlet: _Outlet) -> bool:
        """Whether another one is left that keeps the text."""
        return any(each is not outlet and not each.tells_only for each in self._open)

    async def _give(self, outlet: _Outlet, event: Event) -> None:
        if self.limit_s is None:
            await outlet.sink.write(event)
        elif self._others(outlet):
            try:
                async with asyncio.timeout(self.limit_s) as limit:
                    await outlet.sink.write(event)
            except TimeoutError:
                if not limit.expired():
                    raise
                text = f"{outlet.name} has taken nothing for {self.limit_s:g} s"
                raise _BlockedError(text) from None
        else:  # a pager that nobody scrolls, say: there is nobody else to go on for
            telling = asyncio.get_running_loop().call_later(self.limit_s, self._wait_for, outlet)
            try:
                await outlet.sink.write(event)
            finally:
                telling.cancel()

    def _wait_for(self, outlet: _Outlet) -> None:
        text = f"{outlet.name} has taken nothing for {self.limit_s:g} s; waiting for it"
        self._say(Notice(level="warning", code="sink_blocked", message=text))
        _LOG.warning("%s", text)  # whoever shows notices may be the one that waits

    async def _drop(self, outlet: _Outlet, error: Exception) -> None:
        """Go on without a sink, if there is another one."""
        self.error = self.error or error
        if not self._others(outlet):
            self.over = True
            raise error
        self._open.remove(outlet)
        text = str(error) if isinstance(error, StreamingError) else f"{outlet.name}: {error!r}"
        code = "sink_blocked" if isinstance(error, _BlockedError) else "sink_failed"
        text = f"{text}; going on without it"
        self._say(Notice(level="error", code=code, message=text))
        if isinstance(outlet.sink, Telling):
            _LOG.error("%s", text)
        await outlet.exits.__aexit__(type(error), error, error.__traceback__)


async def _uncancelled(giving: Coroutine[Any, Any, None], name: str) -> None:
    """Await a sink, whose own cancelled tasks are not ours."""
    try:
        await giving
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SinkError(f"{name} was cancelled from within") from error


class _BlockedError(SinkError):
    """A sink that took nothing in time."""


class _Outlet:
    """A sink that was entered, and how it is left."""

    def __init__(self, sink: Sink, exits: AsyncExitStack) -> None:
        self.sink = sink
        self.exits = exits
        self.name = str(getattr(sink, "name", type(sink).__name__))
        self.tells_only = isinstance(sink, Telling) and sink.tells_only
