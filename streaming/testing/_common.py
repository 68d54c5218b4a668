"""What the checks share."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

__all__ = ["CANCEL_S", "CLOSE_S", "close", "expect"]

CANCEL_S = 0.1
"""Within this time a cancelled wait must return."""
CLOSE_S = 2.0
"""Within this time leaving must be done."""


def expect(condition: object, message: str) -> None:
    """Raise `AssertionError`, also where Python runs without assertions."""
    if not condition:
        raise AssertionError(message)


async def close(part: AbstractAsyncContextManager[Any], error: BaseException | None = None) -> None:
    """Leave the context as ``async with`` would, in time and without hiding ``error``."""
    kind = None if error is None else type(error)
    try:
        async with asyncio.timeout(CLOSE_S):
            swallows = await part.__aexit__(kind, error, None)
    except TimeoutError:
        raise AssertionError(f"__aexit__ takes longer than {CLOSE_S:g} s") from None
    expect(not swallows, "__aexit__ returns true, which hides errors and cancellation")
