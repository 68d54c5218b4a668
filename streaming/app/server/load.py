"""Temporary."""

from __future__ import annotations
from collections.abc import Callable
from ...backends.pool import BackendPool
from ..settings import Settings


class Load:
    def __init__(self, *, workers: int) -> None:
        pass

    def admit(self) -> None:
        pass

    def enter(self, session_id: str, compute_s: Callable[[], float]) -> None:
        pass

    def leave(self, session_id: str) -> None:
        pass

    def sample(self) -> None:
        pass

    def calibrated(self, cost: float) -> None:
        pass


async def calibrate(worker: BackendPool, settings: Settings) -> float:
    return 0.2
