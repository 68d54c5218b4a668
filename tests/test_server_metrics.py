from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fakes import ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from streaming.app.server.access import Access
from streaming.app.server.application import make_application
from streaming.app.server.limits import Limits
from streaming.app.server.load import Load
from streaming.app.server.metrics import Metrics, MetricsSink, routes
from streaming.app.server.service import Service
from streaming.app.server.sessions import Sessions
from streaming.app.server.tokens import ENVIRONMENT, Tokens
from streaming.app.server.uploads import Uploads
from streaming.app.settings import Settings
from streaming.backends.pool import BackendPool
from streaming.errors import BackendError
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Notice,
    SessionEnded,
    SessionStarted,
    Stats,
    Word,
)
from streaming.pipeline import Pipeline
from streaming.protocols import Backend, Sink

SCRIPT = say(4, 4)


@dataclass
class Watcher:
    """Who asks a server how it is, without a network."""

    service: Service
    app: ASGIApp

    def get(self, path: str, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())

    def samples(self) -> dict[str, float]:
        """By name and labels, as they are written; without the program's prefix."""
        text = self.get("/metrics").text
        return {
            "".join(
                (
                    sample.name.removeprefix("stream_transcribe_"),
                    *(f" {name}={value}" for name, value in sorted(sample.labels.items())),
                )
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def readiness(self) -> tuple[int, Any]:
        response = self.get("/readyz")
        assert response.headers["cache-control"] == "no-store"
        return response.status_code, response.json().get("reason")


def watcher(pool: BackendPool, **choices: Any) -> Watcher:
    metrics, limits, load = Metrics(), Limits(), Load(workers=2)
    service = Service(
        settings=Settings(**choices),
        limits=limits,
        worker=pool,
        load=load,
        metrics=metrics,
        sessions=Sessions(pool, limits, load, metrics),
        uploads=Uploads(limits, workers=1),
    )
    return Watcher(service, Starlette(routes=routes(service)))


@pytest.fixture
def watched() -> Iterator[Watcher]:
    with worker_for(ScriptedBackend(SCRIPT)) as pool:
        yield watcher(pool)


async def run_session(metrics: Metrics, backend: ScriptedBackend) -> list[Event]:
    sinks: list[Sink] = [MetricsSink(metrics, lambda at_s: 0.5)]
    with worker_for(backend) as worker:
        source = ScriptedSource(chunks_of(SCRIPT.audio()))
        pipeline = Pipeline(
            source, worker, make_parts(), sinks, pace="simulated", pass_cost_s=0.125
        )
        async with pipeline, aclosing(pipeline.events()) as running:
            return [event async for event in running]


def begin(metrics: Metrics, session: str = "a") -> None:
    metrics.event(SessionStarted(session=session))


# -- /metrics -------------------------------------------------------------------------------------


def test_a_whole_session_is_counted_once(watched: Watcher) -> None:
    events = asyncio.run(run_session(watched.service.metrics, ScriptedBackend(SCRIPT)))
    stats = next(event for event in events if isinstance(event, Stats))
    samples = watched.samples()
    assert samples["sessions_started_total"] == 1
    assert samples["sessions_ended_total reason=end_of_stream"] == 1
    assert samples["utterances_total"] == 2
    assert samples["audio_seconds_total work=live"] == pytest.approx(SCRIPT.duration_s)
    assert samples["compute_seconds_total work=live"] == pytest.approx(0.125 * stats.passes)
    assert samples["commit_delay_seconds_count"] == 8
    assert samples["commit_delay_seconds_sum"] == pytest.approx(8 * 0.5)  # as the sink was told


@pytest.mark.parametrize(
    ("delay_s", "bucket", "below"),
    [(-0.5, "0.2", None), (1.3, "1.5", "1.25"), (9.9, "10.0", "7.0"), (60.0, "+Inf", "10.0")],
)
def test_a_word_counts_in_the_bucket_of_its_delay(
    watched: Watcher, delay_s: float, bucket: str, below: str | None
) -> None:
    begin(watched.service.metrics)
    sink = MetricsSink(watched.service.metrics, lambda at_s: {5.0: delay_s}[at_s])
    words = (Word(" a", 4.0, 5.0, 0.9),)
    # The clock of the session does not tell: whoever is muted for a minute is not late.
    asyncio.run(sink.write(Committed(session="a", clock_s=65.0, words=words)))
    samples = watched.samples()
    assert samples[f"commit_delay_seconds_bucket le={bucket}"] == 1
    assert below is None or samples[f"commit_delay_seconds_bucket le={below}"] == 0


def test_what_was_lost_and_told_is_counted_by_its_cause(watched: Watcher) -> None:
    metrics = watched.service.metrics
    begin(metrics)
    metrics.event(AudioDropped(session="a", start_s=1.0, end_s=3.5, reason="overload"))
    metrics.event(AudioDropped(session="a", start_s=9.0, end_s=9.5, reason="overload"))
    metrics.event(AudioDropped(session="a", start_s=20.0, end_s=21.0, reason="connection"))
    metrics.event(Notice(session="a", code="overload", message="passes do not keep up"))
    metrics.refused("busy")
    metrics.refused("busy")
    metrics.refused("unauthorized")
    samples = watched.samples()
    assert samples["audio_dropped_seconds_total reason=overload"] == 3.0
    assert samples["audio_dropped_seconds_total reason=connection"] == 1.0
    assert samples["notices_total code=overload"] == 1
    assert samples["refusals_total code=busy"] == 2
    assert samples["refusals_total code=unauthorized"] == 1


def test_who_may_not_come_in_is_counted_whatever_was_asked_for() -> None:
    tokens = Tokens(environment={ENVIRONMENT: "a-token-of-somebody"})
    with worker_for(ScriptedBackend(SCRIPT)) as pool:
        watched = watcher(pool)
        client = TestClient(
            make_application(watched.service, Access(tokens)), base_url="http://localhost"
        )
        for _ in range(2):
            assert client.get("/v1/models", headers={"host": "evil.example"}).status_code == 421
        for _ in range(3):
            assert client.post("/inference").status_code == 401
        with client.websocket_connect(
            "/v1/stream", headers={"host": "localhost", "origin": "https://evil.example"}
        ) as stream:
            assert stream.receive_json()["code"] == "origin"
        samples = watched.samples()
    codes = {name: value for name, value in samples.items() if name.startswith("refusals_total")}
    assert codes == {
        "refusals_total code=host": 2,
        "refusals_total code=unauthorized": 3,
        "refusals_total code=origin": 1,
    }


def test_the_work_of_a_session_shows_before_it_ends_and_is_not_counted_twice(
    watched: Watcher,
) -> None:
    metrics = watched.service.metrics

    def heard() -> tuple[float, float]:
        samples = watched.samples()
        return (
            samples["audio_seconds_total work=live"],
            samples["compute_seconds_total work=live"],
        )

    metrics.progress("a", 5.0, 1.0)
    assert heard() == (0.0, 0.0)  # it has not begun
    begin(metrics)
    begin(metrics, "b")
    metrics.progress("a", 10.0, 2.0)
    metrics.progress("b", 1.0, 0.5)
    assert heard() == (11.0, 2.5)
    metrics.progress("a", 9.0, 0.0)  # whatever it means
    assert heard() == (11.0, 2.5)
    metrics.progress("a", 12.0, 3.0)
    assert heard() == (13.0, 3.5)
    metrics.event(Stats(session="a", audio_s=15.0, compute_s=4.0))
    metrics.event(SessionEnded(session="a"))
    assert heard() == (16.0, 4.5)
    metrics.progress("a", 15.0, 4.0)
    assert heard() == (16.0, 4.5)  # it has ended


def test_a_session_that_broke_without_a_last_word_has_ended_too(watched: Watcher) -> None:
    async def broken() -> None:
        async with MetricsSink(watched.service.metrics, lambda at_s: 0.5) as sink:
            await sink.write(SessionStarted(session="a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(broken())
    with pytest.raises(BackendError):
        asyncio.run(run_session(watched.service.metrics, ScriptedBackend(SCRIPT, fails_from=2)))
    samples = watched.samples()
    assert samples["sessions_started_total"] == 2
    assert samples["sessions_ended_total reason=failed"] == 1
    assert samples["sessions_ended_total reason=backend_error"] == 1


def test_uploads_are_counted_apart(watched: Watcher) -> None:
    watched.service.metrics.upload(60.0, 5.0)
    watched.service.metrics.upload(30.0, 2.0)
    samples = watched.samples()
    assert samples["uploads_total"] == 2
    assert samples["audio_seconds_total work=upload"] == 90.0
    assert samples["compute_seconds_total work=upload"] == 7.0
    assert samples["audio_seconds_total work=live"] == 0.0


def test_what_is_watched_is_read_whenever_somebody_looks(watched: Watcher) -> None:
    viewers = 3
    watched.service.metrics.watch("viewers", lambda: viewers)
    assert watched.samples()["viewers"] == 3
    viewers = 5
    assert watched.samples()["viewers"] == 5
    with pytest.raises(KeyError):
        watched.service.metrics.watch("nothing", lambda: 0)


def test_load_queue_and_model_are_there_without_being_asked_for(watched: Watcher) -> None:
    load = watched.service.load
    load.calibrated(0.25)
    load.admit()
    samples = watched.samples()
    assert (samples["load_charged"], samples["load_capacity"]) == (0.25, 1.8)
    assert samples["load_session_cost"] == 0.25
    assert (samples["passes_waiting"], samples["passes_running"]) == (0, 0)
    assert samples["worker_busy_seconds_total"] == 0
    assert (samples["sessions"], samples["sessions_waiting"], samples["ready"]) == (0, 0, 0)
    assert samples["model_info backend=auto model=tiny.en threads=2 workers=1"] == 1
    assert any(name.startswith("build_info version=") for name in samples)
    assert any(name.startswith("python_info") for name in samples)
    if sys.platform == "linux":
        assert samples["process_resident_memory_bytes"] > 1e6


def test_the_model_is_named_with_the_backend_that_was_found() -> None:
    with worker_for(ScriptedBackend(SCRIPT)) as pool:
        pool.start()
        pool.loaded.result(5)
        samples = watcher(pool, threads=1, model="base").samples()
    assert samples["model_info backend=scripted model=base threads=1 workers=1"] == 1


def test_a_label_takes_only_so_many_values_and_no_session_is_named(watched: Watcher) -> None:
    metrics = watched.service.metrics
    begin(metrics, "5c0e")
    for number in range(200):
        metrics.event(Notice(session="5c0e", code=f"plugin_{number}"))
    metrics.event(SessionEnded(session="5c0e"))
    samples = watched.samples()
    codes = [name for name in samples if name.startswith("notices_total")]
    assert len(codes) == 41
    assert samples["notices_total code=other"] == 160
    assert "5c0e" not in watched.get("/metrics").text


def test_servers_in_one_process_do_not_count_for_each_other(watched: Watcher) -> None:
    with worker_for(ScriptedBackend(SCRIPT)) as pool:
        other = watcher(pool)
        watched.service.metrics.refused("busy")
        assert "refusals_total code=busy" in watched.samples()
        assert "refusals_total code=busy" not in other.samples()


def test_open_metrics_are_for_those_who_ask_for_them(watched: Watcher) -> None:
    plain = watched.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    told = watched.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert told.headers["content-type"].startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(told.text)  # type: ignore[no-untyped-call]
    assert "stream_transcribe_commit_delay_seconds" in {family.name for family in families}


# -- /healthz, /readyz ----------------------------------------------------------------------------


@contextmanager
def loading(load: Callable[[], Backend]) -> Iterator[Watcher]:
    pool = BackendPool(load)
    try:
        yield watcher(pool)
    finally:
        pool.close()


def test_the_server_is_ready_from_its_calibration_to_its_end_and_alive_all_the_time() -> None:
    go = threading.Event()

    def load() -> Backend:
        go.wait(5)
        return ScriptedBackend(SCRIPT)

    with loading(load) as watched:
        service = watched.service
        assert watched.readiness() == (503, "loading")
        assert watched.samples()["ready"] == 0
        service.worker.start()
        assert watched.readiness() == (503, "loading")
        go.set()
        service.worker.loaded.result(5)
        assert watched.readiness() == (503, "calibrating")
        service.metrics.ready()
        assert watched.readiness() == (200, None)
        assert watched.samples()["ready"] == 1
        asyncio.run(service.sessions.drain(1.0))
        assert watched.readiness() == (503, "draining")
        assert watched.get("/healthz").json() == {"ok": True}


def test_a_model_that_cannot_be_loaded_is_told_as_that() -> None:
    def load() -> Backend:
        raise MemoryError

    with loading(load) as watched:
        watched.service.worker.start()
        with pytest.raises(MemoryError):
            watched.service.worker.loaded.result(5)
        assert watched.readiness() == (503, "failed")
        assert watched.get("/healthz").status_code == 200
        assert watched.get("/metrics").status_code == 200
