"""Runs with a journal, and runs that go on from one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from fakes import ScriptedBackend, ScriptedSource, chunks_of, worker_for

from sources.replay import ReplaySource
from streaming.audio import Samples
from streaming.backends.pool import BackendPool
from streaming.events import Committed, Event, Word, event_from_json, event_to_json
from streaming.journal import Journal
from streaming.journal_files import audio_files, read_events
from streaming.journal_source import JournalSource
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Source, SourceItem
from streaming.session import SessionParts

__all__ = ["Recorded", "cut", "go_on", "go_on_from", "parsed", "record", "record_from", "said"]


@dataclass(frozen=True)
class Recorded:
    """A run, as its journal has it."""

    events: list[Event]
    lines: list[str]
    audio_at: list[int]
    """How much audio the journal had when it was told each event."""
    pcm: list[tuple[int, bytes]]
    """Audio files: first sample and content."""


class _Watched(Journal):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {})
        self.audio_at: list[int] = []

    def tell(self, event: Event) -> None:
        self.audio_at.append(self.audio_end)
        super().tell(event)


def record(
    directory: Path,
    items: Iterable[SourceItem],
    backend: ScriptedBackend,
    parts: SessionParts,
    *,
    final: ScriptedBackend | None = None,
    pace: Pace = "fast",
) -> Recorded:
    """Run with a journal, to the end."""
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(worker_for(backend))
        second = None if final is None else stack.enter_context(worker_for(final))
        return record_from(directory, ScriptedSource(items), worker, parts, second, pace)


def record_from(
    directory: Path,
    source: Source,
    worker: BackendPool,
    parts: SessionParts,
    final_worker: BackendPool | None = None,
    pace: Pace = "fast",
) -> Recorded:
    """The same with what is there already."""
    journal = _Watched(directory)

    async def run() -> list[Event]:
        pipeline = Pipeline(
            *(source, worker, parts),
            pace=pace,
            pass_cost_s=0.1 if pace == "simulated" else None,
            final_worker=final_worker,
            journal=journal,
        )
        async with pipeline, aclosing(pipeline.events()) as events:
            return [event async for event in events]

    events = asyncio.run(run())
    assert journal.folder is not None
    lines = (journal.folder / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
    pcm = [(file.start_sample, file.path.read_bytes()) for file in audio_files(journal.folder)]
    return Recorded(events, lines, journal.audio_at, pcm)


def cut(folder: Path, run: Recorded, n_events: int, audio_end: int | None = None) -> None:
    """Make the journal that a kill after so many events would have left."""
    folder.mkdir(parents=True)
    end = run.audio_at[n_events - 1] if audio_end is None else audio_end
    (folder / "session.json").write_text(json.dumps({"version": 1}))
    (folder / "events.jsonl").write_text("".join(run.lines[:n_events]), encoding="utf-8")
    for start, data in run.pcm:
        if start < end:
            path = folder / f"audio-{start:012d}.s16"
            path.write_bytes(data[: 2 * (end - start)])


def go_on(
    folder: Path,
    backend: ScriptedBackend,
    parts: SessionParts,
    audio: Samples | None = None,
    *,
    final: ScriptedBackend | None = None,
    until: Callable[[Event], bool] = lambda event: False,
) -> list[Event]:
    """Resume a session and return its new events as a log has them, up to one.

    Args:
        folder: of the session.
        backend: hears what is left.
        parts: as of the first run.
        audio: the whole input, where it can be read again.
        final: the larger model.
        until: where the resuming run is abandoned.
    """
    with contextlib.ExitStack() as stack:
        worker = stack.enter_context(worker_for(backend))
        second = None if final is None else stack.enter_context(worker_for(final))
        return go_on_from(folder, worker, parts, audio, second, until)


def go_on_from(
    folder: Path,
    worker: BackendPool,
    parts: SessionParts,
    audio: Samples | None = None,
    final_worker: BackendPool | None = None,
    until: Callable[[Event], bool] = lambda event: False,
) -> list[Event]:
    """The same with what is there already."""
    journal = Journal.reopen(folder)
    state = journal.recovered
    assert state is not None
    rest, rest_from = None, 0
    if audio is not None:
        rest_from = journal.audio_end // 2
        rest = ScriptedSource(chunks_of(audio[rest_from:]))
    source = ReplaySource(JournalSource(folder, state.needed_from, rest, rest_from), state.marks)

    async def run() -> list[Event]:
        told = []
        pipeline = Pipeline(
            source, worker, parts, pace="fast", final_worker=final_worker, journal=journal
        )
        async with pipeline, aclosing(pipeline.events()) as events:
            async for event in events:
                told.append(event)
                if until(event):
                    break
        return told

    events = parsed([event_to_json(event) for event in asyncio.run(run())])
    assert [event.seq for event in read_events(folder)][-1] >= events[-1].seq
    return events


def said(events: Iterable[Event]) -> list[Word]:
    """All committed words."""
    return [word for event in events if isinstance(event, Committed) for word in event.words]


def parsed(lines: Sequence[str]) -> list[Event]:
    """The events of lines."""
    return [event for line in lines if (event := event_from_json(line)) is not None]
