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

from _backends import BACKENDS, Decoded, Pool, add_backend_option, load, on_each_pass, pipeline
from _recordings import LiveAudio, read_spoken
from _report import report
from _talk import CLIPS, Heard, percentile, talk

from streaming import Pipeline
from streaming.app import Settings
from streaming.audio import samples_from_seconds
from streaming.evaluation import machine
from streaming.protocols import Window

_CORES = int(machine()["cores"])
_SPEAKING = (1, 2, 4, 8)
_PAUSING = (16,)
_SILENT = 0.6
_APART_S = 0.5
"""Sessions start within this time, so that their passes do not all fall due at once."""


async def _run(ready: Pipeline, heard: Heard, wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    async for event in ready.events():
        heard.events.append(event)


async def _listen(settings: Settings, pool: Pool, given: list[Heard]) -> None:
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
    given: list[Heard],
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
    return {
        "backend": settings.backend,
        "sessions": f"{len(given)}",
        "silent %": f"{100 * silent:.0f}",
        "delay p50 s": percentile(late_s, 50),
        "p95 s": percentile(late_s, 95),
        "max s": percentile(late_s, 100),
        "p95 of first third s": percentile(first_s, 95),
        "p95 of last third s": percentile(last_s, 95),
        "pass waits p95 s": percentile(waits_s, 95),
        "processor %": f"{100 * cpu_s / wall_s / _CORES:.0f}",
        "dropped s": f"{sum(heard.dropped_s for heard in given):.1f}",
        "words heard %": f"{100 * len(late_s) / sum(len(heard.spoken) for heard in given):.0f}",
    }


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
        audio, spoken = asyncio.run(read_spoken(CLIPS, pool))
        waits_s = _note_waits(pool)
        mixes = [(n, 0.0) for n in speaking] + [(n, _SILENT) for n in pausing]
        for n_sessions, silent in mixes:
            print(f"{name}, {n_sessions} sessions ...", file=sys.stderr, flush=True)
            given = [talk(audio, spoken, length, silent, i / n_sessions) for i in range(n_sessions)]
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
