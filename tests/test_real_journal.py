"""The real model, killed and resumed: what was shown stays, and hardly a word is worse."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import cli_plugin
import pytest
from journal_runs import cut, go_on_from, parsed, record_from, said

from sources.file import FileSource
from streaming import BackendPool, Event
from streaming.app import Settings, make_worker
from streaming.app.compose import make_parts
from streaming.evaluation import check_events, load_manifest
from streaming.evaluation.text import count_errors
from streaming.events import text_of
from streaming.journal_files import folders_in, read_events

pytestmark = [pytest.mark.needs_model, pytest.mark.timeout(300)]

JFK = (
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do "
    "for your country."
)
SETTINGS = Settings(pace="fast")


@pytest.fixture(scope="module")
def worker() -> Iterator[BackendPool]:
    made = make_worker(SETTINGS)
    yield made
    made.close()


def errors(events: list[Event], reference: str) -> tuple[int, int]:
    counted = count_errors(reference, text_of(said(events)), "en")
    return counted.errors, counted.total


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill")
def test_killed_at_5_points_the_command_goes_on(tmp_path: Path, jfk: Path) -> None:
    whole = cli_plugin.start(tmp_path, jfk, "--pace", "fast", "--format", "jsonl")
    out, _ = whole.communicate(timeout=120)
    uninterrupted = parsed(out.splitlines())
    wrong, length = errors(uninterrupted, JFK)
    for point in range(1, 6):
        home = tmp_path / str(point)
        home.mkdir()
        process = cli_plugin.start(
            home, jfk, "--pace", "fast", "--format", "jsonl", "--journal", "kept"
        )
        assert process.stdout is not None
        n_lines = len(uninterrupted) * point // 6
        lines = [process.stdout.readline() for _ in range(n_lines)]
        process.kill()
        out, _ = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        lines += [line for line in out.splitlines(keepends=True) if line.endswith("\n")]
        shown = parsed(lines)
        second = cli_plugin.start(home, "resume", "kept", "--format", "jsonl")
        out, _ = second.communicate(timeout=60)
        assert second.returncode == 0
        (folder,) = folders_in(home / "kept")
        events = list(read_events(folder))
        assert check_events(events) == []
        assert events[: len(shown)] == shown
        new = parsed(out.splitlines())
        assert events[-len(new) :] == new
        assert len(shown) <= len(events) - len(new) <= len(shown) + 1
        assert errors(events, JFK)[0] <= wrong + 0.01 * length


@pytest.mark.needs_recordings
def test_cut_at_5_points_a_longer_clip_is_hardly_worse(
    recordings: Path, tmp_path: Path, worker: BackendPool
) -> None:
    clips = {clip.name: clip for clip in load_manifest(recordings / "manifest.json")}
    clip = clips["bush_columbia_29s"]
    assert clip.reference is not None
    source = FileSource(clip.audio, pace="fast")
    run = record_from(tmp_path / "whole", source, worker, make_parts(SETTINGS))
    wrong, length = errors(run.events, clip.reference)
    for point in range(1, 6):
        n = len(run.lines) * point // 6
        folder = tmp_path / str(point)
        cut(folder, run, n, run.audio_at[-1])
        joined = parsed(run.lines[:n])
        joined += go_on_from(folder, worker, make_parts(SETTINGS))
        assert check_events(joined) == []
        assert errors(joined, clip.reference)[0] <= wrong + 0.01 * length
