"""An hour of speech: does memory grow, do passes get slower?

    python bench/memory.py [--minutes N] [--every N] [--backend NAME] [--json]

The recordings are joined until they last that long and streamed in simulated pace. One pass
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
from _report import RECORDINGS, in_new_process, report, require, require_recordings

from sources.file import FileSource
from streaming import AudioChunk, Stats
from streaming.app import Settings
from streaming.audio import SAMPLE_RATE
from streaming.protocols import Window

_CLIPS = (
    "printing_231s",
    "bush_radio_127s",
    "apollo11_radio_89s",
    "office_ambience_60s",
    "harvard_18s",
)
_MINUTE = 60 * SAMPLE_RATE


class _Joined:
    """The clips one after the other, again and again; tells where it is."""

    live = False

    def __init__(self, n_samples: int, tell: Callable[[int], None]) -> None:
        self._n_samples = n_samples
        self._tell = tell

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        at = 0
        while True:
            for clip in _CLIPS:
                async with FileSource(RECORDINGS / f"{clip}.flac", pace="simulated") as source:
                    async for item in source:
                        yield AudioChunk(item.samples, at)
                        at += len(item.samples)
                        self._tell(at)
                        if at >= self._n_samples:
                            return


class _Marks:
    """What was in use, and how long passes took, between one mark of the stream and the next."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._process = require("psutil").Process()
        self._passes_s: list[float] = []
        self.rows: list[dict[str, str | float]] = []
        self._first_mb = 0.0

    def note_pass(self, _: Window, decoded: Decoded) -> None:
        self._passes_s.append(decoded.compute_s)

    def note_place(self, at: int) -> None:
        if at < self._every * (len(self.rows) + 1):
            return
        memory_mb = self._process.memory_info().rss / 1e6
        self._first_mb = self._first_mb or memory_mb
        passes_s, self._passes_s = self._passes_s, []
        self.rows.append(
            {
                "minutes": f"{at / _MINUTE:.3g}",
                "memory MB": f"{memory_mb:.0f}",
                "since the first row %": f"{100 * (memory_mb / self._first_mb - 1):+.1f}",
                "passes": f"{len(passes_s)}",
                "median pass ms": f"{1000 * statistics.median(passes_s or [0]):.0f}",
            }
        )
        print(f"{at / _MINUTE:.0f} min {memory_mb:.0f} MB", file=sys.stderr, flush=True)


def _rows(backend: str, minutes: float, every: float) -> list[dict[str, str | float]]:
    # Long chunks: a quarter of the passes, over the same audio and windows as long.
    settings = Settings(backend=backend, pace="simulated", chunk_s=2.0)
    pool = load(settings)
    if pool is None:
        return []
    marks = _Marks(round(every * _MINUTE))
    asyncio.run(_stream(settings, pool, minutes, marks))
    pool.close()
    return [{"backend": backend, **row} for row in marks.rows]


async def _stream(settings: Settings, pool: Pool, minutes: float, marks: _Marks) -> None:
    largest = np.zeros((pool.loaded.result().n_mels, 3_000), dtype=np.float32)
    pool.submit(Window(start_sample=0, mel=largest, careful=True)).result()
    on_each_pass(pool, marks.note_pass)
    source = _Joined(round(minutes * _MINUTE), marks.note_place)
    async with pipeline(source, settings, pool) as session:
        async for event in session.events():
            if isinstance(event, Stats):
                print(f"real-time factor {event.real_time_factor:.2f}", file=sys.stderr)


def _measure(
    backends: list[str] | None, minutes: float, every: float
) -> list[dict[str, str | float]]:
    names = backends or BACKENDS
    return [row for name in names for row in in_new_process(_rows, name, minutes, every)]


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument("--minutes", type=float, default=60.0, metavar="N", help="of audio")
    parser.add_argument("--every", type=float, default=5.0, metavar="N", help="minutes in a row")


if __name__ == "__main__":
    require_recordings()
    report(
        "An hour",
        _measure,
        ("pywhispercpp", "ctranslate2", "numba", "numpy"),
        model="tiny.en",
        options=_options,
    )
