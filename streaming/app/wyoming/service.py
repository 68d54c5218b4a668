"""What all connections share: the model, the bounds, and who has a place."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...backends.pool import BackendPool
from ...errors import ConfigurationError
from ..server.refusal import Refusal
from ..settings import Settings

__all__ = ["Limits", "Service", "ending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server.

    Raises:
        ConfigurationError: a bound that cannot work.
    """

    max_sessions: int = 8
    """Transcriptions at once."""
    max_session_s: float = 4 * 3600.0
    """Audio of one transcription."""
    idle_s: float = 60.0
    """A client that sends nothing for this long within a transcription loses it."""
    quiet_s: float = 600.0
    """The same between transcriptions, where it loses the connection."""
    drain_s: float = 10.0
    """What running transcriptions have to finish when the server is asked to end."""

    def __post_init__(self) -> None:
        for option, value, low, high in (
            ("--max-sessions", self.max_sessions, 1, 1_000),
            ("--idle", self.idle_s, 1, 86_400),
            ("--drain", self.drain_s, 0, 600),
        ):
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigurationError(
                    f"{option} must lie between {low} and {high}, not {value:g}"
                )

    @property
    def max_connections(self) -> int:
        """At once; most of them only ask what there is."""
        return self.max_sessions + 64


@dataclass(slots=True, kw_only=True)
class Service:
    """One server's."""

    settings: Settings
    """Of every transcription whose client wishes nothing else."""
    limits: Limits
    worker: BackendPool
    """Loaded."""
    model: str
    """Its name, as clients see it."""
    multilingual: bool
    draining: bool = False
    """No new transcriptions."""
    running: int = field(default=0, init=False)
    """Transcriptions."""
    left: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """A transcription has ended; whoever looks clears it."""

    @contextmanager
    def place(self) -> Iterator[None]:
        """For one transcription.

        Raises:
            Refusal: there are as many as there may be, or the server ends.
        """
        if self.draining:
            raise ending()
        if self.running >= self.limits.max_sessions:
            raise Refusal(
                "too_many_sessions",
                f"there are {self.running} transcriptions, as many as there may be; "
                "try again later",
            )
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self.left.set()


def ending() -> Refusal:
    """For clients of a server that was asked to end."""
    return Refusal("restart", "the server ends; try again later")
