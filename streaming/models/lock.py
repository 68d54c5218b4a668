"""One process at a time: a lock on a file that the system drops when its holder dies."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["file_lock"]

_POLL_S = 0.05


@contextmanager
def file_lock(
    path: Path, *, timeout_s: float, sign_of_life: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (created, and left behind empty) inside the block.

    It excludes other processes and other threads alike; it is not reentrant. The file stays
    because removing it would let two holders lock two files of the same name.

    Args:
        path: the lock's file, in a folder that exists.
        timeout_s: how long to wait for a holder that shows no sign of life.
        sign_of_life: something that changes while the holder works, such as a file's size;
            asked only while waiting.

    Raises:
        TimeoutError: the holder neither let go nor showed a sign of life.
        OSError: the file cannot be created, or its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        seen: object = None
        deadline: float | None = None
        while not _try_lock(descriptor):
            now = sign_of_life()
            if deadline is None or now != seen:
                seen, deadline = now, time.monotonic() + timeout_s
            elif time.monotonic() >= deadline:
                raise TimeoutError(f"{path} is locked")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)  # which unlocks


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
