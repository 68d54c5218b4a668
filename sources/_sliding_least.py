"""The least of the last seconds, in constant memory."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["SlidingLeast"]


class SlidingLeast:
    """Remembers the least value of each of the last buckets of time.

    Args:
        bucket_s: length of a bucket in seconds.
        n_buckets: how many are remembered; those in which nothing was added do not count.
    """

    def __init__(self, bucket_s: float, n_buckets: int) -> None:
        self._bucket_s = bucket_s
        self._buckets: deque[tuple[int, float]] = deque(maxlen=n_buckets)

    @property
    def known(self) -> bool:
        """Whether anything was added."""
        return bool(self._buckets)

    @property
    def least(self) -> float:
        """Infinity while nothing was added."""
        return min((value for _, value in self._buckets), default=math.inf)

    def add(self, now_s: float, value: float) -> None:
        """Take a value; time never goes back."""
        number = math.floor(now_s / self._bucket_s)
        if self._buckets and self._buckets[-1][0] == number:
            value = min(value, self._buckets.pop()[1])
        self._buckets.append((number, value))
