"""Run the benchmarks, keep their JSON in bench/results, and write the tables of the README.

``python bench/run_all.py`` runs all of them, ``python bench/run_all.py mel`` some.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from _report import markdown

_HERE = Path(__file__).resolve().parent
_ALL = (
    "mel",
    "ring_buffer",
    "backends",
    "clips",
    "policies",
    "margin",
    "compare",
    "hotwords",
    "commands",
    "sessions",
    "server",
    "memory",
    "start_up",
    "overhead",
    "echo",
    "captions",
    "resume",
)
_TARGETS = (_HERE / "README.md", _HERE.parent / "README.md")


def _run(name: str) -> None:
    print(f"==> bench/{name}.py", flush=True)
    done = subprocess.run(
        [sys.executable, _HERE / f"{name}.py", "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:  # it has said why
        sys.exit(done.returncode)
    results = _HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.json").write_bytes(done.stdout)
    table = markdown(json.loads(done.stdout))
    print(table)
    mark = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    for target in _TARGETS:
        text = target.read_text(encoding="utf-8")
        target.write_text(
            mark.sub(lambda found: f"{found[1]}\n{table}\n\n{found[2]}", text), encoding="utf-8"
        )


if __name__ == "__main__":
    for wanted in sys.argv[1:] or _ALL:
        _run(wanted)
