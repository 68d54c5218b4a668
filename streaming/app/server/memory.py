"""Memory that sessions have left, back to the system."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

__all__ = ["give_back"]


def give_back() -> None:
    """Have the C library return what was freed. Takes milliseconds; does nothing but with glibc.

    Buffers of many sessions lie between one another, so that of several hundred MB that are free
    glibc by itself gives back next to nothing.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another library
            ctypes.CDLL(None).malloc_trim(0)
