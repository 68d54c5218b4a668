"""What the benchmarks share: options, the machine, medians, and a table in Markdown or JSON.

Importing it makes the packages of this checkout importable, installed or not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

__all__ = [
    "RECORDINGS",
    "ROOT",
    "in_new_process",
    "markdown",
    "median_s",
    "report",
    "require",
]

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

RECORDINGS = Path(
    os.environ.get("STREAM_TRANSCRIBE_RECORDINGS") or ROOT.parent / "shared" / "audio"
)
"""Recordings with references that the repository does not ship; may be absent."""


def _require_recordings() -> None:
    """End with one line where they are absent."""
    if not (RECORDINGS / "manifest.json").is_file():
        sys.exit("no recordings: set STREAM_TRANSCRIBE_RECORDINGS to a folder of them")


def require(module: str) -> Any:
    """Import what only the benchmarks need; end with one line where it is absent."""
    try:
        return import_module(module)
    except ImportError:
        sys.exit(f'{module} is missing: pip install "stream-transcribe[bench]"')


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call, after one call that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def in_new_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a fresh process: no memory, threads or settings before it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(work, *arguments).result()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _machine(packages: Sequence[str]) -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: found for package in packages if (found := _version(package))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # its rows are left out, too
        return None


def report(
    name: str,
    measure: Callable[..., Sequence[Mapping[str, str | float]]],
    packages: Sequence[str],
    *,
    model: str | None = None,
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    recordings: bool = False,
) -> None:
    """Run a benchmark from the command line and print what it found.

    Args:
        name: title of the table.
        measure: returns the rows; all have the same keys, which name column and unit. It gets
            the values of the options as keyword arguments.
        packages: distributions whose versions, where they are installed, belong to the result.
        model: what was decoded with, where it is not a column.
        options: adds the benchmark's own options.
        recordings: it reads recordings, and ends with one line where they are absent.
    """
    parser = argparse.ArgumentParser(description=f"Benchmark: {name}.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    if options is not None:
        options(parser)
    chosen = vars(parser.parse_args())
    as_json = chosen.pop("json")
    if recordings:
        _require_recordings()
    rows = measure(**chosen)
    if not rows:
        sys.exit("nothing to measure")
    machine = _machine(packages) | ({"model": model} if model else {})
    result = {"benchmark": name, "machine": machine, "rows": rows}
    print(json.dumps(result, indent=1) if as_json else f"## {name}\n\n{markdown(result)}")


def markdown(result: Mapping[str, Any]) -> str:
    """The table of a result, with the machine it was measured on underneath."""
    rows = result["rows"]
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
    for row in rows:
        cells = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    machine = ", ".join(f"{key} {value}" for key, value in result["machine"].items())
    return "\n".join([*lines, "", f"Measured on: {machine}."])
