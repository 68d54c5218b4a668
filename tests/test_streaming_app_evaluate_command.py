from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from fakes import ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for

from sinks.jsonl import JsonlSink
from sources.record import RecordingSource
from streaming.app import Settings, compose
from streaming.app.cli import run_command
from streaming.app.evaluate_command import measure_clip, offline_words
from streaming.audio import Flush
from streaming.evaluation import Clip, read_log
from streaming.events import AudioDropped, Committed, Flushed, Stats
from streaming.pipeline import Pace, Pipeline


def test_an_offline_pass_that_was_made_before_is_not_made_again(jfk: Path) -> None:
    clip = Clip("jfk", jfk, None, "en")
    settings = Settings(vad="energy", pace="simulated", pass_cost_s=0.1)
    script = say(5, 15)

    async def run() -> None:
        backend = ScriptedBackend(script)
        with worker_for(backend) as worker:
            offline = await offline_words(clip, settings, worker)
            assert [word.text for word in offline] == [word.text for word in script.words]
            before = backend.passes
            given, _ = await measure_clip(clip, settings, worker, offline=offline)
            assert backend.passes == before + given.passes
            made, _ = await measure_clip(clip, settings, worker)
            assert backend.passes == before + given.passes + made.passes + 1
            assert given == made
            assert given.commit_delays_s

    asyncio.run(run())


SCRIPT = say(6, 5)
AUTO = "auto"


def live_run(folder: Path, *, pace: Pace = "realtime", model: str = "script") -> Path:
    """Record a session and its log; returns the recording."""

    async def run() -> None:
        audio = SCRIPT.audio()
        chunks = [*chunks_of(audio[:40_000]), *chunks_of(audio[40_000:], 1600, 70_000)]
        source = ScriptedSource([*chunks[:8], Flush(), *chunks[8:]], live=True)
        recording = RecordingSource(source, folder / "talk.flac")
        with worker_for(ScriptedBackend(SCRIPT, model=model)) as worker:
            sinks = [JsonlSink(folder / "talk.jsonl")]
            async with Pipeline(recording, worker, make_parts(), sinks, pace=pace) as pipeline:
                await pipeline.run()

    asyncio.run(run())
    return folder / "talk.flac"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*, model: str, threads: int, progress: object) -> ScriptedBackend:
        return ScriptedBackend(SCRIPT, model=model)

    monkeypatch.setitem(compose.BACKENDS, AUTO, backend)


def evaluate(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[int, str, str]:
    code = run_command(["evaluate", *map(str, argv)])
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("scripted")
def test_the_log_of_a_live_run_is_measured_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = live_run(tmp_path)
    events = read_log(recording.with_suffix(".jsonl"))
    code, out, err = evaluate(
        capsys,
        recording,
        "--events",
        recording.with_suffix(".jsonl"),
        "--model",
        "script",
        "--json",
    )
    assert (code, err) == (0, "")
    body = json.loads(out)
    said = [word for event in events if isinstance(event, Committed) for word in event.words]
    assert body["words"] == len(said) > 5
    assert body["options"]["pace"] == "realtime"
    assert body["commit_delay_s"] is not None
    (stats,) = [event for event in events if isinstance(event, Stats)]
    assert body["passes"] == stats.passes


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize(
    ("pace", "options", "says"),
    [
        ("fast", (), "at pace fast events carry wall time"),
        ("simulated", (), "the event log is of a simulated run; leave --events out"),
        ("realtime", ("--model", "other"), "is of script; evaluate it with --model script"),
        ("realtime", ("--pass-cost", "1"), "--pass-cost is for a new run"),
        ("realtime", ("--log", "x.jsonl"), "--log is for a new run"),
        ("realtime", ("--final-model", "base"), "--final-model is for a new run"),
        ("realtime", ("--replace", "x.txt"), "--replace is for a new run"),
        ("realtime", ("--events", "none.jsonl"), "cannot read none.jsonl: No such file"),
    ],
)
def test_a_log_that_tells_no_delays_is_refused(
    pace: Pace,
    options: tuple[str, ...],
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recording = live_run(tmp_path, pace=pace)
    log = recording.with_suffix(".jsonl")
    code, _, err = evaluate(capsys, recording, "--events", log, "--model", "script", *options)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("scripted")
def test_a_recording_is_heard_with_the_gaps_and_flushes_of_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = live_run(tmp_path)
    log = tmp_path / "again.jsonl"
    fixed = ("--vad", "energy", "--pass-cost", "0.1", "--log", log)
    code, _, err = evaluate(capsys, recording, *fixed)
    assert code == 0
    assert f"talk.flac is heard with 2 gaps or flushes of {tmp_path / 'talk.jsonl'}" in err
    (dropped,) = [event for event in read_log(log) if isinstance(event, AudioDropped)]
    assert (dropped.start_sample, dropped.end_sample, dropped.reason) == (40_000, 70_000, "gap")
    assert [e.at_sample for e in read_log(log) if isinstance(e, Flushed)] == [8 * 1600]
    code, _, err = evaluate(capsys, recording, *fixed[:-1], tmp_path / "talk.jsonl")
    assert code == 2
    assert "talk.jsonl is an input" in err


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("audio", ["", ".", "/"])
def test_a_folder_is_no_recording(audio: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = evaluate(capsys, audio, "--pass-cost", "0.1")
    assert code == 2
    assert "is a directory; name an audio file in it" in err
