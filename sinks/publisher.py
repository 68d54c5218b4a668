"""Temporary."""

from __future__ import annotations
from typing import Any, Self
from streaming.events import Event


class Publisher:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        pass

    async def write(self, event: Event) -> None:
        pass
