"""What the server bounds, and by how much."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one server. Every one has an option of ``serve`` or is a constant of its design.

    Raises:
        ConfigurationError: a bound that cannot work.
    """

    max_sessions: int = 64
    """Live sessions at once, resumable ones included; the load usually says no before."""
    max_session_s: float = 4 * 3600.0
    """Of audio and of time, for one session."""
    idle_s: float = 60.0
    """A connected client that sends nothing for this long loses its session."""
    resume_s: float = 60.0
    """How long a session waits for its client to come back."""
    max_unclaimed: int = 64
    """Sessions that wait for that at once; of more, those that wait longest end."""
    max_rate: float = 2.0
    """Audio taken, in multiples of real time; 0 takes it as fast as it comes."""
    max_frame_bytes: int = 256 * 1024
    """Of a WebSocket message."""
    max_upload_bytes: int = 100_000_000
    max_upload_s: float = 3600.0
    """Audio in one upload."""
    max_uploads: int = 16
    """Uploads at once, waiting ones included."""
    max_connections: int = 512
    """Of all kinds."""
    max_viewers: int = 50
    """Of one session."""
    request_s: float = 30.0
    """A request that sends nothing for this long is dropped."""
    drain_s: float = 10.0
    """What running sessions and requests have to finish when the server is asked to end."""

    def __post_init__(self) -> None:
        for name, option, low, high in (
            ("max_sessions", "--max-sessions", 1, 1_000),
            ("max_session_s", "--max-session", 1, 7 * 86_400),
            ("idle_s", "--idle", 1, 86_400),
            ("resume_s", "--resume", 0, 3_600),
            ("max_unclaimed", "max_unclaimed", 0, 1_000),
            ("max_rate", "--max-rate", 0, 1_000),
            ("max_frame_bytes", "--max-frame", 1_024, 2**20),
            ("max_upload_bytes", "--max-upload", 1_024, 16 * 2**30),
            ("max_upload_s", "--max-upload-duration", 1, 86_400),
            ("max_uploads", "--max-uploads", 0, 1_000),
            ("max_connections", "--max-connections", 1, 100_000),
            ("max_viewers", "max_viewers", 0, 10_000),
            ("request_s", "request_s", 0.1, 3_600),
            ("drain_s", "--drain", 0, 600),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigurationError(
                    f"{option} must lie between {low} and {high}, not {value:g}"
                )
        if 0 < self.max_rate < 1:
            raise ConfigurationError("--max-rate must be 0 (no limit) or at least 1")
