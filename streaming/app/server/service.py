"""What every part of the server is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...backends.pool import BackendPool
from ..settings import Settings
from .limits import Limits

if TYPE_CHECKING:
    from .load import Load
    from .metrics import Metrics
    from .sessions import Sessions
    from .uploads import Uploads

__all__ = ["Service"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The one model and the bounds that all requests share."""

    settings: Settings
    """Defaults of every session and request."""
    limits: Limits
    worker: BackendPool
    load: Load
    metrics: Metrics
    sessions: Sessions
    uploads: Uploads
