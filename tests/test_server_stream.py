"""``/v1/stream`` of the real process: a session from its first frame to its last."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import cli_plugin
import numpy as np
import pytest
from opus_streams import ogg, opus_packets, webm
from server_process import Served, serving
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.audio import samples_from_seconds

SAID = cli_plugin.SAID
PCM = (SAID.audio() * 32767).astype("<i2").tobytes()
TEXT = "".join(word.text for word in SAID.words)
SECOND = 32_000
"""Bytes of a second."""
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    options = ("--vad", "loud", "--max-rate", "0", "--idle", "1.5", "--max-session", "20")
    with serving(folder, *options) as served:
        served.until_ready()
        yield served


class Client:
    """A connection, and what came over it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.said: list[JSON] = []

    @property
    def events(self) -> list[JSON]:
        return [body for body in self.said if "seq" in body]

    async def send(self, data: bytes, piece: int = SECOND // 10) -> None:
        for at in range(0, len(data), piece):
            await self.socket.send(data[at : at + piece])

    async def tell(self, **body: Any) -> None:
        await self.socket.send(json.dumps(body))

    async def until(self, kind: str) -> JSON:
        """Read on to the next message of a type."""
        async with asyncio.timeout(20):
            async for text in self.socket:
                self.said.append(json.loads(text))
                if self.said[-1]["type"] == kind:
                    return self.said[-1]
        raise AssertionError(f"no {kind} in {[body['type'] for body in self.said]}")

    async def first(self) -> JSON:
        body: JSON = json.loads(await self.socket.recv())
        return body

    async def rest(self) -> tuple[int, str]:
        """Read to the end: close code and reason."""
        async with asyncio.timeout(20):
            with suppress(ConnectionClosed):  # a refusal is an error to this package
                async for text in self.socket:
                    self.said.append(json.loads(text))
        return self.socket.close_code or 0, self.socket.close_reason or ""


@asynccontextmanager
async def client(served: Served, query: str = "", **more: Any) -> AsyncIterator[Client]:
    address = f"{served.stream}?{query}" if query else served.stream
    async with connect(address, max_size=None, **more) as socket:
        yield Client(socket)


async def whole(served: Served, query: str = "", data: bytes = PCM, piece: int = 3200) -> Client:
    """Send everything and read everything."""
    async with client(served, query) as made:
        sending = asyncio.create_task(made.send(data, piece))
        await made.until("session_started")
        await sending
        await made.tell(type="finish")
        assert await made.rest() == (1000, "")
    return made


def text_of(events: list[JSON]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "committed")


def test_events_come_as_the_command_writes_them_each_once_and_in_order(server: Served) -> None:
    made = asyncio.run(whole(server, "label=me"))
    first, started = made.said[:2]
    assert first["type"] == "session"
    assert (first["position"], first["unit"]) == (0, "samples")
    assert len(first["secret"]) >= 32
    assert (started["type"], started["label"]) == ("session_started", "me")
    assert [event["seq"] for event in made.events] == list(range(len(made.events)))
    assert {event["session"] for event in made.events} == {first["session"]}
    assert text_of(made.events) == TEXT
    assert made.events[-1]["type"] == "session_ended"
    assert all("secret" not in event for event in made.events)


def test_the_client_hears_how_much_has_arrived(server: Served) -> None:
    made = asyncio.run(whole(server))
    received = [body["position"] for body in made.said if body["type"] == "received"]
    assert received
    assert received == sorted(set(received))
    assert 16_000 <= received[0] <= received[-1] <= len(PCM) // 2


@pytest.mark.parametrize("container", ["ogg", "webm"])
def test_opus_is_heard_as_well(server: Served, container: str) -> None:
    sound = np.repeat(SAID.audio(), 3)  # 48 kHz
    data = ogg(sound) if container == "ogg" else webm(opus_packets(sound))
    made = asyncio.run(whole(server, "encoding=opus", data, piece=700))
    assert made.said[0]["unit"] == "bytes"
    assert text_of(made.events) == TEXT


def test_a_session_of_what_is_no_opus_ends_at_once(server: Served) -> None:
    async def check() -> None:
        async with client(server, "encoding=opus") as made:
            await made.socket.send(b"Ogg")  # and no more: only the end shows that it is none
            await made.tell(type="finish")
            assert (await made.rest())[0] == 1003
            assert made.said[-1]["code"] == "bad_audio"
            assert made.events[-1]["type"] == "session_ended"

    asyncio.run(check())


def test_frames_may_be_cut_inside_a_sample(server: Served) -> None:
    made = asyncio.run(whole(server, piece=1111))
    assert text_of(made.events) == TEXT


def test_other_rates_channels_and_floats_are_heard_as_well(server: Served) -> None:
    mono = np.repeat(SAID.audio(), 3)
    stereo = np.stack((mono, mono), axis=1).astype("<f4").tobytes()
    made = asyncio.run(
        whole(server, "encoding=f32le&sample_rate=48000&channels=2", stereo, piece=100_000)
    )
    assert text_of(made.events) == TEXT


def test_without_interim_results_no_partial_comes(server: Served) -> None:
    made = asyncio.run(whole(server, "interim=false"))
    assert text_of(made.events) == TEXT
    assert not [event for event in made.events if event["type"] == "partial"]
    seqs = [event["seq"] for event in made.events]
    assert seqs == sorted(set(seqs))


def test_a_flush_closes_the_utterance_where_it_stands_in_the_audio(server: Served) -> None:
    async def scenario() -> Client:
        async with client(server) as made:
            await made.send(PCM[: 3 * SECOND])
            await made.tell(type="flush")
            final = await made.until("final")
            assert final["reason"] == "flush"
            flushed = next(event for event in made.events if event["type"] == "flushed")
            assert flushed["at_sample"] == 3 * 16_000
            await made.send(PCM[3 * SECOND :])
            await made.tell(type="finish")
            await made.rest()
        return made

    made = asyncio.run(scenario())
    # The word that the flush cuts in two is heard once or not at all, the others once.
    assert abs(len(text_of(made.events).split()) - len(SAID.words)) <= 1


def test_a_configuration_holds_from_its_place_on(server: Served) -> None:
    async def scenario() -> Client:
        async with client(server) as made:
            await made.send(PCM[: 4 * SECOND])
            await made.until("partial")
            await made.tell(type="configure", interim=False, hotwords=["Ada"], prompt="vorher")
            await made.send(PCM[4 * SECOND :])
            await made.tell(type="finish")
            assert await made.rest() == (1000, "")
        return made

    made = asyncio.run(scenario())
    assert next(event for event in made.events if event["type"] == "final")["reason"] == "flush"
    after = made.events[[event["type"] for event in made.events].index("final") :]
    assert not [event for event in after if event["type"] == "partial"]


def test_a_session_outlives_its_connection_unless_its_client_is_done_with_it(
    server: Served,
) -> None:
    async def scenario() -> list[str]:
        answers = []
        for code in (1000, 1001, None):
            async with client(server) as made:
                first = await made.until("session")
                await made.send(PCM[:SECOND])
                await made.until("received")
                if code is not None:
                    await made.socket.close(code)
                else:
                    made.socket.transport.abort()
                    await made.socket.wait_closed()
            await asyncio.sleep(1.5)  # the server looks after its sessions once a second
            async with client(server, f"session={first['session']}") as again:
                await again.tell(type="resume", secret=first["secret"], last_seq=-1, sent=16_000)
                answer = await again.first()
                answers.append(answer.get("code", answer["type"]))
        return answers

    assert asyncio.run(scenario()) == ["unknown_session", "resumed", "resumed"]


def test_silence_of_the_client_ends_its_session_unless_it_says_that_it_is_there(
    server: Served,
) -> None:
    async def scenario() -> tuple[Client, tuple[int, str], float]:
        async with client(server) as made:
            await made.send(PCM[: 2 * SECOND])
            for _ in range(3):
                await asyncio.sleep(0.8)
                await made.tell(type="keepalive")
            began_s = time.monotonic()
            closed = await made.rest()
            return made, closed, time.monotonic() - began_s

    made, closed, took_s = asyncio.run(scenario())
    assert closed[0] == 1008
    assert 1.0 < took_s < 5
    error = made.said[-1]
    assert (error["type"], error["code"]) == ("error", "idle")
    assert "1.5 s" in error["message"]
    assert made.events[-1]["type"] == "session_ended"
    assert [event["type"] for event in made.events].count("final") == 1


def test_a_session_that_is_too_long_ends_with_all_it_heard(server: Served) -> None:
    async def scenario() -> tuple[Client, tuple[int, str]]:
        async with client(server) as made:
            silence = bytes(SECOND)
            ending = asyncio.create_task(made.rest())
            with suppress(ConnectionClosed):
                for _ in range(21):
                    await made.socket.send(silence)
                await made.send(PCM[: 2 * SECOND])
                while not ending.done():
                    await asyncio.sleep(0.3)
                    await made.tell(type="keepalive")
            return made, await ending

    made, closed = asyncio.run(scenario())
    assert closed[0] == 1008
    assert made.said[-1]["code"] == "session_too_long"
    assert made.events[-1]["type"] == "session_ended"


@pytest.mark.parametrize(
    ("frame", "code", "closes"),
    [
        ("no json", "bad_message", 1007),
        ('{"type": "sing"}', "bad_message", 1007),
        ('{"type": "resume", "secret": "", "last_seq": 0, "sent": 0}', "bad_message", 1007),
        ('{"type": "configure", "language": "de"}', "bad_parameter", 1008),
    ],
)
def test_a_frame_that_cannot_be_closes_the_connection_and_says_why(
    server: Served, frame: str, code: str, closes: int
) -> None:
    async def scenario() -> tuple[Client, tuple[int, str]]:
        async with client(server) as made:
            await made.socket.send(frame)
            return made, await made.rest()

    made, closed = asyncio.run(scenario())
    assert closed[0] == closes
    assert (made.said[-1]["type"], made.said[-1]["code"]) == ("error", code)


def test_audio_after_finish_is_a_mistake(server: Served) -> None:
    async def scenario() -> str:
        async with client(server) as made:
            await made.tell(type="finish")
            await made.socket.send(b"\0\0")
            await made.rest()
            return str(made.said[-1].get("code", made.said[-1]["type"]))

    assert asyncio.run(scenario()) in ("bad_message", "session_ended")  # whichever is first


@pytest.mark.parametrize("query", ["language=klingon", "sample_rate=1", "nothing=like"])
def test_parameters_that_cannot_be_are_told_to_a_browser_too(server: Served, query: str) -> None:
    async def scenario() -> tuple[JSON, int]:
        async with client(server, query) as made:
            closed = await made.rest()
            (only,) = made.said
            return only, closed[0]

    error, closed = asyncio.run(scenario())
    assert (error["type"], error["code"], closed) == ("error", "bad_parameter", 1008)


def test_of_too_many_sessions_the_next_is_told_and_those_that_wait_give_way(
    tmp_path: Path,
) -> None:
    async def scenario(served: Served) -> list[str]:
        await asyncio.to_thread(served.until_ready)
        answers = []
        async with client(served) as one, client(served) as two:
            await one.until("session_started")
            first = await two.until("session")
            async with client(served) as three:
                await three.rest()
                answers.append(three.said[-1]["code"])
            await two.send(PCM[:SECOND])
            await two.until("received")
            two.socket.transport.abort()
            await two.socket.wait_closed()
            await asyncio.sleep(0.5)  # the server has to hear of it
            async with client(served) as four:
                answers.append((await four.until("session"))["type"])
                async with client(served, f"session={first['session']}") as again:
                    await again.tell(type="resume", secret=first["secret"], last_seq=0, sent=16_000)
                    await again.rest()
                    answers.append(again.said[-1]["code"])
        return answers

    with serving(tmp_path, "--vad", "loud", "--max-sessions", "2") as served:
        answers = asyncio.run(scenario(served))
    assert answers == ["too_many_sessions", "session", "unknown_session"]


def test_before_the_model_is_there_a_client_is_told_to_come_later(tmp_path: Path) -> None:
    async def scenario(served: Served) -> JSON:
        async with client(served) as made:
            closed = await made.rest()
            assert closed[0] == 1013
            return made.said[-1]

    with serving(tmp_path, backend="scripted:load_s=3") as served:
        error = asyncio.run(scenario(served))
    assert error["code"] == "not_ready"
    assert error["retry_after_s"] >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_every_session_gets_its_finals(tmp_path: Path, number: int) -> None:
    async def scenario(served: Served) -> list[tuple[Client, tuple[int, str]]]:
        await asyncio.to_thread(served.until_ready)
        async with client(served) as one, client(served) as two:
            for each in (one, two):
                await each.send(PCM[: samples_from_seconds(5) * 2])
                while (await each.until("received"))["position"] < 4 * 16_000:
                    pass
            served.process.send_signal(number)
            return [(each, await each.rest()) for each in (one, two)]

    with serving(tmp_path, "--vad", "loud", "--max-rate", "0") as served:
        ends = asyncio.run(scenario(served))
        assert served.process.wait(10) == 128 + number
    for made, closed in ends:
        assert closed[0] == 1012
        assert made.said[-1]["code"] == "restart"
        assert made.events[-1]["type"] == "session_ended"
        finals = [event for event in made.events if event["type"] == "final"]
        assert "".join(final["text"] for final in finals) == text_of(made.events)
        assert len(text_of(made.events).split()) >= 8
    assert not [line for line in served.lines if "Traceback" in line]


def test_a_pass_that_hangs_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        await asyncio.to_thread(served.until_ready)
        async with client(served) as made:
            await made.send(PCM[: 2 * SECOND])
            await made.until("speech_started")
            await asyncio.sleep(0.5)
            served.process.terminate()
            await made.rest()

    backend = "scripted:pass_s=60"
    with serving(tmp_path, "--vad", "loud", "--drain", "1", backend=backend) as served:
        began_s = time.monotonic()
        asyncio.run(scenario(served))
        served.process.wait(15)
        assert time.monotonic() - began_s < 25


def test_an_address_in_use_is_one_line(tmp_path: Path, server: Served) -> None:
    process = cli_plugin.start(tmp_path, "serve", "--port", str(server.port))
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "the port is in use" in err


def test_nobody_can_read_a_secret_in_what_the_server_writes(tmp_path: Path) -> None:
    async def scenario(served: Served) -> JSON:
        await asyncio.to_thread(served.until_ready)
        made = await whole(served, "label=me&prompt=hush-hush")
        async with client(served, "token=my-own-token&x=y") as other:
            await other.rest()
        return made.said[0]

    with serving(tmp_path, "--vad", "loud", "--max-rate", "0", "--debug") as served:
        first = asyncio.run(scenario(served))
        served.stop()
    written = "".join(served.lines)
    assert first["session"][:8] in written
    for secret in (first["session"], first["secret"], "hush-hush", "my-own-token"):
        assert secret not in written
