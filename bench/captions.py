"""What live captions cost the session they show.

    python bench/captions.py [--events N] [--rate N] [--rounds N] [--seconds S] [--json]

First a session's events alone, several times as fast as speech makes them: they are written
to the captions sink while viewers in another process read them. A stopped viewer reads
nothing at all. Arrival is from the write to the moment when the other process has the event.

Then whole sessions in real time, in turn without viewers and with a crowd in another process:
one that reads nothing, one that comes late, and fifty that come, stay for a second or so and
go, again and again, half of them without a word. A delay counts from the word's end in an
offline pass to the event that commits it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from _backends import Pool, load, pipeline
from _recordings import LiveAudio, commit_delays, read_spoken
from _report import report, require

from sinks.captions import CaptionsSink
from streaming.app import Settings
from streaming.audio import Samples, samples_from_seconds, seconds
from streaming.events import Committed, Event, Final, Partial, SessionStarted, Word, text_of

_VIEWERS = ((0, 0), (1, 0), (50, 0), (50, 1))
_CLIPS = ("bush_columbia_29s", "harvard_18s")
_CROWD = 50
_LATE = 0.3
"""Of a session, before the late viewer comes."""
_TEXT = (
    "and so my fellow Americans ask not what your country can do for you "
    "ask what you can do for your country"
)
_UTTERANCE = tuple(
    Word(f" {text}", 0.4 * i, 0.4 * i + 0.35, 0.9) for i, text in enumerate(_TEXT.split())
)


def _events(n_events: int) -> Iterator[Event]:
    """Two words are committed at a time, four more are tentative."""
    utterance = 0
    n_made = 1
    yield SessionStarted(session="a", label="me")
    while n_made < n_events:
        for at in range(0, len(_UTTERANCE), 2):
            words, rest = _UTTERANCE[at : at + 2], _UTTERANCE[at + 2 : at + 6]
            said = text_of(_UTTERANCE[: at + 2])
            yield Committed(session="a", utterance=utterance, text=text_of(words), words=words)
            yield Partial(
                session="a",
                utterance=utterance,
                committed=said,
                tentative=text_of(rest),
                words=rest,
            )
            n_made += 2
        yield Final(session="a", utterance=utterance, text=text_of(_UTTERANCE), words=_UTTERANCE)
        utterance, n_made = utterance + 1, n_made + 1


async def _read(url: str, late_ms: list[float]) -> None:
    from websockets.asyncio.client import connect

    async with connect(url) as viewer:
        async for data in viewer:
            now_s = time.monotonic()
            body = json.loads(data)
            if "seq" in body:
                late_ms.append(1000 * (now_s - body["clock_s"]))


async def _stop(url: str, stack: AsyncExitStack) -> None:
    """Connect and read nothing more."""
    from websockets.asyncio.client import connect

    stopped = await stack.enter_async_context(connect(url, max_queue=1, close_timeout=0))
    stopped.transport.pause_reading()
    raw = stopped.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


async def _watch(url: str, n_reading: int, n_stopped: int, pipe: Connection) -> None:
    late_ms: list[float] = []
    async with AsyncExitStack() as stack:
        for _ in range(n_stopped):
            await _stop(url, stack)
        reading = [asyncio.create_task(_read(url, late_ms)) for _ in range(n_reading)]
        pipe.send(None)
        await asyncio.gather(*reading)
        for task in reading:
            task.result()
    pipe.send(late_ms)


def _viewers(url: str, n_reading: int, n_stopped: int, pipe: Connection) -> None:
    asyncio.run(_watch(url, n_reading, n_stopped, pipe))


async def _run(
    n_viewers: int, n_stopped: int, n_events: int, rate: float
) -> dict[str, str | float]:
    mine, theirs = get_context("spawn").Pipe()
    write_us: list[float] = []
    async with CaptionsSink(port=0) as sink:
        url = sink.url.replace("http", "ws") + "ws"
        arguments = (url, n_viewers - n_stopped, n_stopped, theirs)
        viewers = get_context("spawn").Process(target=_viewers, args=arguments)
        viewers.start()
        await asyncio.to_thread(mine.recv)
        await asyncio.sleep(0.5)
        cpu_s, begun_s = time.process_time(), time.monotonic()
        for n, event in enumerate(_events(n_events)):
            await asyncio.sleep(max(begun_s + n / rate - time.monotonic(), 0))
            stamped = replace(event, clock_s=time.monotonic(), seq=n)
            started = time.perf_counter()
            await sink.write(stamped)
            write_us.append(1e6 * (time.perf_counter() - started))
        cpu_s = time.process_time() - cpu_s
    late_ms = await asyncio.to_thread(mine.recv)
    viewers.join()
    return {
        "of": "events",
        "viewers": f"{n_viewers}, one stopped" if n_stopped else f"{n_viewers}",
        "write p50 us": statistics.median(write_us),
        "write p99 us": float(np.percentile(write_us, 99)),
        "processor us an event": 1e6 * cpu_s / len(write_us),
        "arrival p50 ms": float(np.percentile(late_ms, 50)) if late_ms else "-",
        "arrival p99 ms": float(np.percentile(late_ms, 99)) if late_ms else "-",
        "delay p50 s": "-",
        "delay p95 s": "-",
    }


# -- whole sessions -----------------------------------------------------------------------------


class _Timed(CaptionsSink):
    """Knows how long each write took."""

    def __init__(self) -> None:
        super().__init__(port=0)
        self.write_us: list[float] = []

    async def write(self, event: Event) -> None:
        started = time.perf_counter()
        await super().write(event)
        self.write_us.append(1e6 * (time.perf_counter() - started))


async def _come_and_go(url: str, number: int) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    rng = random.Random(number)
    with suppress(OSError, WebSocketException):  # until nobody answers any more
        while True:
            await asyncio.sleep(rng.uniform(0.1, 0.5))
            async with connect(url) as viewer:
                with suppress(TimeoutError):
                    async with asyncio.timeout(rng.uniform(0.5, 2.0)):
                        async for _ in viewer:
                            pass
                if number % 2:
                    viewer.transport.abort()


async def _gather(url: str, late_s: float, pipe: Connection) -> None:
    late_ms: list[float] = []
    async with AsyncExitStack() as stack:
        await _stop(url, stack)
        guests = [asyncio.create_task(_come_and_go(url, number)) for number in range(_CROWD)]
        pipe.send(None)
        await asyncio.sleep(late_s)
        await _read(url, late_ms)
        await asyncio.gather(*guests)
    assert late_ms, "the late viewer has seen nothing"


def _crowd(url: str, late_s: float, pipe: Connection) -> None:
    asyncio.run(_gather(url, late_s, pipe))


async def _session(
    audio: Samples, settings: Settings, pool: Pool, *, crowd: bool
) -> tuple[list[Event], list[float]]:
    """The events of a live session, and what each write took."""
    mine, theirs = get_context("spawn").Pipe()
    sink = _Timed()
    source = LiveAudio(audio)
    ready = await asyncio.to_thread(pipeline, source, settings, pool, [sink])
    async with ready:
        arguments = (sink.url.replace("http", "ws") + "ws", _LATE * seconds(len(audio)), theirs)
        viewers = get_context("spawn").Process(target=_crowd, args=arguments)
        if crowd:
            viewers.start()
            await asyncio.to_thread(mine.recv)
        events = [event async for event in ready.events()]
    if crowd:
        await asyncio.to_thread(viewers.join)
        assert viewers.exitcode == 0
    return events, sink.write_us


def _sessions(rounds: int, run_s: float | None) -> list[dict[str, str | float]]:
    settings = Settings()
    pool = load(settings)
    if pool is None:
        return []
    audio, spoken = asyncio.run(read_spoken(_CLIPS, pool))
    if run_s is not None:
        audio = audio[: samples_from_seconds(run_s)]
    delays_s: dict[bool, list[float]] = {False: [], True: []}
    write_us: dict[bool, list[float]] = {False: [], True: []}
    for n in range(rounds):
        for crowd in (False, True):
            print(f"session {n}, {'crowd' if crowd else 'alone'} ...", file=sys.stderr, flush=True)
            events, took_us = asyncio.run(_session(audio, settings, pool, crowd=crowd))
            delays_s[crowd] += [delay_s for _, delay_s in commit_delays(events, spoken)]
            write_us[crowd] += took_us
    pool.close()
    return [
        {
            "of": "a session",
            "viewers": f"stopped, late, {_CROWD} come and go" if crowd else "0",
            "write p50 us": statistics.median(write_us[crowd]),
            "write p99 us": float(np.percentile(write_us[crowd], 99)),
            "processor us an event": "-",
            "arrival p50 ms": "-",
            "arrival p99 ms": "-",
            "delay p50 s": float(np.percentile(delays_s[crowd], 50)),
            "delay p95 s": float(np.percentile(delays_s[crowd], 95)),
        }
        for crowd in (False, True)
    ]


def _measure(
    n_events: int, rate: float, rounds: int, run_s: float | None
) -> list[dict[str, str | float]]:
    require("websockets")
    rows = [asyncio.run(_run(*viewers, n_events, rate)) for viewers in _VIEWERS]
    return rows + _sessions(rounds, run_s)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", dest="n_events", type=int, default=1500, metavar="N")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="sessions of each kind")
    parser.add_argument(
        "--seconds", dest="run_s", type=float, metavar="S", help="of audio (default: 47)"
    )


if __name__ == "__main__":
    report(
        "Live captions",
        _measure,
        ("websockets", "ctranslate2"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
