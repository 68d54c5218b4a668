"""What waits to be sent, within limits: the least important and oldest goes first."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Generic, TypeVar

__all__ = ["Buffer", "Rank"]

T = TypeVar("T")


class Rank(IntEnum):
    """How much it costs to lose something; what costs least is dropped first."""

    PASSING = 0
    """Soon replaced by something newer: partial text, statistics."""
    TELLING = 1
    """What happened: speech, notices."""
    LASTING = 2
    """Committed and final text, and the sessions it belongs to."""


class Buffer(Generic[T]):
    """First in, first out, of limited number and size.

    Where a limit would be exceeded, items are dropped: of the lowest rank there is, the
    oldest one. An item that is larger than the whole buffer is dropped itself.

    Args:
        most_items: how many items may wait, at least 1.
        most_bytes: how large they may be together, at least 1.
    """

    def __init__(self, most_items: int, most_bytes: int) -> None:
        if most_items < 1 or most_bytes < 1:
            raise ValueError("a buffer holds at least one item and one byte")
        self._most_items = most_items
        self._most_bytes = most_bytes
        self._waiting: dict[Rank, deque[tuple[int, int, T]]] = {rank: deque() for rank in Rank}
        """By rank: number in the order of arrival, size, item."""
        self._arrived = 0
        self._n_items = 0
        self._n_bytes = 0

    def __len__(self) -> int:
        return self._n_items

    @property
    def n_bytes(self) -> int:
        """Sizes of all that waits."""
        return self._n_bytes

    def count(self, rank: Rank) -> int:
        """How many items of a rank wait."""
        return len(self._waiting[rank])

    def put(self, item: T, size: int, rank: Rank) -> list[tuple[Rank, T]]:
        """Add an item of so many bytes; returns what was dropped for it, oldest first."""
        if size > self._most_bytes:
            return [(rank, item)]
        self._waiting[rank].append((self._arrived, size, item))
        self._arrived += 1
        self._n_items += 1
        self._n_bytes += size
        dropped = []
        while self._n_items > self._most_items or self._n_bytes > self._most_bytes:
            lowest = next(rank for rank in Rank if self._waiting[rank])
            dropped.append((lowest, self._pop(lowest)))
        return dropped

    def take(self) -> tuple[Rank, T] | None:
        """Remove the oldest item; None if nothing waits."""
        ranks = [rank for rank in Rank if self._waiting[rank]]
        if not ranks:
            return None
        oldest = min(ranks, key=lambda rank: self._waiting[rank][0][0])
        return oldest, self._pop(oldest)

    def _pop(self, rank: Rank) -> T:
        _, size, item = self._waiting[rank].popleft()
        self._n_items -= 1
        self._n_bytes -= size
        return item
