"""What the benchmarks share: the machine, medians, and a table in Markdown or JSON.

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
from importlib.metadata import version
from pathlib import Path

__all__ = ["median_s", "report"]

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call, after one call that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


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
        **{package: version(package) for package in packages},
    }


def report(
    name: str,
    measure: Callable[[], Sequence[Mapping[str, str | float]]],
    packages: Sequence[str],
) -> None:
    """Run a benchmark from the command line and print what it found.

    Args:
        name: title of the table.
        measure: returns the rows; all have the same keys, which name column and unit.
        packages: distributions whose versions belong to the result.
    """
    parser = argparse.ArgumentParser(description=f"Benchmark: {name}.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    as_json = parser.parse_args().json
    machine, rows = _machine(packages), measure()
    if as_json:
        print(json.dumps({"benchmark": name, "machine": machine, "rows": rows}, indent=1))
        return
    print(f"## {name}\n")
    print(", ".join(f"{key} {value}" for key, value in machine.items()) + "\n")
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for row in rows:
        cells = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row.values()]
        print("| " + " | ".join(cells) + " |")
