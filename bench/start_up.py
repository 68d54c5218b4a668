"""How long the command takes until it listens, the first time and later ones.

    python bench/start_up.py [--backend NAME] [--runs N] [--json]

The command itself, as its own process on a file at pace realtime, timed from outside by the
events it prints. It listens with its first event, `session_started`: input and model are open
then, and what is said from then on is heard. The first time, the caches for models and for
compiled code are empty; the model comes from its installed package. What Python has to import
is counted in a run of its own, from its import times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _backends import BACKENDS, add_backend_option, load
from _report import ROOT, in_new_process, report

from streaming.app import Settings

_FIRST_RUNS = 2
_LIMIT_S = 120.0


@dataclass(frozen=True)
class _Start:
    """Seconds from the start of the process to what it printed."""

    listening_s: float
    text_s: float
    log: str
    """What it wrote to stderr."""


def _start(backend: str, caches: Path, python: Sequence[str] = ()) -> _Start:
    environment = {
        **os.environ,
        "STREAM_TRANSCRIBE_CACHE": str(caches / "models"),
        "NUMBA_CACHE_DIR": str(caches / "numba"),
    }
    command = [sys.executable, *python, "-m", "streaming", "examples/jfk.flac"]
    command += ["--backend", backend, "--format", "jsonl"]
    seen: dict[str, float] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                at_s = time.perf_counter() - started
                event = json.loads(line)
                seen.setdefault(event["type"], at_s)
                if event["type"] in ("partial", "committed") or at_s > _LIMIT_S:
                    break
            process.kill()
        log.seek(0)
        text = log.read()
    if not seen.keys() & {"partial", "committed"}:
        sys.exit(f"{' '.join(command)} said nothing:\n{text}")
    text_s = min(seen[name] for name in ("partial", "committed") if name in seen)
    return _Start(seen["session_started"], text_s, text)


def _import_s(log: str) -> float:
    """The sum of what ``-X importtime`` says that modules took by themselves."""
    times = [line.removeprefix("import time:").split("|") for line in log.splitlines()]
    return sum(int(cells[0]) for cells in times if cells[0].strip().isdigit()) / 1e6


def _row(backend: str, which: str, starts: Sequence[_Start], import_s: str) -> dict[str, str]:
    return {
        "backend": backend,
        "start": which,
        "runs": f"{len(starts)}",
        "imports s": import_s,
        "listening after s": f"{statistics.median(start.listening_s for start in starts):.2f}",
        "slowest s": f"{max(start.listening_s for start in starts):.2f}",
        "first text after s": f"{statistics.median(start.text_s for start in starts):.2f}",
    }


def _rows(backend: str, runs: int) -> list[dict[str, str]]:
    first = []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(_FIRST_RUNS):
            caches = Path(folder, str(i))
            first.append(_start(backend, caches))
        later = [_start(backend, caches) for _ in range(runs)]
        import_s = _import_s(_start(backend, caches, ["-X", "importtime"]).log)
    return [
        _row(backend, "first ever", first, ""),
        _row(backend, "later", later, f"{import_s:.2f}"),
    ]


def _is_there(backend: str) -> bool:
    pool = load(Settings(backend=backend))
    if pool is not None:
        pool.close()
    return pool is not None


def _measure(backends: list[str] | None, runs: int) -> list[dict[str, str]]:
    there = [name for name in backends or BACKENDS if in_new_process(_is_there, name)]
    return [row for name in there for row in _rows(name, runs)]


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="later starts")


if __name__ == "__main__":
    report(
        "Start",
        _measure,
        ("pywhispercpp", "ctranslate2", "numba", "numpy", "av"),
        model="tiny.en",
        options=_options,
    )
