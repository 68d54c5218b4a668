"""Which part of a recording is wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from streaming.errors import ConfigurationError

__all__ = ["WHOLE", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """From ``start_s`` on, for ``duration_s`` at most.

    Raises:
        ConfigurationError: a time that is negative, not finite, or an empty part.
    """

    start_s: float = 0.0
    """Seconds from the first sample."""
    duration_s: float | None = None
    """None is all that follows."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ConfigurationError(f"the start must be 0 s or later, not {self.start_s:g} s")
        if self.duration_s is not None and not (
            math.isfinite(self.duration_s) and self.duration_s > 0
        ):
            raise ConfigurationError(
                f"the duration must be longer than 0 s, not {self.duration_s:g} s"
            )

    @property
    def stop_s(self) -> float:
        """Where it ends; infinity without a duration."""
        return math.inf if self.duration_s is None else self.start_s + self.duration_s

    def after(self, read_s: float) -> Part | None:
        """What is left once ``read_s`` seconds of it were read; None if that is nothing."""
        if self.duration_s is None:
            return Part(self.start_s + read_s)
        left_s = self.duration_s - read_s
        # Less than a sample is nothing.
        return Part(self.start_s + read_s, left_s) if left_s > 1e-5 else None


WHOLE = Part()
"""All of it."""
