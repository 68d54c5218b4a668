"""How the threads of a pass wait for one another."""

from __future__ import annotations

import os

__all__ = ["spin_briefly"]


def spin_briefly() -> None:
    """Have OpenMP's threads sleep soon while they wait; to be called before it is loaded.

    They spin unless OpenMP is told otherwise. On a machine that has other work too, spinning
    made a pass up to fifteen times slower; a few microseconds of it win back most of what
    sleeping costs. Whoever sets OpenMP's own variables has their way.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
