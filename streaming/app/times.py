"""Times as people write them."""

from __future__ import annotations

import re

from ..errors import ConfigurationError

__all__ = ["parse_time"]

_TIME = re.compile(r"(?:(?:(\d{1,9}):)?(\d{1,9}):)?(\d{1,9}(?:\.\d+)?)", re.ASCII)


def parse_time(text: str) -> float:
    """Seconds of "90", "1:30" or "1:02:03.5".

    Raises:
        ConfigurationError: it is none of these, or has 60 or more minutes or seconds after a
            colon.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"{text!r} is not a time; write 90, 1:30 or 1:02:03.5")
    hours, minutes, seconds = found.groups()
    if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        raise ConfigurationError(f"{text!r} is not a time: after a colon comes less than 60")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)
