"""How many clients a server takes, when their words come, and what the next client is told.

    python bench/server.py [--backend NAME] [--seconds S] [--sessions N ...] [--json]

The command itself, as a process of its own for each row, and clients that stream recordings to it
over WebSockets in real time. They begin within a second, and each hears the same two readings from
another place on. A delay counts from a word's end in an offline pass to the moment the client
has the event that commits it. Half way through, one more client comes: what it is told, and
whether words come later from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import numpy as np
from _backends import BACKENDS, add_backend_option, load
from _recordings import read_spoken
from _report import ROOT, report, require
from _talk import CLIPS, Heard, percentile, talk

from streaming import Word, event_from_json
from streaming.app import Settings
from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds
from streaming.evaluation import machine

_CORES = int(machine()["cores"])
_SPEAKING = (1, 4, 8, 12)
_PAUSING = (16,)
_SILENT = 0.6
_APART_S = 1.0
_FRAME_SAMPLES = SAMPLE_RATE // 10
_READY_S = 180.0
_END_S = 30.0
_SERVING = re.compile(r"info: serving at http://(\S+)/\n")


# -- the server -----------------------------------------------------------------------------------


@dataclass
class _Server:
    """A server that is ready."""

    process: Any
    """psutil's."""
    address: str

    def load(self) -> str:
        """What its sessions are charged, of all that they may be."""
        with urlopen(f"http://{self.address}/metrics") as answer:
            told = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
        charged = float(told["stream_transcribe_load_charged"])
        return f"{100 * charged / float(told['stream_transcribe_load_capacity']):.0f}"


@contextmanager
def _serving(options: Sequence[str]) -> Iterator[_Server]:
    psutil = require("psutil")
    command = [sys.executable, "-m", "streaming", "serve", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = _SERVING.fullmatch(process.stderr.readline())
            if found is None:
                sys.exit(f"{' '.join(command)} does not serve")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            _wait_until_ready(found[1])
            yield _Server(psutil.Process(process.pid), found[1])
        finally:
            process.terminate()


def _wait_until_ready(address: str) -> None:
    until_s = time.monotonic() + _READY_S
    while time.monotonic() < until_s:
        try:
            with urlopen(f"http://{address}/readyz"):
                return
        except (HTTPError, URLError):
            time.sleep(0.2)
    sys.exit("the server does not get ready")


# -- its clients ----------------------------------------------------------------------------------


@dataclass
class _Client:
    """One that streams, and what it was told."""

    heard: Heard
    told: dict[str, Any] = field(default_factory=dict)
    """The first message."""
    told_after_s: float = 0.0
    began_s: float = 0.0

    @property
    def taken(self) -> bool:
        return self.told.get("type") == "session"

    async def run(self, address: str, wait_s: float) -> None:
        """Stream everything, if the server lets it, and read to the end."""
        from websockets.asyncio.client import connect

        await asyncio.sleep(wait_s)
        started_s = time.monotonic()
        async with connect(f"ws://{address}/v1/stream", compression=None) as stream:
            self.told = json.loads(await stream.recv())
            self.told_after_s = time.monotonic() - started_s
            if not self.taken:
                return
            self.began_s = time.monotonic()
            sending = asyncio.create_task(self._send(stream))
            async for line in stream:
                event = event_from_json(str(line))
                if event is not None:
                    self.heard.events.append(
                        replace(event, clock_s=time.monotonic() - self.began_s)
                    )
            await sending

    async def _send(self, stream: Any) -> None:
        pcm = (self.heard.audio * 32_767).astype("<i2")
        for at in range(0, len(pcm), _FRAME_SAMPLES):
            frame = pcm[at : at + _FRAME_SAMPLES]
            said_s = self.began_s + (at + len(frame)) / SAMPLE_RATE
            await asyncio.sleep(max(0.0, said_s - time.monotonic()))
            await stream.send(frame.tobytes())
        await stream.send('{"type": "finish"}')


@dataclass
class _Watched:
    """The server while its clients stream."""

    server: _Server
    load: str = ""
    processor: float = 0.0
    memory_mb: float = 0.0

    async def look(self, at_s: float, until_s: float) -> None:
        """Note its load at a moment, and what it took until another one."""
        used_s, started_s = self._used_s(), time.monotonic()
        await asyncio.sleep(at_s)
        self.load = await asyncio.to_thread(self.server.load)
        while (left_s := started_s + until_s - time.monotonic()) > 0:
            self.memory_mb = max(self.memory_mb, self.server.process.memory_info().rss / 1e6)
            await asyncio.sleep(min(1.0, left_s))
        self.processor = (self._used_s() - used_s) / (time.monotonic() - started_s) / _CORES

    def _used_s(self) -> float:
        times = self.server.process.cpu_times()
        return float(times.user + times.system)


async def _stream(
    server: _Server, clients: Sequence[_Client], following: _Client, run_s: float
) -> _Watched:
    """All clients, and one more half way through."""
    watched = _Watched(server)
    async with asyncio.timeout(run_s + _APART_S + _END_S), asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(client.run(server.address, _APART_S * number / len(clients)))
        group.create_task(following.run(server.address, _APART_S + run_s / 2))
        group.create_task(watched.look(run_s / 2, run_s))
    return watched


# -- the table ------------------------------------------------------------------------------------


def _row(
    backend: str,
    options: Sequence[str],
    clients: Sequence[_Client],
    following: _Client,
    silent: float,
    run_s: float,
) -> dict[str, str | float]:
    with _serving(["--backend", backend, *options]) as server:
        watched = asyncio.run(_stream(server, clients, following, run_s))
    taken = [client for client in clients if client.taken]
    delays = sorted(item for client in taken for item in client.heard.delays())
    late_s = [delay_s for _, delay_s in delays]
    came_s = _APART_S / 2 + run_s / 2
    n_spoken = sum(len(client.heard.spoken) for client in taken)
    answer = "taken" if following.taken else following.told.get("code", "nothing")
    if retry_after_s := following.told.get("retry_after_s"):
        answer = f"{answer}, again in {retry_after_s} s"
    return {
        "backend": backend,
        "clients": f"{len(clients)}",
        "silent %": f"{100 * silent:.0f}",
        "taken": f"{len(taken)}",
        "delay p50 s": percentile(late_s, 50),
        "p95 s": percentile(late_s, 95),
        "max s": percentile(late_s, 100),
        "charged %": watched.load,
        "the next one is": answer,
        "told after ms": f"{1000 * following.told_after_s:.0f}",
        "p95 before s": percentile([late for at, late in delays if at < came_s], 95),
        "p95 since s": percentile([late for at, late in delays if at >= came_s], 95),
        "processor %": f"{100 * watched.processor:.0f}",
        "memory MB": f"{watched.memory_mb:.0f}",
        "dropped s": f"{sum(client.heard.dropped_s for client in taken):.1f}",
        "words heard %": f"{100 * len(late_s) / n_spoken:.0f}" if n_spoken else "-",
    }


def _spoken(backend: str) -> tuple[Samples, tuple[Word, ...]] | None:
    """What is said; the model is gone again before the server comes."""
    pool = load(Settings(backend=backend))
    if pool is None:
        return None
    try:
        return asyncio.run(read_spoken(CLIPS, pool))
    finally:
        pool.close()


def _measure(
    backends: list[str] | None,
    run_s: float,
    speaking: list[int],
    pausing: list[int],
    threads: int | None,
    workers: int | None,
) -> list[dict[str, str | float]]:
    chosen = {"--threads": threads, "--workers": workers}
    options = [part for flag, n in chosen.items() if n for part in (flag, str(n))]
    length = samples_from_seconds(run_s)
    rows = []
    for backend in backends or BACKENDS:
        if (readings := _spoken(backend)) is None:
            continue
        mixes = [(n, 0.0) for n in speaking] + [(n, _SILENT) for n in pausing]
        for n_clients, silent in mixes:
            print(f"{backend}, {n_clients} clients ...", file=sys.stderr, flush=True)
            *clients, following = (
                _Client(talk(*readings, length, silent, place))
                for place in np.arange(n_clients + 1) / (n_clients + 1)
            )
            following.heard.audio = following.heard.audio[: length // 2]  # it comes half way
            rows.append(_row(backend, options, clients, following, silent, run_s))
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
        help="numbers of clients that speak all the time (default: 1 4 8 12)",
    )
    parser.add_argument(
        "--pausing",
        type=int,
        nargs="*",
        default=_PAUSING,
        metavar="N",
        help="numbers of clients that are silent 60 %% of the time (default: 16)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="of the server's passes")
    parser.add_argument("--workers", type=int, metavar="N", help="of the server")


if __name__ == "__main__":
    report(
        "A server and its clients",
        _measure,
        ("ctranslate2", "pywhispercpp", "uvicorn", "websockets", "numpy"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
