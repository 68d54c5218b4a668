"""The journal on disk: what is in it, what is cut off, what is deleted, what fails."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import ListSink, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from journal_runs import record, said

from sinks.jsonl import JsonlSink
from streaming import syncing
from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError, SinkError
from streaming.evaluation import check_events, read_log
from streaming.events import (
    Event,
    Final,
    Notice,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    event_to_json,
)
from streaming.journal import Journal, JournalBusyError
from streaming.journal_files import (
    audio_files,
    cut_torn,
    folders_in,
    has_ended,
    read_about,
    read_events,
    read_quiet,
    size_of,
)
from streaming.journal_source import LOST, JournalSource
from streaming.pipeline import Pipeline

SCRIPT = say(4, 3)


def started(name: str = "s") -> SessionStarted:
    return SessionStarted(session=name)


def chunk(start: int, n: int = 1600, level: float = 0.5) -> AudioChunk:
    return AudioChunk(np.full(n, level, np.float32), start)


def write(directory: Path, *items: Event | AudioChunk, **choices: Any) -> tuple[Path, list[Notice]]:
    """A journal of these; returns its folder and what it said."""
    told: list[Notice] = []

    async def run() -> Path:
        async with Journal(directory, {"run": "r"}, **choices) as journal:
            journal.report = told.append
            for item in items:
                if isinstance(item, AudioChunk):
                    journal.hear(item)
                else:
                    journal.tell(item)
            assert journal.folder is not None
            return journal.folder

    return asyncio.run(run()), told


async def run(
    directory: Path, sink: ListSink, *, before: Callable[[Journal], None] = lambda journal: None
) -> Journal:
    journal = Journal(directory, {})
    before(journal)
    with worker_for(ScriptedBackend(SCRIPT)) as worker:
        source = ScriptedSource(chunks_of(SCRIPT.audio()))
        async with Pipeline(
            source, worker, make_parts(), [sink], pace="fast", journal=journal
        ) as pipeline:
            await pipeline.run()
    return journal


# -- what is in it --------------------------------------------------------------------------------


def test_its_events_are_byte_for_byte_those_of_a_jsonl_sink(tmp_path: Path) -> None:
    async def both() -> None:
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            pipeline = Pipeline(
                ScriptedSource(chunks_of(SCRIPT.audio())),
                *(worker, make_parts(), [JsonlSink(tmp_path / "log.jsonl")]),
                pace="fast",
                journal=Journal(tmp_path / "journal", {}),
            )
            async with pipeline:
                await pipeline.run()

    asyncio.run(both())
    (folder,) = folders_in(tmp_path / "journal")
    log = tmp_path / "log.jsonl"
    assert folder.joinpath("events.jsonl").read_bytes() == log.read_bytes()
    assert has_ended(folder)
    assert check_events(read_log(folder / "events.jsonl")) == []


def test_its_audio_is_what_was_heard_in_16_bits(tmp_path: Path) -> None:
    run = record(tmp_path, chunks_of(SCRIPT.audio(), 700), ScriptedBackend(SCRIPT), make_parts())
    ((first, data),) = run.pcm
    assert first == 0
    pcm = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    assert np.abs(pcm - SCRIPT.audio()).max() <= 0.5 / 32768


def test_every_event_is_there_before_a_sink_sees_it(tmp_path: Path) -> None:
    seen = []

    class Looking(ListSink):
        async def write(self, event: Event) -> None:
            (folder,) = folders_in(tmp_path)
            lines = folder.joinpath("events.jsonl").read_text().splitlines()
            assert lines[-1] == event_to_json(event)
            seen.append(len(lines))

    asyncio.run(run(tmp_path, Looking()))
    assert seen == list(range(1, len(seen) + 1))


def test_a_gap_or_a_full_file_begins_the_next_one(tmp_path: Path) -> None:
    chunks = [chunk(0), chunk(1600), chunk(3200), chunk(9600)]
    folder, _ = write(tmp_path, started(), *chunks, rotate_samples=3200)
    spans = [(file.start_sample, file.end_sample) for file in audio_files(folder)]
    assert spans == [(0, 3200), (3200, 4800), (9600, 11200)]


def test_audio_out_of_range_or_not_a_number_is_clipped(tmp_path: Path) -> None:
    samples = np.array([2.0, -2.0, np.nan, 1.0, -1.0], np.float32)
    folder, _ = write(tmp_path, started(), AudioChunk(samples, 0))
    (file,) = audio_files(folder)
    assert np.frombuffer(file.path.read_bytes(), "<i2").tolist() == [
        32767,
        -32768,
        0,
        32767,
        -32768,
    ]


def test_a_run_that_never_begins_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_reaches_the_disk_at_an_interval_and_not_on_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC_S", 0.01)
    synced: list[tuple[int, int]] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((descriptor, threading.get_ident()))
        sync(descriptor)

    async def scenario() -> None:
        async with Journal(tmp_path, {}) as journal:
            journal.tell(started())
            journal.hear(chunk(0))
            monkeypatch.setattr(os, "fsync", watched)
            deadline = asyncio.get_running_loop().time() + 20
            while len({file for file, _ in synced}) < 2:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            assert threading.get_ident() not in {thread for _, thread in synced}

    asyncio.run(scenario())


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"type": "not', b"\x00" * 500, b"\xff\xfe\n", b'{"seq": 3}\n'])
def test_a_torn_end_is_cut_off(torn: bytes, tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started(), chunk(0))
    events, audio = folder / "events.jsonl", audio_files(folder)[0].path
    whole, samples = events.read_bytes(), audio.read_bytes()
    events.write_bytes(whole + torn)
    audio.write_bytes(samples + b"\x01")
    assert [event.type for event in read_events(folder)] == ["session_started"]
    assert not has_ended(folder)
    cut_torn(folder)
    assert (events.read_bytes(), audio.read_bytes()) == (whole, samples)


def test_a_log_that_is_damaged_in_the_middle_is_told_and_left_alone(tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started(), Notice(seq=1))
    events = folder / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join([lines[0], b"rubbish\n", lines[1]]))
    with pytest.raises(ConfigurationError, match=r"line 2 is no event"):
        Journal.reopen(folder)
    assert b"rubbish" in events.read_bytes()


@pytest.mark.parametrize(
    ("content", "said"), [("{", "damaged"), ('{"version": 2}', "version 2"), ("[]", "version None")]
)
def test_a_session_file_that_cannot_be_read_is_told(
    content: str, said: str, tmp_path: Path
) -> None:
    folder, _ = write(tmp_path, started())
    folder.joinpath("session.json").write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        read_about(folder)


def test_it_keeps_what_the_session_was_made_of(tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started())
    assert read_about(folder) == {"version": 1, "run": "r"}
    assert json.loads(folder.joinpath("session.json").read_text())["run"] == "r"


def test_folders_come_in_the_order_of_time(tmp_path: Path) -> None:
    made = [write(tmp_path, started(str(i)))[0] for i in range(5)]
    assert folders_in(tmp_path) == made
    assert folders_in(made[2]) == [made[2]]


def test_a_journal_that_is_being_written_is_not_opened_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Journal(tmp_path, {}) as journal:
            journal.tell(started())
            assert journal.folder is not None
            with pytest.raises(JournalBusyError, match="its run is not over"):
                Journal.reopen(journal.folder)

    asyncio.run(scenario())
    (folder,) = folders_in(tmp_path)
    first = Journal.reopen(folder)
    with pytest.raises(JournalBusyError):
        Journal.reopen(folder)
    first.close()
    Journal.reopen(folder).close()


def test_a_session_that_has_ended_is_not_opened_again(tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started(), SessionEnded(seq=1))
    with pytest.raises(ConfigurationError, match="has ended: nothing to resume"):
        Journal.reopen(folder)


def test_the_audio_comes_back_with_its_gaps_and_what_follows_it(tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started(), chunk(0), chunk(1600), chunk(8000, level=0.25))
    rest = ScriptedSource([chunk(0, 3200, 0.1), chunk(3200, 1600, 0.1)])

    async def read() -> list[AudioChunk]:
        async with JournalSource(folder, 800, rest, 8000) as source:
            return [item async for item in source if isinstance(item, AudioChunk)]

    chunks = asyncio.run(read())
    spans = [(c.start_sample, c.end_sample, c.gap_reason) for c in chunks]
    assert spans == [
        (800, 2400, ""),
        (2400, 3200, ""),
        (8000, 9600, LOST),
        (9600, 11200, ""),
        (11200, 12800, ""),
    ]
    levels = [float(c.samples.mean()) for c in chunks]
    assert levels == pytest.approx([0.5, 0.5, 0.25, 0.1, 0.1], abs=1e-4)


# -- the limit ------------------------------------------------------------------------------------


def test_ended_sessions_go_first_and_interrupted_ones_never(tmp_path: Path) -> None:
    audio = [chunk(1600 * i) for i in range(20)]
    ended = [write(tmp_path, started(), *audio, SessionEnded(seq=1))[0] for _ in range(3)]
    cut_off, _ = write(tmp_path, started(), *audio)
    told: list[Notice] = []

    def listen(journal: Journal) -> None:
        journal.report = told.append

    async def begin(limit_bytes: int) -> Path | None:
        journal = Journal(tmp_path, {}, limit_bytes=limit_bytes, rotate_samples=1600)
        listen(journal)
        async with journal:
            journal.tell(started())
        return journal.folder

    newest = asyncio.run(begin(3 * 65_000 + 6400))
    assert newest is not None
    assert [each.exists() for each in (*ended, cut_off)] == [False, True, True, True]
    assert [notice.code for notice in told] == ["journal_trimmed"]
    asyncio.run(begin(10_000))
    assert [each.exists() for each in (*ended, cut_off, newest)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert [n.code for n in told[1:]] == ["journal_trimmed", "journal_full"]


def test_audio_that_a_session_still_needs_is_never_deleted(tmp_path: Path) -> None:
    """Ten seconds that ended, then speech that goes on."""
    items: list[Event | AudioChunk] = [started(), SpeechStarted(seq=1, at_s=1.0)]
    items += [chunk(1600 * i) for i in range(100)]
    items += [
        SpeechEnded(seq=2, at_s=8.0),
        Notice(seq=3),
        *(chunk(1600 * i) for i in range(100, 200)),
    ]
    folder, told = write(tmp_path, *items, limit_bytes=100_000, rotate_samples=16_000)
    kept = audio_files(folder)
    assert kept[0].start_sample == 0  # no final yet: all of it is needed
    assert [notice.code for notice in told] == ["journal_full"]

    items.insert(-60, Final(seq=4, start_s=1.0, end_s=8.0))
    folder, told = write(tmp_path / "b", *items, limit_bytes=100_000, rotate_samples=16_000)
    kept = audio_files(folder)
    assert 0 < kept[0].start_sample <= 8 * 16_000 - 4000 < kept[0].end_sample
    assert "journal_trimmed" in {notice.code for notice in told}


def test_in_a_quiet_room_the_journal_stays_within_its_limit(tmp_path: Path) -> None:
    audio = np.concatenate((SCRIPT.audio(), np.zeros(60 * 16_000, np.float32)))
    held: list[int] = []

    class Watched(Journal):
        def hear(self, chunk: AudioChunk) -> None:
            super().hear(chunk)
            assert self.folder is not None
            held.append(size_of(self.folder))

    async def scenario() -> list[Event]:
        journal = Watched(tmp_path, {}, limit_bytes=300_000, rotate_samples=16_000)
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            source = ScriptedSource(chunks_of(audio))
            pipeline = Pipeline(source, worker, make_parts(), pace="fast", journal=journal)
            async with pipeline, aclosing(pipeline.events()) as events:
                return [event async for event in events]

    notices = {event.code for event in asyncio.run(scenario()) if isinstance(event, Notice)}
    assert notices == {"journal_trimmed"}
    assert max(held) <= 310_000  # events come between two files
    (folder,) = folders_in(tmp_path)
    quiet = read_quiet(folder)
    assert quiet is not None
    assert quiet.from_sample > 50 * 16_000


@pytest.mark.parametrize("content", ["", "[]", "{", '{"next_seq": 1}', '{"next_seq": 0.5}'])
def test_a_damaged_word_on_the_silence_is_no_word(content: str, tmp_path: Path) -> None:
    folder, _ = write(tmp_path, started(), chunk(0))
    (folder / "quiet.json").write_text(content)
    assert read_quiet(folder) is None
    Journal.reopen(folder).close()


# -- what fails -----------------------------------------------------------------------------------


def test_a_journal_that_cannot_be_written_at_the_start_is_told_before_anything_begins(
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("file").touch()
    sink = ListSink()
    with pytest.raises(SinkError, match="cannot write the journal"):
        asyncio.run(run(tmp_path / "file", sink))
    assert sink.events == []
    assert not sink.is_open


@pytest.mark.parametrize("after", [0, 1, 5, 30])
def test_a_disk_that_fills_up_stops_the_journal_and_not_the_session(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_, done = os.write, 0

    def full(file: int, data: bytes) -> int:
        nonlocal done
        if len(data) > 1:  # not the event loop's own
            done += 1
            if done > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_(file, data)

    monkeypatch.setattr(os, "write", full)
    sink = ListSink()
    with pytest.raises(SinkError, match=r"cannot write the journal .* No space left"):
        asyncio.run(run(tmp_path, sink))
    assert check_events(sink.events) == []
    assert [word.text for word in said(sink.events)] == [word.text for word in SCRIPT.words]
    (failed,) = [e for e in sink.events if isinstance(e, Notice)]
    assert (failed.level, failed.code) == ("error", "journal_failed")
    monkeypatch.undo()
    assert all(map(has_ended, folders_in(tmp_path))), "nothing of it would be put out again"


def test_a_disk_that_cannot_keep_what_was_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "SYNC_S", 0.01)
    broken = threading.Event()

    async def scenario() -> tuple[list[Notice], SinkError | None]:
        told: list[Notice] = []
        async with Journal(tmp_path, {}) as journal:
            journal.report = told.append
            journal.tell(started())

            def sync(descriptor: int) -> None:
                broken.set()
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            monkeypatch.setattr(os, "fsync", sync)
            await asyncio.to_thread(broken.wait, 20)
            await asyncio.sleep(0.05)
            journal.tell(Notice(seq=1))
            journal.tell(Notice(seq=2))
        return told, journal.error

    told, error = asyncio.run(scenario())
    assert [notice.code for notice in told] == ["journal_failed"]
    assert "Input/output error" in str(error)


def test_a_run_that_is_abandoned_can_be_resumed(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, {})
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            source = ScriptedSource(chunks_of(SCRIPT.audio()))
            pipeline = Pipeline(source, worker, make_parts(), pace="fast", journal=journal)
            async with pipeline, aclosing(pipeline.events()) as events:
                async for event in events:
                    if event.seq == 5:
                        break

    asyncio.run(scenario())
    (folder,) = folders_in(tmp_path)
    journal = Journal.reopen(folder)
    assert journal.recovered is not None
    assert journal.recovered.next_seq == 6
    journal.close()
