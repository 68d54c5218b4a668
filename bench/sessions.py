"""How many live sessions fit on one machine before words come late.

    python bench/sessions.py [--backend NAME] [--seconds S] [--sessions N ...] [--json]

Every session is a whole pipeline in real time on a source like a microphone, and all of them
share the loaded model and the process. Each hears the same two readings from another place
on. A delay counts from the word's end in an offline pass to the event that commits it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np
from _backends import BACKENDS, Decoded, Pool, add_backend_option, load, on_each_pass, pipeline
from _recordings import LiveAudio, commit_delays, read_spoken, shifted
from _report import report

from streaming import AudioDropped, Event, Pipeline, Word
from streaming.app import Settings
from streaming.audio import Samples, quietest_point, samples_from_seconds, seconds
from streaming.evaluation import machine
from streaming.protocols import Window

_CORES = int(machine()["cores"])
_CLIPS = ("printing_231s", "bush_radio_127s")
_SPEAKING = (1, 2, 4, 8)
_PAUSING = (16,)
_SILENT = 0.6
_TURN_S = (5.0, 9.0)
"""Speech between two silences is cut where it is quietest between these lengths."""
_APART_S = 0.5
"""Sessions start within this time, so that their passes do not all fall due at once."""


@dataclass
class _Heard:
    """What one session was given and what came of it."""

    audio: Samples
    spoken: list[Word]
    events: list[Event]

    def delays(self) -> list[tuple[float, float]]:
        """When a word was committed and how long after its end, in seconds."""
        return commit_delays(self.events, self.spoken)


def _given(
    audio: Samples, spoken: tuple[Word, ...], length: int, silent: float, place: float
) -> _Heard:
    """So much of a recording from a place on (0 to 1), a share of it pauses in between."""
    longer = np.concatenate((audio, audio))
    words = [*spoken, *(shifted(word, seconds(len(audio))) for word in spoken)]
    low, high = (samples_from_seconds(turn_s) for turn_s in _TURN_S)
    start = round(place * len(audio))
    # Where there are pauses, not all begin to speak at once.
    at = round(place * (low + high) / 2 / (1 - silent)) if silent else 0
    parts = [np.zeros(at, np.float32)]
    heard: list[Word] = []
    while at < length:
        turn = len(audio)
        if silent:
            turn = low + quietest_point(longer[start + low : start + high])
        moved_s, end_s = seconds(at - start), seconds(start + turn)
        heard += [shifted(w, moved_s) for w in words if seconds(start) <= w.start_s < end_s]
        pause = round(turn * silent / (1 - silent))
        parts += [longer[start : start + turn], np.zeros(pause, np.float32)]
        start, at = (start + turn) % len(audio), at + turn + pause
    last_s = seconds(length) - 0.1
    return _Heard(np.concatenate(parts)[:length], [w for w in heard if w.end_s < last_s], [])


async def _run(ready: Pipeline, heard: _Heard, wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    async for event in ready.events():
        heard.events.append(event)


async def _listen(settings: Settings, pool: Pool, given: list[_Heard]) -> None:
    """Run the sessions side by side."""
    async with AsyncExitStack() as stack:
        ready = []
        for heard in given:
            source = LiveAudio(heard.audio)
            session = await asyncio.to_thread(pipeline, source, settings, pool)
            ready.append(await stack.enter_async_context(session))
        waits_s = (i * _APART_S / len(given) for i in range(len(given)))
        await asyncio.gather(
            *(
                _run(session, heard, wait_s)
                for session, heard, wait_s in zip(ready, given, waits_s, strict=True)
            )
        )


def _note_waits(pool: Pool) -> list[float]:
    """A list that gets, pass by pass, how long each waited for others."""
    waits_s: list[float] = []

    def note(_: Window, decoded: Decoded) -> None:
        waits_s.append(decoded.queue_s)

    on_each_pass(pool, note)
    return waits_s


def _row(
    settings: Settings,
    pool: Pool,
    given: list[_Heard],
    silent: float,
    run_s: float,
    waits_s: list[float],
) -> dict[str, str | float]:
    waits_s.clear()
    cpu_s, started_s = time.process_time(), time.perf_counter()
    asyncio.run(_listen(settings, pool, given))
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - started_s
    delays = sorted(item for heard in given for item in heard.delays())
    late_s = [delay_s for _, delay_s in delays]
    first_s = [delay_s for at_s, delay_s in delays if at_s < run_s / 3]
    last_s = [delay_s for at_s, delay_s in delays if at_s >= 2 * run_s / 3]
    dropped_s = sum(
        event.end_s - event.start_s
        for heard in given
        for event in heard.events
        if isinstance(event, AudioDropped)
    )
    return {
        "backend": settings.backend,
        "sessions": f"{len(given)}",
        "silent %": f"{100 * silent:.0f}",
        "delay p50 s": _percentile(late_s, 50),
        "p95 s": _percentile(late_s, 95),
        "max s": _percentile(late_s, 100),
        "p95 of first third s": _percentile(first_s, 95),
        "p95 of last third s": _percentile(last_s, 95),
        "pass waits p95 s": _percentile(waits_s, 95),
        "processor %": f"{100 * cpu_s / wall_s / _CORES:.0f}",
        "dropped s": f"{dropped_s:.1f}",
        "words heard %": f"{100 * len(late_s) / sum(len(heard.spoken) for heard in given):.0f}",
    }


def _percentile(values_s: list[float], percent: int) -> str:
    return f"{np.percentile(values_s, percent):.2f}" if values_s else "-"


def _measure(
    backends: list[str] | None,
    run_s: float,
    speaking: list[int],
    pausing: list[int],
    threads: int | None,
    workers: int | None,
) -> list[dict[str, str | float]]:
    rows = []
    more = {"workers": workers} if workers else {}
    length = samples_from_seconds(run_s)
    for name in backends or BACKENDS:
        settings = Settings(backend=name, threads=threads, **more)  # type: ignore[arg-type]
        pool = load(settings)
        if pool is None:
            continue
        audio, spoken = asyncio.run(read_spoken(_CLIPS, pool))
        waits_s = _note_waits(pool)
        mixes = [(n, 0.0) for n in speaking] + [(n, _SILENT) for n in pausing]
        for n_sessions, silent in mixes:
            print(f"{name}, {n_sessions} sessions ...", file=sys.stderr, flush=True)
            given = [
                _given(audio, spoken, length, silent, i / n_sessions) for i in range(n_sessions)
            ]
            rows.append(_row(settings, pool, given, silent, run_s, waits_s))
        pool.close()
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument("--seconds", dest="run_s", type=float, default=60.0, metavar="S")
    parser.add_argument(
        "--sessions",
        dest="speaking",
        type=int,
        nargs="*",
        default=_SPEAKING,
        metavar="N",
        help="numbers of sessions that speak all the time (default: 1 2 4 8)",
    )
    parser.add_argument(
        "--pausing",
        type=int,
        nargs="*",
        default=_PAUSING,
        metavar="N",
        help="numbers of sessions that are silent 60 %% of the time (default: 16)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of a pass")
    parser.add_argument("--workers", type=int, metavar="N", help="passes that run side by side")


if __name__ == "__main__":
    report(
        "Live sessions",
        _measure,
        ("pywhispercpp", "ctranslate2", "numba", "numpy"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
