"""``stream-transcribe report``: from an event log and a recording to a page."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cli_plugin
import pytest
from report_logs import by_hand, stamped

from streaming.app.cli import run_command
from streaming.evaluation import check_events, read_log
from streaming.events import Event, PassDone, SessionStarted, Stats, event_to_json

Report = Callable[..., tuple[int, str]]


def write(path: Path, events: list[Event]) -> Path:
    path.write_text("".join(event_to_json(event) + "\n" for event in events), "utf-8")
    return path


@pytest.fixture
def report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Report:
    """Runs the command in an empty folder; returns its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str | Path) -> tuple[int, str]:
        code = run_command(["report", *map(str, argv)])
        out, err = capsys.readouterr()
        assert out == ""
        return code, err

    return run


def the_error(result: tuple[int, str], code: int = 2) -> str:
    assert result[0] == code
    assert result[1].count("\n") == 1
    return result[1].removeprefix("stream-transcribe: ").rstrip()


def test_a_scripted_run_becomes_a_page_with_its_recording(tmp_path: Path, report: Report) -> None:
    cli_plugin.install(tmp_path)
    process = cli_plugin.start(
        tmp_path,
        *("script://11", "--backend", "scripted", "--vad", "loud", "--pace", "simulated"),
        *("--trace", "--record", "talk.flac", "--format", "jsonl"),
    )
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    log = read_log(tmp_path / "talk.jsonl")
    assert [event_to_json(event) for event in log] == out.splitlines()
    assert check_events(log) == []
    started, stats = log[0], log[-2]
    assert isinstance(started, SessionStarted)
    assert started.options["trace"] is True
    assert isinstance(stats, Stats)
    assert sum(isinstance(event, PassDone) for event in log) == stats.passes > 5

    code, said = report("talk.jsonl", "-o", "seen.html")
    assert code == 0
    assert said.startswith("info: seen.html (1.")
    text = tmp_path.joinpath("seen.html").read_text("utf-8")
    assert "loudness of the sound" in text
    assert cli_plugin.SAID.words[0].text.strip() in text
    assert "no recording beside the log" not in text


def test_without_trace_a_log_has_nothing_of_passes(tmp_path: Path, report: Report) -> None:
    cli_plugin.install(tmp_path)
    process = cli_plugin.start(
        tmp_path,
        *("script://3", "--backend", "scripted", "--vad", "loud", "--pace", "simulated"),
        *("--format", "jsonl"),
    )
    out, _ = process.communicate(timeout=60)
    lines = [json.loads(line) for line in out.splitlines()]
    assert "pass_done" not in {line["type"] for line in lines}
    assert "trace" not in lines[0]["options"]
    tmp_path.joinpath("plain.jsonl").write_text(out, "utf-8")
    assert report("plain.jsonl")[0] == 0  # plain.html: beside the log, by its name
    text = tmp_path.joinpath("plain.html").read_text("utf-8")
    assert "With <code>--trace</code> the log tells" in text
    assert "There is no recording beside the log" in text


def test_debug_writes_a_line_a_pass(tmp_path: Path) -> None:
    cli_plugin.install(tmp_path)
    process = cli_plugin.start(
        tmp_path,
        *("script://3", "--backend", "scripted", "--vad", "loud", "--pace", "simulated"),
        *("--debug", "--format", "jsonl"),
    )
    out, err = process.communicate(timeout=60)
    name = "streaming.pass_log: "
    passes = [json.loads(line[len(name) :]) for line in err.splitlines() if line.startswith(name)]
    (stats,) = [line for line in map(json.loads, out.splitlines()) if line["type"] == "stats"]
    assert len(passes) == stats["passes"] > 2
    assert passes[-1]["heard"].strip()


def test_a_killed_run_is_reported_and_the_page_says_so(tmp_path: Path, report: Report) -> None:
    lines = write(tmp_path / "log.jsonl", by_hand()).read_bytes().splitlines(keepends=True)
    tmp_path.joinpath("log.jsonl").write_bytes(b"".join(lines[:8]) + lines[8][:-30])
    assert report("log.jsonl")[0] == 0
    assert "The log breaks off at 0:03" in tmp_path.joinpath("log.html").read_text("utf-8")


def test_a_page_is_overwritten(tmp_path: Path, report: Report) -> None:
    write(tmp_path / "log.jsonl", by_hand())
    tmp_path.joinpath("log.html").write_text("of the last run" * 200_000)
    assert report("log.jsonl")[0] == 0
    assert "of the last run" not in tmp_path.joinpath("log.html").read_text("utf-8")


def test_two_sessions_have_two_sections_and_no_audio(tmp_path: Path, report: Report) -> None:
    two = stamped(by_hand(label="phone"), "two")
    write(tmp_path / "log.jsonl", [*by_hand(), *two])
    assert report("log.jsonl")[0] == 0
    text = tmp_path.joinpath("log.html").read_text("utf-8")
    assert text.count("<section") == 2
    said = the_error(report("log.jsonl", "--audio", "log.jsonl"))
    assert said == "--audio is for one session; log.jsonl has 2"


def test_audio_of_another_length_is_told(jfk: Path, tmp_path: Path, report: Report) -> None:
    write(tmp_path / "log.jsonl", by_hand())
    assert report("log.jsonl", "--audio", jfk)[0] == 0
    text = tmp_path.joinpath("log.html").read_text("utf-8")
    assert "jfk.flac, which has 11.0 s of audio; the session heard 6.0 s" in text
    shutil.copy(jfk, tmp_path / "log.flac")
    assert report("log.jsonl")[0] == 0
    assert "log.flac, which has 11.0 s" in tmp_path.joinpath("log.html").read_text("utf-8")


def test_audio_of_a_log_that_breaks_off_may_be_longer(
    jfk: Path, tmp_path: Path, report: Report
) -> None:
    write(tmp_path / "log.jsonl", by_hand()[:8])
    assert report("log.jsonl", "--audio", jfk)[0] == 0
    assert "Is it the right file" not in tmp_path.joinpath("log.html").read_text("utf-8")


def test_a_damaged_recording_beside_the_log_costs_the_waveform_alone(
    tmp_path: Path, report: Report
) -> None:
    write(tmp_path / "log.jsonl", by_hand())
    tmp_path.joinpath("log.flac").write_bytes(b"no audio")
    assert report("log.jsonl")[0] == 0
    text = tmp_path.joinpath("log.html").read_text("utf-8")
    assert "There is no waveform: " in text
    said = the_error(report("log.jsonl", "--audio", "log.flac"))
    assert "log.flac" in said


def bad_logs(folder: Path) -> None:
    write(folder / "good.jsonl", by_hand())
    folder.joinpath("empty.jsonl").write_text("")
    folder.joinpath("text.jsonl").write_text("good morning\n")
    folder.joinpath("cut.jsonl").write_bytes(b"\x00\xff")
    folder.joinpath("other.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    write(folder / "headless.jsonl", by_hand()[2:])
    write(folder / "good.html", by_hand())
    nan = event_to_json(by_hand()[2]).replace("1.6", "NaN")
    write(folder / "nan.jsonl", by_hand()[:1])
    with folder.joinpath("nan.jsonl").open("a") as file:
        file.write(nan + "\n")
    folder.joinpath("folder").mkdir()


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        ((), 2, "the following arguments are required: LOG"),
        (("none.jsonl",), 2, "cannot read none.jsonl: No such file or directory"),
        (("folder",), 2, "cannot read folder: Is a directory"),
        (("empty.jsonl",), 2, "empty.jsonl: no event in it; an event log is what"),
        (("cut.jsonl",), 2, "cut.jsonl: no event in it; an event log is what"),
        (("text.jsonl",), 2, "text.jsonl, line 1, is no event; an event log is what"),
        (("other.jsonl",), 2, "other.jsonl, line 1, is no event; an event log is what"),
        (("headless.jsonl",), 2, "headless.jsonl: the beginning of session 'one' is missing"),
        (("nan.jsonl",), 2, "nan.jsonl, line 2, is no event"),
        (("good.jsonl", "-o", "no/where.html"), 1, "cannot write no/where.html: No such file"),
        (("good.jsonl", "-o", "good.jsonl"), 2, "a report is a page; name a file in .html"),
        (("good.html",), 2, "good.html is an input; writing to it would destroy it"),
        (("good.jsonl", "--audio", "none.wav"), 2, "none.wav"),
        (("good.jsonl", "--sound", "none.wav"), 2, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    argv: tuple[str, ...], code: int, says: str, tmp_path: Path, report: Report
) -> None:
    bad_logs(tmp_path)
    assert says in the_error(report(*argv), code)
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["good.html"]


def test_without_bokeh_the_extra_is_named(
    tmp_path: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    write(tmp_path / "log.jsonl", by_hand())
    said = the_error(report("log.jsonl"))
    assert said == 'Bokeh is not installed: pip install "stream-transcribe[report]"'


@pytest.mark.needs_model
def test_a_real_run_that_was_recorded_and_traced_is_reported(
    jfk: Path, tmp_path: Path, report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_command(
        [
            str(jfk),
            *("--model", "tiny.en", "--pace", "simulated", "--trace"),
            *("--record", str(tmp_path / "jfk.flac"), "--format", "jsonl"),
        ]
    )
    assert code == 0
    capsys.readouterr()
    log = read_log(tmp_path / "jfk.jsonl")
    passes = [event for event in log if isinstance(event, PassDone)]
    assert len(passes) > 10
    assert all(0 <= each.start_s < each.end_s <= 11.5 for each in passes)
    assert all(each.asked_s <= each.clock_s for each in passes)
    assert any(each.n_prefix for each in passes)
    code, said = report("jfk.jsonl")
    assert code == 0, said
    text = tmp_path.joinpath("jfk.html").read_text("utf-8")
    for told in ("fellow", "country", "loudness of the sound", "how far back it listened"):
        assert told in text
    assert "Is it the right file" not in text
