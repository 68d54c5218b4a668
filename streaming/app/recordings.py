"""``--record FILE``: the audio of every session, with its event log beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sinks.jsonl import JsonlSink
from sources.record import RecordingSource

from ..protocols import Sink, Source

__all__ = ["Recordings", "recorded"]


@dataclass(frozen=True, slots=True)
class Recordings:
    """A run that is kept."""

    sources: Mapping[str, Source]
    """By label, each writing what it hands out."""
    logs: Mapping[str, Sink] = field(default_factory=dict)
    """By label, for the events of that session alone."""
    paths: tuple[Path, ...] = ()
    """All files that are written."""


def recorded(sources: Mapping[str, Source], path: str | None) -> Recordings:
    """Have sources recorded in a file, or where there are several, in one for each.

    ``talk.flac`` has the events in ``talk.jsonl``. Two sessions have ``talk.me.flac`` and
    ``talk.me.jsonl``, ``talk.them.flac`` and ``talk.them.jsonl``.

    Raises:
        ConfigurationError: the extension is neither .wav nor .flac.
    """
    if path is None:
        return Recordings(sources)
    whole = Path(path)
    paths = {
        label: whole if len(sources) == 1 else whole.with_suffix(f".{label}{whole.suffix}")
        for label in sources
    }
    logs = {label: each.with_suffix(".jsonl") for label, each in paths.items()}
    return Recordings(
        {label: RecordingSource(source, paths[label]) for label, source in sources.items()},
        {label: JsonlSink(log) for label, log in logs.items()},
        (*paths.values(), *logs.values()),
    )
