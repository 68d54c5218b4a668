"""Hours of a live session on a virtual clock: does anything grow, is anything lost untold?

    python bench/soak.py [--hours N] [--seed N] [--json]

The session of `tests/long_run.py`: random talk, silence, noise, gaps and load, somebody who presses
keys, and a scripted model, so that nothing but the pipeline itself is measured and every word can
be accounted for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from _report import ROOT, report, require

sys.path.insert(0, str(ROOT / "tests"))


def _measure(hours: int, seed: int) -> list[dict[str, str | float]]:
    require("psutil")
    from long_run import Hour, long_run

    def tell(hour: Hour) -> None:
        print(f"hour {hour.number}: {hour.memory_mb:.0f} MB", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        outcome = long_run(hours, Path(folder), seed=seed, tell=tell)
    accounts = outcome.accounts
    print(
        f"{outcome.events} events of {outcome.passes} passes; of the words that were said, "
        f"{accounts.committed} came out once, {accounts.lost} were in audio that was told as lost, "
        f"{accounts.misheard} fell to a model that mishears",
        *outcome.broken,
        *accounts.problems,
        sep="\n",
        file=sys.stderr,
    )
    return [
        {
            "hour": f"{hour.number}",
            "memory MB": f"{hour.memory_mb:.0f}",
            "objects of the pipeline": f"{hour.items['everything']}",
            "longest container": f"{max(_but_everything(hour.items), default=0)}",
            "arrays MB": f"{sum(hour.arrays.values()) / 1e6:.1f}",
        }
        for hour in outcome.hours
    ]


def _but_everything(items: dict[str, int]) -> list[int]:
    return [size for name, size in items.items() if name != "everything"]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random")


if __name__ == "__main__":
    report("Ten hours", _measure, ("numpy", "numba", "psutil"), model="scripted", options=_options)
