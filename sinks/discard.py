"""Nowhere: for benchmarks, and for runs whose side effects are all that counts."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from streaming.events import Event

__all__ = ["DiscardSink"]


class DiscardSink:
    """Takes events and forgets them."""

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
        """Do nothing."""
