"""A function of yours, called with every event."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Self

from streaming.events import Event

__all__ = ["CallbackSink"]


class CallbackSink:
    """Calls a function with every event, in order, and awaits it if it is a coroutine.

    A plain function runs on the event loop, so it must not block. What the function raises
    reaches the caller unchanged: at once where this is the only sink, else in the end of the run,
    which goes on for the others.

    Args:
        function: takes one event; what it returns is awaited if possible, else ignored.
    """

    def __init__(self, function: Callable[[Event], object]) -> None:
        self._function = function

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def write(self, event: Event) -> None:
        """Hand the event over and wait until the function is done with it."""
        result = self._function(event)
        if inspect.isawaitable(result):
            await result
