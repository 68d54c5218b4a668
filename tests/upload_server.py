"""The HTTP calls for whole files, on a real socket, with a model that knows what is said."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from encoded_audio import wav_header
from fakes import Script, ScriptedBackend, say, worker_for
from starlette.applications import Starlette

from streaming.app.server import openai_api, whisper_cpp_api
from streaming.app.server.access import Access, AccessMiddleware
from streaming.app.server.connections import uvicorn_options
from streaming.app.server.door import Door
from streaming.app.server.limits import Limits
from streaming.app.server.load import Load
from streaming.app.server.metrics import Metrics
from streaming.app.server.service import Service
from streaming.app.server.sessions import Sessions
from streaming.app.server.tokens import Tokens
from streaming.app.server.uploads import Uploads
from streaming.app.settings import Settings
from streaming.backends.pool import BackendPool

__all__ = ["TALK", "CountingMetrics", "UploadServer", "eventually", "make_service", "serve", "wav"]

TALK = say(4, 3, 5, pause_s=1.5)
"""Three utterances."""


def wav(script: Script = TALK) -> bytes:
    """What is said, as a file."""
    data = (script.audio() * 32767).astype("<i2").tobytes()
    return wav_header(len(data), rate=16_000) + data


class CountingMetrics(Metrics):
    """Remembers what uploads took."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: list[tuple[float, float]] = []

    def upload(self, audio_s: float, compute_s: float) -> None:
        self.uploads.append((audio_s, compute_s))


def make_service(worker: BackendPool, limits: Limits | None = None, **settings: Any) -> Service:
    """What the calls are given; the detector is one that hears the scripts."""
    limits, load, metrics = limits or Limits(), Load(workers=1), CountingMetrics()
    metrics.ready()
    return Service(
        settings=Settings(**{"model": "base", "vad": "energy", **settings}),
        limits=limits,
        worker=worker,
        load=load,
        metrics=metrics,
        sessions=Sessions(worker, limits, load, metrics),
        uploads=Uploads(limits, workers=1),
    )


@dataclass
class UploadServer:
    """Where the calls are served."""

    service: Service
    url: str
    port: int
    errors: list[str] = field(default_factory=list)

    @property
    def running(self) -> int:
        """Uploads that are in."""
        return self.service.uploads.running

    @property
    def metrics(self) -> CountingMetrics:
        assert isinstance(self.service.metrics, CountingMetrics)
        return self.service.metrics


@contextmanager
def serve(
    *backends: ScriptedBackend,
    worker: BackendPool | None = None,
    limits: Limits | None = None,
    tokens: Tokens | None = None,
    **settings: Any,
) -> Iterator[UploadServer]:
    """Serve on loopback; nothing of a request may be left behind at the end.

    Args:
        backends: a worker each; one that hears `TALK` by default.
        worker: instead of them; is closed at the end.
        limits: bounds.
        tokens: of those who may come in; anybody by default.
        settings: what differs from `make_service`'s.
    """
    files = temporary_files()
    with (
        closing(worker) if worker else worker_for(*backends or (ScriptedBackend(TALK),)) as pool,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        service = make_service(pool, limits, workers=max(1, len(backends)), **settings)
        app = Starlette(routes=[*openai_api.routes(service), *whisper_cpp_api.routes(service)])
        guarded = AccessMiddleware(app, Access(tokens or Tokens()))
        shipped = uvicorn_options(service.limits, Door(service.limits))
        server = uvicorn.Server(uvicorn.Config(guarded, lifespan="off", **shipped))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        port = listener.getsockname()[1]
        try:
            yield UploadServer(service, f"http://127.0.0.1:{port}/", port)
            eventually(lambda: service.uploads.running == 0)
            eventually(lambda: temporary_files() == files)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)
        assert not thread.is_alive()


def eventually(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait until something holds; fail if it does not in time."""
    until_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        time.sleep(0.005)


def temporary_files() -> set[str]:
    """Anonymous files that this process holds; none can be seen where there is no /proc."""
    found = set()
    folder = Path("/proc/self/fd")
    for each in folder.iterdir() if folder.is_dir() else ():
        try:
            target = os.readlink(each)
        except OSError:
            continue
        if target.endswith("(deleted)"):
            found.add(target)
    return found
