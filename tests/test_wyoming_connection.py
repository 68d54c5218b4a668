"""One client of the Wyoming server, in this process: faults, waits and wishes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from fakes import ScriptedBackend, say, worker_for
from wyoming_server import Heard, pcm, to_the_end, transcribe

from streaming.app.server.refusal import Refusal
from streaming.app.settings import Settings
from streaming.app.wyoming.server import WyomingServer
from streaming.app.wyoming.service import Limits, Service
from streaming.app.wyoming.vocabulary import Event
from streaming.app.wyoming.wishes import wished
from streaming.backends.pool import BackendPool
from streaming.errors import BackendError, ConfigurationError
from streaming.protocols import Hypothesis, Window

# isort: split
from wyoming.asr import Transcribe
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.ping import Ping

SAID = say(4, 4)
AUDIO = pcm(SAID.audio())
TEXT = "".join(word.text for word in SAID.words).strip()
SETTINGS = Settings(model="base", vad="energy", workers=1)
LIMITS = Limits()


@pytest.fixture
def worker() -> Iterator[BackendPool]:
    with worker_for(ScriptedBackend(SAID)) as pool:
        pool.start()
        yield pool


def service_of(pool: BackendPool, limits: Limits = LIMITS, **more: object) -> Service:
    values = {"settings": SETTINGS, "model": "base", "multilingual": True, **more}
    return Service(worker=pool, limits=limits, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[AsyncTcpClient]:
    """A client of a server in this loop."""
    server = WyomingServer(service)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(listener))
        client = AsyncTcpClient("127.0.0.1", listener.getsockname()[1], read_timeout=30)
        try:
            await client.connect()
            yield client
        finally:
            await client.disconnect()
            serving.cancel()
            await server.stop()
    assert len(server) == 0
    assert service.running == 0


@dataclass
class Faulty(ScriptedBackend):
    """Every pass fails while it is broken."""

    broken: bool = True

    def decode(self, window: Window) -> Hypothesis:
        if self.broken:
            raise BackendError("the script wants it so")
        return super().decode(window)


def test_a_model_that_fails_is_told_and_the_next_transcription_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> list[Heard]:
        heard = []
        for broken in (True, False):
            backend.broken = broken
            async with connected(service_of(pool)) as client:
                heard.append(await transcribe(client, AUDIO))
        return heard

    backend = Faulty(SAID)
    with worker_for(backend) as pool:
        pool.start()
        failed, well = asyncio.run(run())
    assert failed.error.code == "internal"
    assert "script" not in failed.error.text  # the log has the reason
    assert "the script wants it so" in caplog.text
    assert not [record for record in caplog.records if record.exc_info]
    assert well.transcript.text == TEXT


def test_a_model_that_is_broken_for_good_ends_the_server(worker: BackendPool) -> None:
    async def run() -> Heard:
        service = service_of(worker)
        await worker.ready()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(WyomingServer(service).serve(listener))
            async with AsyncTcpClient("127.0.0.1", listener.getsockname()[1]) as client:
                worker.close()
                heard: Heard = await transcribe(client, AUDIO)
            with pytest.raises(BackendError, match="takes no more work"):
                await asyncio.wait_for(serving, 20)
        return heard

    assert asyncio.run(run()).error.code == "internal"


def test_a_transcription_has_only_so_much_audio(worker: BackendPool) -> None:
    async def run() -> Heard:
        async with connected(service_of(worker, Limits(max_session_s=2.0))) as client:
            return await transcribe(client, AUDIO)

    heard = asyncio.run(run())
    assert heard.error.code == "too_long"


def test_a_client_with_nothing_to_say_is_let_go(worker: BackendPool) -> None:
    async def run() -> Heard:
        async with connected(service_of(worker, Limits(quiet_s=0.05))) as client:
            return await to_the_end(client)

    assert asyncio.run(run()).error.code == "idle"


def test_a_ping_keeps_a_transcription(worker: BackendPool) -> None:
    async def run() -> list[str]:
        async with connected(service_of(worker, Limits(idle_s=2.0))) as client:
            await client.write_event(AudioStart(16_000, 2, 1).event())
            told = []
            for _ in range(6):
                await asyncio.sleep(0.4)
                await client.write_event(Ping().event())
                event = await client.read_event()
                assert event is not None
                told.append(event.type)
            return told

    assert set(asyncio.run(run())) == {"pong"}


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        (Transcribe(), None),
        (Transcribe(language=""), None),
        (Transcribe(language="de"), "de"),
        (Transcribe(language="en-GB"), "en"),
        (Transcribe(language="pt_BR"), "pt"),
        (Transcribe(language="zh-Hans"), "zh"),
        (Transcribe(language="nb"), "no"),
        (Transcribe(language="auto"), None),
        (Transcribe(name="base"), None),
        (Transcribe(name="stream-transcribe", language="fr"), "fr"),
        (Transcribe(transcript_names=["Bob"], vad_sensitivity="aggressive"), None),
    ],
)
def test_wishes_that_can_be_met(
    worker: BackendPool, asked: Transcribe, language: str | None
) -> None:
    found = wished(service_of(worker), asked.event())
    assert found.transcriber_options().language == language


def test_the_clients_language_goes_before_that_of_the_server(worker: BackendPool) -> None:
    service = service_of(worker, settings=replace(SETTINGS, language="de"))
    assert wished(service, Transcribe(language="fr").event()).language == "fr"
    assert wished(service, Transcribe().event()).language == "de"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"language": "xx"}, "bad_language"),
        ({"language": "english"}, "bad_language"),
        ({"language": 3}, "bad_event"),
        ({"name": ["base"]}, "bad_event"),
        ({"name": "large-v3"}, "unknown_model"),
    ],
)
def test_wishes_that_cannot_be_met(worker: BackendPool, data: dict[str, object], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        wished(service_of(worker), Event("transcribe", data))
    assert refused.value.code == code


def test_an_english_model_takes_english_in_all_its_forms(worker: BackendPool) -> None:
    service = service_of(worker, model="tiny.en", multilingual=False)
    for language in ("en", "en-US", "auto"):
        assert wished(service, Transcribe(language=language).event()) is service.settings
    with pytest.raises(Refusal, match=r"tiny\.en knows only English, not 'ja'"):
        wished(service, Transcribe(language="ja").event())


@pytest.mark.parametrize("limits", [{"max_sessions": 0}, {"idle_s": float("nan")}, {"drain_s": -1}])
def test_bounds_that_cannot_work_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="must lie between"):
        Limits(**limits)  # type: ignore[arg-type]
