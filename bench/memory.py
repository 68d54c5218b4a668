"""Half an hour of speech: does memory grow, do passes get slower?

The recordings are joined until they last 30 minutes and streamed in simulated pace. One pass
at full encoder context, as the loop guard asks for now and then, comes first: the native core
then holds the largest buffers that it will ever use, and what grows afterwards is a leak.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Self

import numpy as np
import psutil
from _report import RECORDINGS, report, require_recordings

from sources.file import FileSource
from streaming import AudioChunk, Stats
from streaming.app import Settings, make_pipeline, make_worker
from streaming.backends.pool import BackendPool
from streaming.protocols import Backend, Hypothesis, Window

_MINUTES = 30
_CLIPS = (
    "printing_231s",
    "bush_radio_127s",
    "apollo11_radio_89s",
    "office_ambience_60s",
    "harvard_18s",
)
_MARK_SAMPLES = 5 * 60 * 16_000


class _Joined:
    """The clips one after the other, again and again; notes memory every five minutes."""

    live = False

    def __init__(self) -> None:
        self.memory_mb: list[float] = []

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
                        if at // _MARK_SAMPLES > len(self.memory_mb):
                            rss = psutil.Process().memory_info().rss / 1e6
                            self.memory_mb.append(rss)
                            print(f"{at / 960_000:.0f} min {rss:.0f} MB", file=sys.stderr)
                        if at >= _MINUTES * 60 * 16_000:
                            return


class _Timed:
    """A backend that notes how long each pass took and where."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.passes: list[tuple[int, float]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def decode(self, window: Window) -> Hypothesis:
        started = time.perf_counter()
        hypothesis = self._backend.decode(window)
        self.passes.append((window.end_sample, time.perf_counter() - started))
        return hypothesis


async def _measure() -> list[dict[str, str | float]]:
    # Long chunks: a quarter of the passes, over the same audio and windows as long.
    settings = Settings(pace="simulated", chunk_s=2.0)
    inner = make_worker(settings)
    inner.start()
    timed = _Timed(await asyncio.wrap_future(inner.loaded))
    largest = np.zeros((timed.n_mels, 3_000), dtype=np.float32)
    inner.submit(Window(start_sample=0, mel=largest, careful=True)).result()
    worker = BackendPool(lambda: timed)  # type: ignore[arg-type, return-value]
    source = _Joined()
    async with make_pipeline(source, settings, worker=worker) as pipeline:
        async for event in pipeline.events():
            if isinstance(event, Stats):
                factor = event.real_time_factor
    print(f"real-time factor {factor:.2f}", file=sys.stderr)
    rows: list[dict[str, str | float]] = []
    for i, memory in enumerate(source.memory_mb):
        low, high = i * _MARK_SAMPLES, (i + 1) * _MARK_SAMPLES
        times = [seconds for end, seconds in timed.passes if low <= end < high]
        rows.append(
            {
                "minutes": f"{5 * (i + 1)}",
                "memory MB": f"{memory:.0f}",
                "passes": f"{len(times)}",
                "median pass ms": f"{1000 * statistics.median(times):.0f}",
            }
        )
    return rows


if __name__ == "__main__":
    require_recordings()
    report("Half an hour", lambda: asyncio.run(_measure()), ("pywhispercpp", "numba", "numpy"))
