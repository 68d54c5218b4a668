"""Files that a disk is to keep, synced on a thread."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path

__all__ = ["SYNC_S", "Syncing", "sync_folder"]

SYNC_S = 1.0
"""How often the disk is asked to keep what was written; a power cut costs no more than that."""
_CLOSE_LIMIT_S = 2.0


class Syncing:
    """Has the disk keep what is written, on a thread: `os.fsync` may take long."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        """Why the disk did not keep something."""
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._retired: set[int] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def add(self, descriptor: int) -> None:
        """Sync this file from now on."""
        with self._lock:
            self._open.add(descriptor)

    def retire(self, descriptor: int) -> None:
        """Nothing more is written there: to be synced and closed."""
        with self._lock:
            self._open.discard(descriptor)
            self._retired.add(descriptor)

    def stop(self) -> None:
        """Sync and close what was retired, and end."""
        self._stopped.set()

    def wait(self) -> None:
        """Wait for that, but for a disk that hangs no longer than a moment."""
        if self._thread is not None:
            self._thread.join(_CLOSE_LIMIT_S)

    def _work(self) -> None:
        last = False
        while not last:
            last = self._stopped.wait(SYNC_S)
            with self._lock:
                retired, self._retired = self._retired, set()
                descriptors = {*self._open, *retired}
            for descriptor in descriptors:
                try:
                    os.fsync(descriptor)
                except OSError as error:
                    self.error = error
                if descriptor in retired:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder; Windows does that by itself."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
