"""What live captions cost the session they show.

    python bench/captions.py [--events N] [--rate N] [--json]

A session's events, several times as fast as speech makes them, are written to the captions
sink while viewers in another process read them. A stopped viewer reads nothing at all.
Arrival is from the write to the moment when the other process has the event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from _report import report, require

from sinks.captions import CaptionsSink
from streaming.events import Committed, Event, Final, Partial, SessionStarted, Word, text_of

_VIEWERS = ((0, 0), (1, 0), (50, 0), (50, 1))
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


async def _watch(url: str, n_reading: int, n_stopped: int, pipe: Connection) -> None:
    from websockets.asyncio.client import connect

    late_ms: list[float] = []
    async with AsyncExitStack() as stack:
        for _ in range(n_stopped):
            stopped = await stack.enter_async_context(connect(url, max_queue=1, close_timeout=0))
            stopped.transport.pause_reading()
            raw = stopped.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
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
        "viewers": f"{n_viewers}, one stopped" if n_stopped else f"{n_viewers}",
        "write p50 us": statistics.median(write_us),
        "write p99 us": float(np.percentile(write_us, 99)),
        "processor us an event": 1e6 * cpu_s / len(write_us),
        "arrival p50 ms": float(np.percentile(late_ms, 50)) if late_ms else "-",
        "arrival p99 ms": float(np.percentile(late_ms, 99)) if late_ms else "-",
    }


def _measure(n_events: int, rate: float) -> list[dict[str, str | float]]:
    require("websockets")
    return [asyncio.run(_run(*viewers, n_events, rate)) for viewers in _VIEWERS]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", dest="n_events", type=int, default=1500, metavar="N")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second")


if __name__ == "__main__":
    report("Live captions", _measure, ("websockets",), options=_options)
