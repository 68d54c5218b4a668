"""Whether there is memory for a model, asked before native code finds that there is not.

whisper.cpp ends the whole process where an allocation fails, and the system kills one that
takes too much. What is asked for here is about the least that a model takes: whoever has that may
still have too little, but nobody is refused who has enough.
"""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from ..errors import BackendError, StreamingError

__all__ = ["is_shortage", "require_memory"]

_MB = 1_000_000
_ADDRESSES = 1150 * _MB
"""Of addresses, which a limit counts although most stay unused: for libraries, the compiler of
the mel kernel among them. Measured with tiny.en and base; CTranslate2 takes more."""
_THREAD_ADDRESSES = 75 * _MB
"""What a native thread reserves for its stack and its allocations."""
_GIVEN_BACK = ("inactive_file", "active_file", "slab_reclaimable")
"""What counts as a container's own, but is cache that it gives back when it needs more."""
_PER_BYTE = 1.3
"""Of the model's file."""
_SIGNS = re.compile(
    r"bad_alloc|cannot allocate|failed to allocate|out of memory|not enough memory"
    r"|start new thread|failed to map segment|failed to create thread",
    re.IGNORECASE,
)


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that memory ran out."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # some go round in a circle
        seen.add(id(error))
        full = isinstance(error, OSError) and error.errno == errno.ENOMEM
        # Others name files, which may be called anything.
        native = isinstance(error, BackendError) or not isinstance(error, StreamingError | OSError)
        if full or isinstance(error, MemoryError) or (native and _SIGNS.search(str(error))):
            return True
        error = error.__cause__ or error.__context__
    return False


def require_memory(model: str, *, threads: int, size_bytes: int = 0) -> None:
    """See that a model may fit. Elsewhere than on Linux nobody is asked.

    Args:
        model: its name, for people.
        threads: of a pass.
        size_bytes: of its file; 0 asks only for what any model needs.

    Raises:
        BackendError: it cannot.
    """
    if sys.platform != "linux":
        return
    addresses = _ADDRESSES + threads * _THREAD_ADDRESSES + _PER_BYTE * size_bytes
    for what, needed, left in (
        ("addresses (ulimit -v)", addresses, _addresses_left()),
        ("memory", size_bytes, _memory_left()),
    ):
        if left is not None and left < needed:
            raise BackendError(
                f"not enough memory for {model}: it takes about {needed / _MB:.0f} MB of {what}, "
                f"and {max(left, 0) / _MB:.0f} MB are left; try a smaller --model"
            )


def _addresses_left() -> float | None:
    """Bytes up to the limit of this process, if it has one."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    taken = (_read("/proc/self/statm") or "0").split()[0]
    return float(limit - int(taken) * resource.getpagesize())


def _memory_left() -> float | None:
    """Bytes that the system, and the container, can still give, by swapping too."""
    system = _numbers("/proc/meminfo")
    if "MemAvailable" not in system:
        return None
    swap = 1024 * system.get("SwapFree", 0)
    left = 1024 * system["MemAvailable"] + swap
    limit, taken = _read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory.current")
    if limit is not None and taken is not None and limit.strip().isdigit():
        parts = _numbers("/sys/fs/cgroup/memory.stat")
        cached = sum(parts.get(name, 0) for name in _GIVEN_BACK)
        left = min(left, int(limit) - int(taken) + cached + swap)
    return float(left)


def _numbers(path: str) -> dict[str, int]:
    """A file of names and numbers."""
    lines = (line.replace(":", " ").split() for line in (_read(path) or "").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text("ascii", errors="replace")
    except OSError:
        return None
