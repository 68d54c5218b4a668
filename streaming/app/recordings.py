"""``--record FILE``: the audio of every session, with its event log beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sinks.jsonl import JsonlSink
from sources.record import RecordingSource

from ..events import Event, SessionStarted
from ..protocols import Sink, Source

__all__ = ["Recordings", "recorded"]


@dataclass(frozen=True, slots=True)
class Recordings:
    """A run that is kept."""

    sources: Mapping[str, Source]
    """By label, each writing what it hands out."""
    logs: tuple[Sink, ...] = ()
    """For the events, each taking those of one session."""
    paths: tuple[Path, ...] = ()
    """All files that are written."""


class _Log(JsonlSink):
    """Takes the events of one session of several."""

    def __init__(self, path: Path, label: str) -> None:
        super().__init__(path)
        self._label = label
        self._session: str | None = None

    async def write(self, event: Event) -> None:
        if isinstance(event, SessionStarted) and event.label == self._label:
            self._session = event.session
        if event.session == self._session:
            await super().write(event)


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
        tuple(_Log(log, label) for label, log in logs.items()),
        (*paths.values(), *logs.values()),
    )
