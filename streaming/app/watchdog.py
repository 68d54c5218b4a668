"""Ends the process when its event loop has stopped to turn.

Everything that waits does so on the loop, or on a thread of its own; a part that blocks the loop
itself, in the middle of a call, stops signals, limits and sinks with it. Only another thread
still sees that. Standard output is written on a thread: a pager that nobody scrolls, or a
terminal that is stopped, blocks no loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["watchdog"]

_TICK_S = 1.0
_LIMIT_TICKS = 60
"""Counted, not measured: while the process is stopped (Ctrl-Z) or the machine asleep, this
thread does not count either."""
_TELL_S = 1.0


def _leave(message: str) -> None:
    """Leave at once: nothing that runs on the loop would be called any more."""

    def tell() -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"stream-transcribe: {message}", file=sys.stderr, flush=True)

    # Standard error may be what blocks the loop.
    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    telling.join(_TELL_S)
    os._exit(1)


@contextlib.contextmanager
def watchdog(
    *,
    tick_s: float = _TICK_S,
    limit: int = _LIMIT_TICKS,
    leave: Callable[[str], None] = _leave,
) -> Iterator[None]:
    """Watch over the running loop, which is asked for a sign of life every ``tick_s``.

    Native code that keeps the interpreter's lock for itself is not seen: no thread runs then.

    Args:
        tick_s: seconds.
        limit: signs that may be missed in a row.
        leave: called with what there is to say, on a thread of its own.
    """
    loop = asyncio.get_running_loop()
    thread_id = threading.get_ident()
    alive, over = threading.Event(), threading.Event()

    def watch() -> None:
        missed = 0
        while not over.wait(tick_s):
            missed = 0 if alive.is_set() else missed + 1
            if missed > limit:
                where = _where(sys._current_frames().get(thread_id))
                leave(f"hangs for {missed * tick_s:.0f} s {where}; it ends here")
                return
            if alive.is_set():
                alive.clear()
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(alive.set)

    alive.set()
    watching = threading.Thread(target=watch, name="watchdog", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join(tick_s)


def _where(frame: FrameType | None) -> str:
    if frame is None:
        return "somewhere"
    code = frame.f_code
    return f"in {code.co_name} ({code.co_filename}:{frame.f_lineno})"
