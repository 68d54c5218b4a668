"""Commit policies, chunks and windows: what they cost in errors, delay and compute.

    python bench/policies.py [--backend NAME] [--policy NAME] [--chunk S ...] [--json]

Every setting is streamed in simulated pace over the clips for choosing. Those that no other
one beats in errors lost, delay (p95) and real-time factor together are the front. The default
setting and the front's best in each of the three then run over the clips for reporting.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from _backends import BACKENDS, add_backend_option
from _backends import load as load_pool
from _clips import CHOOSE, REPORT, load
from _report import report

from streaming import StreamingError, Word
from streaming.app import Settings
from streaming.app.evaluate_command import measure_clip, offline_words
from streaming.backends.pool import BackendPool
from streaming.evaluation import Clip, Evaluation, check_events, evaluate

_POLICIES = (
    "local-agreement",
    Settings().policy,
    "hold-back",
    "agreement-hold-back",
    "endpoint",
)
_CHUNKS_S = (0.3, 0.5, 1.0)
_WINDOWS_S = (6.0, 10.0)


@dataclass(frozen=True)
class _Run:
    """One setting over a set of clips."""

    settings: Settings
    evaluation: Evaluation

    @property
    def costs(self) -> tuple[float, float, float]:
        """Points of errors lost, delay p95 and real-time factor, as precise as the table."""
        e = self.evaluation
        assert e.wer_lost is not None
        assert e.commit_delay_s is not None
        assert e.real_time_factor is not None
        lost = round(100 * e.wer_lost, 1) + 0.0  # no minus zero
        p95_s = round(e.commit_delay_s.p95, 2)
        return lost, p95_s, round(e.real_time_factor, 2)

    def beats(self, other: _Run) -> bool:
        """Nowhere worse and somewhere better."""
        pairs = zip(self.costs, other.costs, strict=True)
        return self.costs != other.costs and all(mine <= theirs for mine, theirs in pairs)

    def row(self, clips: str, front: Sequence[Settings]) -> dict[str, str | float]:
        e, s = self.evaluation, self.settings
        assert e.wer is not None
        assert e.commit_delay_s is not None
        lost, p95_s, factor = self.costs
        marks = [*["default"] * (s == _default(s.backend)), *["front"] * (s in front)]
        return {
            "clips for": clips,
            "backend": s.backend,
            "policy": s.policy,
            "chunk s": f"{s.chunk_s:g}",
            "window s": f"{s.window_s:g}",
            "WER %": f"{100 * e.wer:.1f}",
            "lost, points": f"{lost:+.1f}",
            "delay p50 s": f"{e.commit_delay_s.p50:.2f}",
            "p95 s": f"{p95_s:.2f}",
            "RTF": f"{factor:.2f}",
            "mark": ", ".join(marks),
        }


class _Stand:
    """A loaded backend, and the offline passes that it has made."""

    def __init__(self, worker: BackendPool) -> None:
        self._worker = worker
        self._offline: dict[str, tuple[Word, ...]] = {}

    async def run(self, settings: Settings, clips: Sequence[Clip]) -> _Run:
        for clip in clips:
            if clip.name not in self._offline:
                words = await offline_words(clip, settings, self._worker)
                self._offline[clip.name] = words
        started = time.perf_counter()
        measurements = []
        for clip in clips:
            measurement, events = await measure_clip(
                clip, settings, self._worker, offline=self._offline[clip.name]
            )
            if broken := check_events(events):
                sys.exit(f"{clip.name}, {settings}: {broken}")
            measurements.append(measurement)
        run = _Run(settings, evaluate(measurements))
        lost, p95_s, factor = run.costs
        _say(
            f"{settings.backend} {settings.policy} chunk {settings.chunk_s:g} "
            f"window {settings.window_s:g}: lost {lost:+.1f}, p95 {p95_s:.2f} s, "
            f"RTF {factor:.2f} ({time.perf_counter() - started:.0f} s)"
        )
        return run


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _default(backend: str) -> Settings:
    return Settings(backend=backend, pace="simulated")


def _grid(
    backend: str, policies: Sequence[str], chunks_s: Sequence[float], windows_s: Sequence[float]
) -> list[Settings]:
    return [
        Settings(
            backend=backend, policy=policy, chunk_s=chunk_s, window_s=window_s, pace="simulated"
        )
        for policy, chunk_s, window_s in product(policies, chunks_s, windows_s)
        # What is committed at an endpoint does not depend on the passes before.
        if policy != "endpoint" or chunk_s == max(chunks_s)
    ]


async def _rows(
    worker: BackendPool,
    backend: str,
    policies: Sequence[str],
    chunks_s: Sequence[float],
    windows_s: Sequence[float],
    others: Sequence[Clip],
) -> list[dict[str, str | float]]:
    choose = load(CHOOSE)
    stand = _Stand(worker)
    grid = _grid(backend, policies, chunks_s, windows_s)
    runs = [await stand.run(settings, choose) for settings in grid]
    front = [run for run in runs if not any(other.beats(run) for other in runs)]
    best = (
        min(front, key=lambda run: (run.costs[cost], run.costs)).settings
        for cost in range(len(front[0].costs))
    )
    few = dict.fromkeys([_default(backend), *best])
    reported = [await stand.run(settings, others) for settings in few] if others else []
    marked = [run.settings for run in front]
    return [
        *(run.row("choosing", marked) for run in runs),
        *(run.row("reporting", marked) for run in reported),
    ]


def _measure(
    backends: Sequence[str] | None,
    policies: Sequence[str] | None,
    chunks_s: Sequence[float],
    windows_s: Sequence[float],
    report_on: Sequence[str],
) -> list[dict[str, str | float]]:
    rows = []
    others = load(report_on)
    for backend in backends or BACKENDS:
        worker = load_pool(_default(backend))
        if worker is None:
            continue
        try:
            rows += asyncio.run(
                _rows(worker, backend, policies or _POLICIES, chunks_s, windows_s, others)
            )
        finally:
            worker.close()
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument(
        "--policy",
        dest="policies",
        action="append",
        metavar="NAME[:KEY=VALUE]",
        help="this one only; may be given again",
    )
    for flag, field, default in (
        ("--chunk", "chunks_s", _CHUNKS_S),
        ("--window", "windows_s", _WINDOWS_S),
    ):
        parser.add_argument(flag, dest=field, type=float, nargs="+", default=default, metavar="S")
    parser.add_argument(
        "--report-on", nargs="*", default=REPORT, metavar="CLIP", help="none: choose only"
    )


if __name__ == "__main__":
    packages = ("pywhispercpp", "ctranslate2", "numba", "numpy")
    try:
        report(
            "Policies",
            _measure,
            packages,
            model=Settings().model,
            options=_options,
            recordings=True,
        )
    except StreamingError as error:
        sys.exit(str(error))
