"""Where a sink's notices go while no pipeline has taken them over."""

from __future__ import annotations

import logging

from streaming.events import Notice

__all__ = ["log_notice"]

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def log_notice(notice: Notice) -> None:
    """Log it; the default ``report`` of a sink that tells of its own faults."""
    logging.getLogger(__name__).log(_LEVELS[notice.level], "%s", notice.message)
