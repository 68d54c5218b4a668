"""Too little memory, and disks that are full or cannot be written: the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cli_plugin
import pytest
from faults import ENDS_S

from streaming.backends import memory
from streaming.backends.memory import is_shortage, require_memory
from streaming.errors import BackendError, ConfigurationError
from streaming.models import ModelStore

JFK = Path(__file__).parents[1] / "examples" / "jfk.flac"
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


def command(folder: Path, *argv: str | Path, **options: Any) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and lines of standard error."""
    if not (folder / "cli_plugin-1.0.dist-info").exists():
        cli_plugin.install(folder)
    process = cli_plugin.start(folder, JFK, "--pace", "fast", *argv, **options)
    try:
        out, err = process.communicate(timeout=2 * ENDS_S)
    finally:
        process.kill()
    return process.returncode, out, err.splitlines()


def limited(what: str, n_bytes: int) -> Any:
    def limit() -> None:
        import resource

        number = getattr(resource, what)
        resource.setrlimit(number, (n_bytes, n_bytes))

    return limit


# -- memory ---------------------------------------------------------------------------------------


@on_linux
@pytest.mark.needs_model
@pytest.mark.parametrize("backend", ["whisper.cpp", "ctranslate2"])
@pytest.mark.parametrize("megabytes", [300, 700, 1100, 1500])
def test_too_little_memory_is_one_line_and_no_abort(
    megabytes: int, backend: str, tmp_path: Path
) -> None:
    ModelStore().path("tiny.en")  # making its file is told, too
    limit = limited("RLIMIT_AS", megabytes * 1_000_000)
    code, out, err = command(tmp_path, "--backend", backend, preexec_fn=limit)
    assert (code, out) == (1, "")
    (line,) = err
    assert line.startswith("stream-transcribe: not enough memory for tiny.en: it takes about ")
    assert line.endswith("; try a smaller --model")


@on_linux
def test_a_model_larger_than_what_is_left_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_memory("large-v3", threads=1, size_bytes=1_000_000)
    with pytest.raises(BackendError, match=r"it takes about 1000000000 MB of memory, and"):
        require_memory("large-v3", threads=1, size_bytes=10**15)
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 8000000 kB\nSwapFree: 0 kB\n",
        "/sys/fs/cgroup/memory.max": "600000000\n",
        "/sys/fs/cgroup/memory.current": "500000000\n",
        "/sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 20000000\nactive_file 30000000\n",
    }
    monkeypatch.setattr(memory, "_read", files.get)
    require_memory("base", threads=1, size_bytes=149_000_000)
    with pytest.raises(BackendError, match="and 150 MB are left"):
        require_memory("base", threads=1, size_bytes=151_000_000)
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    require_memory("base", threads=1, size_bytes=151_000_000)


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (BackendError("CTranslate2 failed: mkl_malloc: failed to allocate memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("can't start new thread"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (ImportError("No module named 'av'"), False),
        (ConfigurationError("unknown backend"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_a_shortage_of_memory_is_known_by_what_native_parts_say(
    error: Exception, short: bool
) -> None:
    assert is_shortage(error) is short
    outer = BackendError("it failed")
    outer.__cause__ = error
    assert is_shortage(outer) is short


def test_errors_that_go_round_in_a_circle_are_looked_at_once() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_shortage(first)


# -- disks ----------------------------------------------------------------------------------------


@needs_full
def test_an_output_on_a_full_disk_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    tmp_path.joinpath("full.jsonl").symlink_to("/dev/full")
    outputs = ["--output", "full.jsonl", "--output", "good.jsonl"]
    code, out, err = command(tmp_path, "--backend", "scripted", *outputs)
    assert code == 1
    reason = "cannot write full.jsonl: No space left on device"
    assert err == [f"error: {reason}; going on without it", f"stream-transcribe: {reason}"]
    events = [json.loads(line) for line in tmp_path.joinpath("good.jsonl").read_text().splitlines()]
    assert [e["code"] for e in events if e["type"] == "notice"] == ["sink_failed"]
    assert events[-1]["reason"] == "end_of_stream"
    assert out.split()


@on_linux
def test_a_disk_that_fills_in_mid_run_costs_only_what_does_not_fit(tmp_path: Path) -> None:
    limit = limited("RLIMIT_FSIZE", 4096)
    environment = {"NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", "")}
    code, out, err = command(
        tmp_path,
        *("--backend", "scripted", "--output", "a.jsonl", "--output", "a.txt"),
        preexec_fn=limit,
        environment={name: value for name, value in environment.items() if value},
    )
    assert code == 1
    reason = "cannot write a.jsonl: File too large"
    assert err[-2:] == [f"error: {reason}; going on without it", f"stream-transcribe: {reason}"]
    assert tmp_path.joinpath("a.txt").read_text() == out
    assert out.split()
    assert tmp_path.joinpath("a.jsonl").stat().st_size == 4096


@on_linux
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount")
def test_a_small_file_system_that_fills_in_mid_run_is_the_same(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this container mounts nothing")
    try:
        outputs = ["--output", "small/a.jsonl", "--output", "a.txt"]
        code, out, err = command(tmp_path, "--backend", "scripted", *outputs)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert code == 1
    assert "No space left on device; going on without it" in err[-2]
    assert tmp_path.joinpath("a.txt").read_text() == out


@on_linux
def test_a_recording_that_meets_a_full_disk_stops_and_the_transcript_goes_on(
    tmp_path: Path,
) -> None:
    limit = limited("RLIMIT_FSIZE", 60_000)
    options = ["--backend", "scripted", "--record", "a.wav"]
    code, out, err = command(tmp_path, *options, preexec_fn=limit)
    assert code == 0
    (line,) = err
    assert line.startswith("error: cannot write a.wav: ")
    assert line.endswith("; the recording stops, the transcript goes on")
    assert len(out.split()) > 20


@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files")
@pytest.mark.parametrize("option", ["--output", "--record"])
def test_a_folder_that_takes_no_file_is_told_before_anything_is_decoded(
    option: str, tmp_path: Path
) -> None:
    name = "/proc/a.txt" if option == "--output" else "/proc/a.wav"
    code, out, err = command(tmp_path, "--backend", "scripted", option, name)
    assert (code, out) == (1, "")
    (line,) = err
    assert line.startswith(f"stream-transcribe: cannot write {name}: ")


@pytest.mark.needs_model
@pytest.mark.skipif(sys.platform != "linux", reason="/proc takes no files")
def test_a_model_cache_that_cannot_be_written_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    environment = {"STREAM_TRANSCRIBE_CACHE": "/proc/models"}
    code, out, err = command(tmp_path, "--backend", "whisper.cpp", environment=environment)
    assert (code, out) == (1, "")
    (line,) = err
    assert line.startswith("stream-transcribe: the model cache /proc/models cannot be used (")
    assert line.endswith("; set STREAM_TRANSCRIBE_CACHE to a folder that you can write to")
