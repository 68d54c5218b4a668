"""Leaving a part in time, so that one that hangs keeps nobody else open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeAlias

from .errors import StreamingError

__all__ = ["leaving"]

_LOG = logging.getLogger(__name__)

_Exit: TypeAlias = Callable[
    [type[BaseException] | None, BaseException | None, TracebackType | None], Awaitable[None]
]


def leaving(
    part: AbstractAsyncContextManager[Any],
    *,
    name: str,
    limit_s: float,
    fault: type[StreamingError],
) -> _Exit:
    """An exit of ``part`` that takes at most so long, for `contextlib.AsyncExitStack`.

    It hides no error that is on its way, and swallows none: what fails besides is logged.

    Args:
        part: a source or a sink that was entered.
        name: for messages.
        limit_s: after which it is cancelled.
        fault: raised then, if nothing else is on its way.
    """

    async def leave(
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            async with asyncio.timeout(limit_s) as limit:
                await part.__aexit__(kind, error, traceback)
        except Exception as raised:
            late = f"{name} did not close within {limit_s:g} s and was left behind"
            if error is not None:
                _LOG.error("%s", late if limit.expired() else str(raised) or repr(raised))
            elif limit.expired():
                raise fault(late) from None
            else:
                raise

    return leave
