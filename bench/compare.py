"""The pipeline against the loops that are usually written around the same weights.

    python bench/compare.py [--clips NAME ...] [--json]

All rows hear the same clips with the same weights and as many threads, in simulated pace,
each in a process of its own. Delays of all of them count from the same word ends: those of
one offline pass of whisper.cpp over each clip. `_baseline` says what the loops do.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Callable, Sequence

from _backends import BACKENDS, load, pipeline
from _baseline import ENGINES, stream
from _recordings import read_clip, read_spoken
from _report import RECORDINGS, in_new_process, report

from sources.file import FileSource
from streaming import Event, Word
from streaming.app import Settings
from streaming.app.settings import default_threads
from streaming.errors import StreamingError
from streaming.evaluation import Clip, Measurement, evaluate, load_manifest, measure

_CLIPS = ("bush_columbia_29s", "harvard_18s", "jfk_11s")
_Spoken = dict[str, tuple[Word, ...]]
_Measured = tuple[list[Measurement], float, float]
"""The clips one by one, seconds of processor time, and the most memory in MB."""


def _offline(clips: Sequence[Clip]) -> _Spoken | None:
    pool = load(Settings(backend="whisper.cpp"))
    if pool is None:
        return None
    spoken = {clip.name: asyncio.run(read_spoken([clip.name], pool))[1] for clip in clips}
    pool.close()
    return spoken


def _measured(
    clips: Sequence[Clip], spoken: _Spoken, transcribe: Callable[[Clip], list[Event]]
) -> _Measured:
    measurements = []
    cpu_s = 0.0
    for clip in clips:
        print(f"  {clip.name} ...", file=sys.stderr, flush=True)
        before_s = time.process_time()
        events = transcribe(clip)
        cpu_s += time.process_time() - before_s
        measurements.append(
            measure(
                events, spoken[clip.name], reference=clip.reference, language="en", name=clip.name
            )
        )
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return measurements, cpu_s, most / (1e6 if sys.platform == "darwin" else 1e3)


def _ours(backend: str, clips: Sequence[Clip], spoken: _Spoken) -> _Measured | None:
    settings = Settings(backend=backend, pace="simulated")
    pool = load(settings)
    if pool is None:
        return None

    async def transcribe(clip: Clip) -> list[Event]:
        async with pipeline(FileSource(clip.audio, pace="simulated"), settings, pool) as session:
            return [event async for event in session.events()]

    result = _measured(clips, spoken, lambda clip: asyncio.run(transcribe(clip)))
    pool.close()
    return result


def _loop(name: str, clips: Sequence[Clip], spoken: _Spoken) -> _Measured | None:
    try:
        engine = ENGINES[name](default_threads())
    except (ImportError, StreamingError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    return _measured(clips, spoken, lambda clip: stream(asyncio.run(read_clip(clip.name)), engine))


def _row(name: str, measured: _Measured) -> dict[str, str | float]:
    measurements, cpu_s, memory_mb = measured
    e = evaluate(measurements)
    assert e.wer is not None
    assert e.commit_delay_s is not None
    return {
        "": name,
        "WER %": f"{100 * e.wer:.1f}",
        "delay p50 s": f"{e.commit_delay_s.p50:.2f}",
        "p95 s": f"{e.commit_delay_s.p95:.2f}",
        "max s": f"{e.commit_delay_s.max:.2f}",
        "RTF": f"{e.real_time_factor or 0:.2f}",
        "processor s per s": f"{cpu_s / e.audio_s:.2f}",
        "passes": f"{e.passes}",
        "most memory MB": f"{memory_mb:.0f}",
    }


def _measure(clips: Sequence[str]) -> list[dict[str, str | float]]:
    known = {clip.name: clip for clip in load_manifest(RECORDINGS / "manifest.json")}
    chosen = [known[name] for name in clips]
    spoken = in_new_process(_offline, chosen)
    if spoken is None:
        return []
    runs: list[tuple[str, Callable[..., _Measured | None], str]] = [
        *((f"stream-transcribe, {name}", _ours, name) for name in BACKENDS),
        *((f"loop, {name}", _loop, name) for name in ENGINES),
    ]
    rows = []
    for title, run, name in runs:
        print(title, file=sys.stderr, flush=True)
        measured = in_new_process(run, name, chosen, spoken)
        if measured is not None:
            rows.append(_row(title, measured))
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", nargs="+", default=_CLIPS, metavar="NAME")


if __name__ == "__main__":
    report(
        "Comparison",
        _measure,
        ("pywhispercpp", "ctranslate2", "faster-whisper", "numba", "numpy"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
