"""Event logs on disk: JSON Lines, as `sinks.jsonl` writes them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigurationError
from ..events import Event, SessionStarted, event_from_json

__all__ = ["is_log", "read_log"]


def read_log(path: str | os.PathLike[str]) -> list[Event]:
    """The events of a log. Types that this version does not know are left out.

    A last line that was cut off, where a run was killed, is no error.

    Raises:
        ConfigurationError: the file cannot be read, or a line is no event.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    events = []
    # As bytes: a run may be killed inside a character, and text has line breaks of its own.
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        try:
            event = event_from_json(line.decode("utf-8"))
        except ValueError:
            if not line.endswith(b"\n"):
                break
            raise ConfigurationError(
                f"{path}, line {number}, is no event; an event log is what --format jsonl writes"
            ) from None
        if event is not None:
            events.append(event)
    return events


def is_log(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks like an event log: its first line starts a session."""
    try:
        with Path(path).open("rb") as file:
            return isinstance(event_from_json(file.readline(1 << 16).decode()), SessionStarted)
    except (OSError, ValueError):
        return False
