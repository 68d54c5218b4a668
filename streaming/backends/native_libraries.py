"""What the libraries under the native cores are told; each before it is loaded."""

from __future__ import annotations

import os

__all__ = ["keep_few_kernels", "spin_briefly"]


def spin_briefly() -> None:
    """Have OpenMP's threads sleep soon while they wait for one another.

    They spin unless OpenMP is told otherwise. On a machine that has other work too, spinning
    made a pass up to fifteen times slower; a few microseconds of it win back most of what
    sleeping costs. Whoever sets OpenMP's own variables has their way.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def keep_few_kernels() -> None:
    """Have oneDNN, on which CTranslate2 stands, keep the kernels of a few shapes only.

    It makes one for every length of window and keeps a thousand of them: half a gigabyte after
    ten minutes of speech, and no faster. Whoever sets its variable has their way.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
