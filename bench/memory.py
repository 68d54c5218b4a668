"""An hour of speech: does memory grow, do passes get slower?

    python bench/memory.py [--rounds N] [--backend NAME] [--json]

The same recordings are streamed one after the other, again and again, as one session in simulated
pace; after each round, all that was heard since the last row was heard before it, too. One pass
at full encoder context, as the loop guard asks for now and then, comes first: the native core
then holds the largest buffers that it will ever use, and what grows afterwards is a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from typing import Self

import numpy as np
from _backends import BACKENDS, Decoded, Pool, add_backend_option, load, on_each_pass, pipeline
from _report import RECORDINGS, in_new_process, report, require

from sources.file import FileSource
from streaming import AudioChunk, Stats
from streaming.app import Settings
from streaming.audio import seconds
from streaming.protocols import Window

_CLIPS = (
    "printing_231s",
    "bush_radio_127s",
    "apollo11_radio_89s",
    "office_ambience_60s",
    "harvard_18s",
)
_ROUNDS = 7
"""They last an hour."""


class _Joined:
    """The clips one after the other, again and again; tells when a round ends, and where."""

    live = False

    def __init__(self, rounds: int, tell: Callable[[int], None]) -> None:
        self._rounds = rounds
        self._tell = tell

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        at = 0
        for _ in range(self._rounds):
            for clip in _CLIPS:
                async with FileSource(RECORDINGS / f"{clip}.flac", pace="simulated") as source:
                    async for item in source:
                        yield AudioChunk(item.samples, at)
                        at += len(item.samples)
            self._tell(at)


class _Marks:
    """What was in use after each round, and how long its passes took."""

    def __init__(self) -> None:
        self._process = require("psutil").Process()
        self._passes_s: list[float] = []
        self.rows: list[dict[str, str | float]] = []
        self._first_mb = 0.0

    def note_pass(self, _: Window, decoded: Decoded) -> None:
        self._passes_s.append(decoded.compute_s)

    def note_round(self, at: int) -> None:
        memory_mb = self._process.memory_info().rss / 1e6
        self._first_mb = self._first_mb or memory_mb
        passes_s, self._passes_s = self._passes_s, []
        self.rows.append(
            {
                "minutes": f"{seconds(at) / 60:.1f}",
                "memory MB": f"{memory_mb:.0f}",
                "since the first row %": f"{100 * (memory_mb / self._first_mb - 1):+.1f}",
                "passes": f"{len(passes_s)}",
                "median pass ms": f"{1000 * statistics.median(passes_s or [0]):.0f}",
            }
        )
        print(f"{seconds(at) / 60:.0f} min {memory_mb:.0f} MB", file=sys.stderr, flush=True)


def _rows(backend: str, rounds: int) -> list[dict[str, str | float]]:
    # Long chunks: a quarter of the passes, over the same audio and windows as long.
    settings = Settings(backend=backend, pace="simulated", chunk_s=2.0)
    pool = load(settings)
    if pool is None:
        return []
    marks = _Marks()
    asyncio.run(_stream(settings, pool, rounds, marks))
    pool.close()
    return [{"backend": backend, **row} for row in marks.rows]


async def _stream(settings: Settings, pool: Pool, rounds: int, marks: _Marks) -> None:
    largest = np.zeros((pool.loaded.result().n_mels, 3_000), dtype=np.float32)
    pool.submit(Window(start_sample=0, mel=largest, careful=True)).result()
    on_each_pass(pool, marks.note_pass)
    source = _Joined(rounds, marks.note_round)
    async with pipeline(source, settings, pool) as session:
        async for event in session.events():
            if isinstance(event, Stats):
                print(f"real-time factor {event.real_time_factor:.2f}", file=sys.stderr)


def _measure(backends: list[str] | None, rounds: int) -> list[dict[str, str | float]]:
    names = backends or BACKENDS
    return [row for name in names for row in in_new_process(_rows, name, rounds)]


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument(
        "--rounds", type=int, default=_ROUNDS, metavar="N", help="of nine minutes (default: 7)"
    )


if __name__ == "__main__":
    report(
        "An hour",
        _measure,
        ("pywhispercpp", "ctranslate2", "numba", "numpy"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
