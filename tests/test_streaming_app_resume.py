"""`--journal` and `resume`, as the command and as a process that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from pathlib import Path

import cli_plugin
import numpy as np
import pytest
from journal_runs import parsed, said

from sources.file import FileSource
from streaming.app import Settings
from streaming.app.cli import run_command
from streaming.app.compose import make_pipeline
from streaming.app.journals import settings_of
from streaming.evaluation import check_events
from streaming.events import Event, Notice
from streaming.journal_files import folders_in, has_ended, read_about, read_events

needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill")
SCRIPTED = ("--backend", "scripted", "--vad", "loud")
SLOWLY = ("--backend", "scripted:pass_s=0.1", "--vad", "loud", "--pace", "fast")
"""Slow enough that a kill comes before the end."""
NOTHING = "nothing to resume in kept; DIR/SESSION --whole puts out what has ended\n"
WORDS = [word.text for word in cli_plugin.SAID.words]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the parts of `cli_plugin` are installed, and what they hear is in said.wav."""
    cli_plugin.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_wav(tmp_path / "said.wav", 1)
    return tmp_path


def write_wav(path: Path, n_channels: int) -> None:
    pcm = (cli_plugin.SAID.audio() * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(n_channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.repeat(pcm, n_channels).tobytes())


def killed_after(home: Path, n_lines: int, *argv: str) -> list[Event]:
    """Start the command, kill it once it has put out so many lines; returns what it put out."""
    process = cli_plugin.start(home, *argv, "--journal", "kept", "--format", "jsonl")
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(n_lines)]
    process.kill()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    rest = out.splitlines(keepends=True)
    return parsed([*lines, *(line for line in rest if line.endswith("\n"))])


def resume(home: Path, *argv: str) -> tuple[int, str, str]:
    process = cli_plugin.start(home, "resume", *argv)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def events_of(out: str) -> list[Event]:
    return parsed(out.splitlines())


# -- a process that is killed -------------------------------------------------------------------


@needs_kill
def test_a_killed_run_of_a_file_is_finished_with_unbroken_numbers(home: Path) -> None:
    shown = killed_after(home, 12, "said.wav", *SLOWLY)
    (folder,) = folders_in(home / "kept")
    kept = list(read_events(folder))
    code, out, err = resume(home, "kept", "--format", "jsonl")
    assert (code, err) == (0, f"info: the session goes on from {err.split()[-2]} s\n")
    new = events_of(out)
    assert shown == kept[: len(shown)]
    assert new[0].seq == len(kept) <= len(shown) + 1
    assert isinstance(new[0], Notice)
    assert new[0].code == "resumed"
    assert check_events(kept + new) == []
    assert [word.text for word in said(kept + new)] == WORDS
    assert list(read_events(folder)) == kept + new
    assert resume(home, "kept") == (0, "", NOTHING)


@needs_kill
def test_a_resumed_text_has_what_was_not_said_yet_and_a_whole_one_all(home: Path) -> None:
    killed_after(home, 14, "said.wav", *SLOWLY, "--label", "Zoë")
    (folder,) = folders_in(home / "kept")
    before = "".join(word.text for word in said(read_events(folder)))
    whole = "".join(WORDS)
    assert 0 < len(before) < len(whole)
    code, out, _ = resume(home, "kept", "--output", "rest.txt")
    assert (code, out) == (0, f"Zoë: {whole.removeprefix(before).strip()}\n")
    assert (home / "rest.txt").read_text("utf-8") == out
    code, out, _ = resume(home, str(folder), "--whole", "--output", "all.srt")
    assert (code, out) == (0, f"Zoë: {whole.strip()}\n")
    assert "00:00:00," in (home / "all.srt").read_text("utf-8")


@needs_kill
def test_a_resume_that_is_killed_is_resumed(home: Path) -> None:
    killed_after(home, 8, "said.wav", *SLOWLY)
    (folder,) = folders_in(home / "kept")
    first = cli_plugin.start(home, "resume", "kept", "--format", "jsonl")
    assert first.stdout is not None
    for _ in range(6):
        first.stdout.readline()
    first.kill()
    first.communicate(timeout=20)
    code, _, _ = resume(home, "kept")
    assert code == 0
    events = list(read_events(folder))
    assert check_events(events) == []
    assert [word.text for word in said(events)] == WORDS
    assert len([e for e in events if isinstance(e, Notice) and e.code == "resumed"]) == 2


@needs_kill
def test_both_channels_of_a_call_go_on_side_by_side(home: Path) -> None:
    write_wav(home / "call.wav", 2)
    killed_after(home, 24, "call.wav", "--channels", "split", *SLOWLY)
    folders = folders_in(home / "kept")
    assert len(folders) == 2
    code, out, _ = resume(home, "kept", "--format", "jsonl")
    assert code == 0
    assert len({event.session for event in events_of(out)}) == 2
    for folder in folders:
        events = list(read_events(folder))
        assert check_events(events) == []
        assert [word.text for word in said(events)] == WORDS


@needs_kill
def test_what_came_through_a_pipe_is_finished_where_the_journal_ends(home: Path) -> None:
    pcm = (cli_plugin.SAID.audio() * 32767).astype("<i2").tobytes()
    process = cli_plugin.start(
        home, "-", *SCRIPTED, "--journal", "kept", "--format", "jsonl", stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    os.write(process.stdin.fileno(), pcm[: 6 * 32_000])
    while '"type": "committed"' not in process.stdout.readline():
        pass
    process.kill()
    process.communicate(timeout=20)
    code, _, _ = resume(home, "kept")
    (folder,) = folders_in(home / "kept")
    events = list(read_events(folder))
    assert (code, check_events(events)) == (0, [])
    (audio,) = folder.glob("audio-*")
    heard_s = audio.stat().st_size / 32_000
    expected = [w.text for w in cli_plugin.SAID.words if w.end_s <= heard_s]
    assert [word.text for word in said(events)] == expected


@needs_kill
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_file_that_is_not_what_it_was_is_not_read_on(how: str, home: Path) -> None:
    killed_after(home, 12, "said.wav", *SLOWLY)
    if how == "changed":
        write_wav(home / "said.wav", 2)
    else:
        (home / "said.wav").unlink()
    word = "has changed" if how == "changed" else "is gone"
    (folder,) = folders_in(home / "kept")
    before = (folder / "events.jsonl").read_bytes()
    code, out, err = resume(home, "kept", "--format", "jsonl")
    assert (code, out) == (2, "")
    assert f"said.wav {word} since; bring it back, or " in err
    assert (folder / "events.jsonl").read_bytes() == before, "it can still be resumed"
    code, out, err = resume(home, "kept", "--without-input", "--format", "jsonl")
    assert code == 0
    assert f"said.wav {word}; what the journal has of it is finished" in err
    assert check_events(read_events(folder)) == []
    assert any(isinstance(e, Notice) and e.code == "input_gone" for e in events_of(out))


@needs_kill
def test_a_run_that_lives_is_left_alone(home: Path) -> None:
    process = cli_plugin.start(home, "said.wav", *SLOWLY, "--journal", "kept")
    (home / "kept").mkdir(exist_ok=True)
    while not folders_in(home / "kept"):
        assert process.poll() is None
    code, out, err = resume(home, "kept")
    process.kill()
    process.communicate(timeout=20)
    assert (code, out) == (0, "")
    assert "is being written; its run is not over" in err


# -- without one ----------------------------------------------------------------------------------


def run(*argv: str) -> int:
    return run_command([*argv, *SCRIPTED, "--pace", "fast"])


def test_a_run_that_ends_has_nothing_to_resume(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("said.wav", "--journal", "kept") == 0
    (folder,) = folders_in(home / "kept")
    assert has_ended(folder)
    capsys.readouterr()
    assert run_command(["resume", "kept"]) == 0
    assert capsys.readouterr().err == NOTHING


def test_the_settings_of_a_session_survive(home: Path) -> None:
    home.joinpath("rules.txt").write_text("damn -> *\n")
    options = ["--hotwords", "Ada,Bob", "--replace", "rules.txt", "--endpoint-silence", "0.9"]
    assert run("said.wav", "--journal", "kept", *options, "--start", "1", "--label", "me") == 0
    (folder,) = folders_in(home / "kept")
    about = read_about(folder)
    expected = Settings(
        backend="scripted",
        vad="loud",
        hotwords=("Ada", "Bob"),
        replace=str(home / "rules.txt"),
        endpoint_silence_s=0.9,
        label="me",
        pace="fast",
    )
    assert settings_of(about) == expected
    said_wav = home / "said.wav"
    about["input"].pop("ends")
    assert about["input"] == {
        "path": str(said_wav),
        "start_s": 1.0,
        "duration_s": None,
        "channel": None,
        "size": said_wav.stat().st_size,
    }
    make_pipeline(FileSource(said_wav), settings_of(about))


@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_a_journal_changes_nothing_of_what_is_put_out(
    pace: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["said.wav", *SCRIPTED, "--pace", pace]
    assert run_command(argv) == 0
    plain = capsys.readouterr()
    assert run_command([*argv, "--journal", "kept"]) == 0
    assert capsys.readouterr() == plain


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["resume", "nowhere"], 2, "cannot read nowhere: No such file"),
        (["resume", "."], 2, ". holds no journal; --journal DIR keeps one"),
        (["resume", ".", "--record", "a.wav"], 2, "unrecognized arguments: --record"),
        (["resume", ".", "--journal-limit", "1"], 2, "must be at least 50 MB"),
        (["said.wav", "--journal-limit", "100"], 2, "--journal-limit is for --journal DIR"),
        (["said.wav", "--journal", "k", "--journal-limit", "1"], 2, "must be at least 50 MB"),
        (["said.wav", "--journal", "said.wav", *SCRIPTED], 1, "cannot write the journal said.wav"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(
    argv: list[str], code: int, message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_several_runs_are_resumed_in_turn_but_not_into_one_file(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert run("said.wav", "--journal", "kept") == 0
    folders = folders_in(home / "kept")
    for folder in folders:  # as if they had been killed
        lines = (folder / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
        (folder / "events.jsonl").write_text("".join(lines[:20]), encoding="utf-8")
    capsys.readouterr()
    assert run_command(["resume", "kept", "--output", "a.srt"]) == 2
    assert "--output is for one run; name one of them" in capsys.readouterr().err
    assert run_command(["resume", "kept", "--format", "jsonl"]) == 0
    events = events_of(capsys.readouterr().out)
    assert len({event.session for event in events}) == 2
    for folder in folders:
        assert [word.text for word in said(read_events(folder))] == WORDS


def test_a_session_of_a_journal_can_be_looked_at(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bokeh")
    assert run("said.wav", "--journal", "kept") == 0
    (folder,) = folders_in(home / "kept")
    assert run_command(["report", str(folder), "-o", "kept.html"]) == 0
    page = (home / "kept.html").read_text("utf-8")
    assert WORDS[0].strip() in page
    assert "There is no recording beside the log" not in page


@needs_kill
def test_a_file_that_was_only_touched_or_copied_is_read_on(home: Path) -> None:
    killed_after(home, 12, "said.wav", *SLOWLY)
    os.utime(home / "said.wav", (1, 1))
    code, _, _ = resume(home, "kept")
    (folder,) = folders_in(home / "kept")
    assert code == 0
    assert [word.text for word in said(read_events(folder))] == WORDS


def test_an_output_of_the_first_run_is_not_overwritten_with_the_rest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_off(home)
    (home / "a.srt").write_text("the first half")
    assert run_command(["resume", "kept", "--output", "a.srt"]) == 2
    assert "a.srt exists, and would have the rest alone; --whole" in capsys.readouterr().err
    assert (home / "a.srt").read_text() == "the first half"
    assert run_command(["resume", "kept", "--whole", "--output", "a.srt"]) == 0
    assert "".join(WORDS).split()[0] in (home / "a.srt").read_text("utf-8")


def test_one_folder_that_cannot_be_read_keeps_no_other_from_going_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(home)
    for name, text in (("a", "{"), ("b", '{"version": 99}')):
        (home / "kept" / name).mkdir()
        (home / "kept" / name / "session.json").write_text(text)
    assert run_command(["resume", "kept"]) == 2
    err = capsys.readouterr().err
    assert "is damaged" in err
    assert "is of version 99" in err
    assert has_ended(folder)
    assert [word.text for word in said(read_events(folder))] == WORDS


def test_a_session_that_was_cut_off_before_it_began_leaves_nothing(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cut_off(home)
    (folder / "events.jsonl").write_text("")
    assert run_command(["resume", "kept"]) == 0
    assert not folder.exists()


def cut_off(home: Path) -> Path:
    """A journal as if its run had been killed in the middle."""
    assert run("said.wav", "--journal", "kept") == 0
    (folder,) = folders_in(home / "kept")
    lines = (folder / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
    (folder / "events.jsonl").write_text("".join(lines[:20]), encoding="utf-8")
    return folder


def test_a_session_file_of_a_newer_version_is_told(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home / "kept" / "a"
    folder.mkdir(parents=True)
    folder.joinpath("session.json").write_text(json.dumps({"version": 99}))
    assert run_command(["resume", "kept"]) == 2
    assert "is of version 99" in capsys.readouterr().err
