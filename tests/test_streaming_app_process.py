"""The command as a process: signals, closed and full streams, logging, shadowed packages."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cli_plugin
import pytest

Start = Callable[..., subprocess.Popen[str]]

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the command, with third-party parts installed."""
    cli_plugin.install(tmp_path)

    def start(*argv: str | Path, **options: Any) -> subprocess.Popen[str]:
        return cli_plugin.start(tmp_path, *argv, **options)

    return start


def ends(process: subprocess.Popen[str], within_s: float = 20.0) -> tuple[int, str, str]:
    """Exit code and the rest of stdout and stderr; a hang is a failure."""
    try:
        out, err = process.communicate(timeout=within_s)
    finally:
        process.kill()
    return process.returncode, out or "", err or ""


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


# -- signals ------------------------------------------------------------------------------------


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_finishes_what_was_said(
    number: signal.Signals, code: int, start: Start, jfk: Path, tmp_path: Path
) -> None:
    process = start(jfk, "--backend", "scripted", "--format", "jsonl", "--output", "a.txt")
    while '"type": "committed"' not in first_line(process):
        pass
    process.send_signal(number)
    returned, out, err = ends(process)
    said = "info: finishing what was said; Ctrl-C again stops at once\n"
    assert (returned, err) == (code, said)
    assert '"reason": "end_of_stream"' in out.splitlines()[-1]
    assert tmp_path.joinpath("a.txt").read_text().endswith("\n")


@needs_signals
def test_a_second_signal_stops_at_once(start: Start, jfk: Path) -> None:
    process = start(jfk, "--backend", "scripted:pass_s=15", "--format", "jsonl")
    while '"speech_started"' not in first_line(process):
        pass
    time.sleep(1.0)  # a pass is under way
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, _, err = ends(process, within_s=3.0)
    assert code == 130
    assert "Traceback" not in err


@needs_signals
def test_a_signal_stops_the_loading_of_a_model(start: Start, jfk: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("a.txt").write_text("of the last run")
    process = start(jfk, "--backend", "scripted:load_s=30", "--output", "a.txt")
    deadline = time.monotonic() + 20
    while not tmp_path.joinpath("loading").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert ends(process, within_s=3.0) == (130, "", "")
    assert tmp_path.joinpath("a.txt").read_text() == "of the last run"


@needs_signals
def test_three_hours_begin_at_once_and_end_at_once(start: Start, tmp_path: Path) -> None:
    data_bytes = 3 * 3600 * 32_000
    head = b"RIFF" + (data_bytes + 36).to_bytes(4, "little") + b"WAVEfmt "
    head += bytes.fromhex("10000000 0100 0100 803e0000 007d0000 0200 1000") + b"data"
    with tmp_path.joinpath("long.wav").open("wb") as file:
        file.write(head + data_bytes.to_bytes(4, "little"))
        file.truncate(44 + data_bytes)  # a hole: silence that takes no disk
    process = start(
        *("long.wav", "--pace", "fast", "--backend", "scripted", "--vad", "loud"),
        *("--format", "jsonl"),
    )
    assert '"session_started"' in first_line(process)
    process.send_signal(signal.SIGINT)
    assert ends(process, within_s=3.0)[0] == 130


# -- standard streams ---------------------------------------------------------------------------


def test_a_closed_stdout_ends_the_run_with_0(start: Start, jfk: Path) -> None:
    process = start(jfk, "--backend", "scripted", "--format", "jsonl")
    first_line(process)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert (process.wait(timeout=20), process.stderr.read()) == (0, "")


@needs_full
@pytest.mark.parametrize("argv", [["JFK", "--pace", "fast"], ["models", "list"]])
def test_a_full_stdout_exits_with_1(argv: list[str], start: Start, jfk: Path) -> None:
    with open("/dev/full", "wb") as full:
        process = start(
            *[str(jfk) if argument == "JFK" else argument for argument in argv],
            *([] if argv[0] == "models" else ["--backend", "scripted"]),
            stdout=full,
        )
        said = "stream-transcribe: cannot write standard output: No space left on device\n"
        assert ends(process) == (1, "", said)


@needs_signals
def test_with_stderr_closed_nothing_goes_to_stdout_instead(tmp_path: Path) -> None:
    command = f"{sys.executable} -m streaming missing.wav 2>&-"
    shell = subprocess.run(
        ["sh", "-c", command],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        timeout=20,
        check=False,
    )
    assert (shell.returncode, shell.stdout) == (2, b"")


def test_output_is_utf8_whatever_the_locale_says(start: Start, jfk: Path) -> None:
    process = start(
        *(jfk, "--pace", "fast", "--backend", "scripted", "--label", "Zoë"),
        environment={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    )
    code, out, err = ends(process)
    assert (code, err) == (0, "")
    assert out.startswith("Zoë: ")


# -- the first run, and neighbours --------------------------------------------------------------


def test_the_first_compilation_says_that_it_is_happening(
    start: Start, jfk: Path, tmp_path: Path
) -> None:
    process = start(
        *(jfk, "--pace", "fast", "--backend", "scripted"),
        environment={"NUMBA_CACHE_DIR": str(tmp_path / "numba")},
    )
    code, out, err = ends(process, within_s=60)
    assert code == 0
    assert out
    assert err.startswith("compiling the mel kernel")
    assert err.count("\n") == 1


@pytest.mark.parametrize("shadow", ["sources/__init__.py", "policies.py"])
def test_a_package_that_shadows_ours_is_told_in_one_line(
    shadow: str, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "work" / shadow
    path.parent.mkdir(parents=True)
    path.touch()
    code, out, err = ends(start("models", "list", cwd=tmp_path / "work"))
    name = shadow.partition("/")[0]
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{tmp_path / 'work' / name} shadows it; rename that one" in err


def test_another_distribution_with_our_package_is_told_in_one_line(
    start: Start, tmp_path: Path
) -> None:
    home = tmp_path / "work" / "mosaicml_streaming-1.0.dist-info"
    home.mkdir(parents=True)
    home.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: mosaicml-streaming\n")
    code, out, err = ends(start("models", "list", cwd=tmp_path / "work"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "mosaicml-streaming is installed here and overwrites files" in err
