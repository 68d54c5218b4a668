"""What the server tells those who watch over it: ``/metrics``, ``/healthz``, ``/readyz``.

``/metrics`` is for Prometheus (or, if it asks for that, OpenMetrics). Labels have few values:
codes and reasons of the program, never what a client chose, names or tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ... import __version__
from ...events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    SessionEnded,
    SessionStarted,
    Stats,
)
from ..settings import default_threads
from .service import Service

__all__ = ["Metrics", "MetricsSink", "routes"]

_PREFIX = "stream_transcribe"
_DELAYS_S = (0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
"""Buckets; closest where sessions are told apart that keep up from those that do not."""
_MOST_VALUES = 40
"""Of a label; the program itself has fewer."""
_OTHER = "other"
_FRESH = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class _Watched:
    """Something that is read when it is asked for."""

    name: str
    help: str
    family: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


_WATCHED = {
    "live": _Watched("sessions", "Live sessions, those included that wait for their client."),
    "waiting": _Watched("sessions_waiting", "Sessions that wait for their client to come back."),
    "charged": _Watched("load_charged", "Workers that live sessions are charged for."),
    "capacity": _Watched("load_capacity", "Workers that they may be charged for in all."),
    "cost": _Watched("load_session_cost", "Workers that a speaking session takes."),
    "passes_waiting": _Watched("passes_waiting", "Passes that wait for a worker."),
    "passes_running": _Watched("passes_running", "Passes under way."),
    "busy": _Watched(
        "worker_busy_seconds", "Wall time of passes, uploads included.", CounterMetricFamily
    ),
    "ready": _Watched("ready", "1 while /readyz says yes."),
    "uploads": _Watched("uploads_running", "Uploads under way, waiting ones included."),
    "viewers": _Watched("viewers", "Connections that read the captions of a session."),
    "connections": _Watched("connections", "Open connections."),
    "connections_refused": _Watched(
        "connections_refused",
        "Connections that came when the server was full.",
        CounterMetricFamily,
    ),
}
"""By the names that `Metrics.watch` takes."""


class Metrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ready = False
        self._reads: dict[_Watched, Callable[[], float]] = {}
        self._model: Callable[[], Mapping[str, str]] = dict
        self._progress: dict[str, tuple[float, float]] = {}
        """Audio and compute seconds of the sessions that run, as far as they were counted."""
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_OnDemand(self._collect))
        build = Info(f"{_PREFIX}_build", "The program.", registry=self.registry)
        build.info({"version": __version__})
        self._started = self._counter("sessions_started", "Sessions that began.")
        self._ended = _Labelled(
            self._counter("sessions_ended", "Sessions by how they ended.", "reason")
        )
        self._refused = _Labelled(self._counter("refusals", "Requests turned away.", "code"))
        self._notices = _Labelled(self._counter("notices", "Notices in sessions.", "code"))
        self._dropped = _Labelled(
            self._counter("audio_dropped_seconds", "Audio that was not transcribed.", "reason")
        )
        self._audio = self._counter("audio_seconds", "Audio heard.", "work")
        self._compute = self._counter("compute_seconds", "Wall time of passes.", "work")
        self._uploads = self._counter("uploads", "Uploads heard, if only in part.")
        self._utterances = self._counter("utterances", "Utterances of live sessions.")
        self._delays = Histogram(
            f"{_PREFIX}_commit_delay_seconds",
            "From the arrival of a word's end, where the model heard it, to its commitment.",
            buckets=_DELAYS_S,
            registry=self.registry,
        )
        for work in ("live", "upload"):  # to be there from the start
            self._audio.labels(work)
            self._compute.labels(work)

    def event(self, event: Event) -> None:
        """Count an event of a live session."""
        match event:
            case SessionStarted():
                self._started.inc()
                self._progress[event.session] = (0.0, 0.0)
            case Final():
                self._utterances.inc()
            case AudioDropped():
                self._dropped.inc(event.reason, event.end_s - event.start_s)
            case Notice():
                self._notices.inc(event.code)
            case Stats():
                self.progress(event.session, event.audio_s, event.compute_s)
            case SessionEnded():
                self.ended(event.session, event.reason)

    def committed(self, delay_s: float) -> None:
        """A word was committed so long after its audio had come."""
        self._delays.observe(max(0.0, delay_s))

    def progress(self, session: str, audio_s: float, compute_s: float) -> None:
        """A session has come so far, in seconds since it began.

        To be told now and then, so that its work shows before it ends. Whatever comes before
        it has begun or after it has ended is ignored.
        """
        if session not in self._progress:
            return
        before = self._progress[session]
        audio_s, compute_s = max(audio_s, before[0]), max(compute_s, before[1])
        self._audio.labels("live").inc(audio_s - before[0])
        self._compute.labels("live").inc(compute_s - before[1])
        self._progress[session] = (audio_s, compute_s)

    def ended(self, session: str, reason: str) -> None:
        """A session is over; only the first reason counts."""
        if self._progress.pop(session, None) is not None:
            self._ended.inc(reason)

    def refused(self, code: str) -> None:
        """Somebody was turned away."""
        self._refused.inc(code)

    def upload(self, audio_s: float, compute_s: float) -> None:
        """A file was heard: as much of it as was, and what its passes took."""
        self._uploads.inc()
        self._audio.labels("upload").inc(audio_s)
        self._compute.labels("upload").inc(compute_s)

    @property
    def is_ready(self) -> bool:
        """The model is loaded and was measured."""
        return self._ready

    def ready(self) -> None:
        """It is, from here on."""
        self._ready = True

    def watch(self, name: str, read: Callable[[], float]) -> None:
        """Show what a function says whenever somebody looks.

        Args:
            name: one of those in `_WATCHED`.
            read: fast; called on the event loop's thread.

        Raises:
            KeyError: there is no such name.
        """
        self._reads[_WATCHED[name]] = read

    def describe(self, read: Callable[[], Mapping[str, str]]) -> None:
        """Show what the model is."""
        self._model = read

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}_{name}", text, labels, registry=self.registry)

    def _collect(self) -> Iterator[Metric]:
        for watched, read in self._reads.items():
            yield watched.family(f"{_PREFIX}_{watched.name}", watched.help, value=float(read()))
        yield InfoMetricFamily(f"{_PREFIX}_model", "What hears.", value=dict(self._model()))


class _OnDemand(Collector):
    """Calls a function whenever somebody looks."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Metric]:
        """What a registry asks for."""
        return self._collect()


class _Labelled:
    """A counter with one label, of which it takes only so many values."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._known: set[str] = set()

    def inc(self, value: str, amount: float = 1.0) -> None:
        """Count."""
        if value not in self._known:
            if len(self._known) >= _MOST_VALUES:
                value = _OTHER
            self._known.add(value)
        self._counter.labels(value).inc(amount)


class MetricsSink:
    """Tells the metrics of a session's events, and of its end if that was not among them.

    Args:
        metrics: of the server.
        age_s: how long ago the audio came that lies at a second of the stream. The clock of the
            session does not tell: whoever sends nothing for a while is not late for that.
    """

    def __init__(self, metrics: Metrics, age_s: Callable[[float], float]) -> None:
        self._metrics = metrics
        self._age_s = age_s
        self._session = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        abandoned = isinstance(exc, asyncio.CancelledError)
        self._metrics.ended(self._session, "abandoned" if abandoned else "failed")

    async def write(self, event: Event) -> None:
        """Take one event."""
        self._session = event.session
        self._metrics.event(event)
        if isinstance(event, Committed):
            for word in event.words:
                self._metrics.committed(self._age_s(word.end_s))


def routes(service: Service) -> list[BaseRoute]:
    """Where Prometheus, load balancers and supervisors look."""
    metrics, load, worker = service.metrics, service.load, service.worker
    metrics.watch("charged", lambda: load.charged)
    metrics.watch("capacity", lambda: load.capacity)
    metrics.watch("cost", lambda: load.cost)
    metrics.watch("passes_waiting", lambda: worker.statistics().waiting)
    metrics.watch("passes_running", lambda: worker.statistics().running)
    metrics.watch("busy", lambda: worker.statistics().busy_s)
    metrics.watch("ready", lambda: not _unready(service))
    metrics.describe(lambda: _model(service))

    async def show(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": content_type})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"ok": True}, headers=_FRESH)

    async def readyz(_: Request) -> Response:
        if (why := _unready(service)) is None:
            return JSONResponse({"ready": True}, headers=_FRESH)
        reason, message = why
        return JSONResponse(
            {"ready": False, "reason": reason, "message": message},
            status_code=HTTPStatus.SERVICE_UNAVAILABLE,
            headers=_FRESH,
        )

    return [Route("/metrics", show), Route("/healthz", healthz), Route("/readyz", readyz)]


def _unready(service: Service) -> tuple[str, str] | None:
    """Why no session would be taken even if there is room: a reason and a message."""
    if service.sessions.draining:
        return "draining", "the server ends"
    if service.worker.statistics().failed:
        return "failed", "the model could not be loaded, or failed"
    if not service.worker.loaded.done():
        return "loading", "the model is being loaded"
    if not service.metrics.is_ready:
        return "calibrating", "the speed of this machine is being measured"
    return None


def _model(service: Service) -> dict[str, str]:
    settings, loaded = service.settings, service.worker.loaded
    backend = settings.backend
    if loaded.done() and loaded.exception() is None:
        backend = loaded.result().name
    return {
        "model": settings.model,
        "backend": backend,
        "workers": f"{settings.workers}",
        "threads": f"{settings.threads or default_threads(settings.workers)}",
    }
