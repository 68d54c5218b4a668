"""The real Wyoming server among clients that are broken, stuck or up to no good."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cli_plugin
import psutil
import pytest
from small_server import eventually
from wyoming_server import Heard, Served, chunks, pcm, serving, to_the_end, transcribe

# isort: split
from wyoming.audio import AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.ping import Ping

SAID = cli_plugin.talk(4)
TEXT = "".join(word.text for word in SAID.words).strip()
AUDIO = pcm(SAID.audio())
START = AudioStart(16_000, 2, 1).event()
STOP = AudioStop().event()
RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing breaks the connection off."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("wyoming")
    with serving(folder, "--max-sessions", "3", backend="scripted:utterances=4") as served:
        for _ in range(3):  # what is loaded on use
            assert hear(served).transcript.text == TEXT
        yield served


@pytest.fixture
def unharmed(server: Served) -> Iterator[Served]:
    """The server, which must be in the end as it was before, with nothing to say about it."""
    process = psutil.Process(server.process.pid)
    files, threads, memory = (
        process.num_fds(),
        process.num_threads(),
        process.memory_info().rss,
    )
    yield server
    assert hear(server).transcript.text == TEXT
    eventually(lambda: process.num_fds() <= files, 20)
    assert process.num_threads() <= threads + 8  # a few for all
    assert process.memory_info().rss - memory < 32 * 2**20
    told = [line for line in server.lines if not line.startswith(("info: ", "transcribed "))]
    assert not [line for line in told if not line.startswith("compiling")]


def hear(served: Served) -> Heard:
    """What a good client gets."""

    async def run() -> Heard:
        async with served.client() as client:
            return await transcribe(client, AUDIO)

    return asyncio.run(run())


def line(kind: str, /, **header: Any) -> bytes:
    return json.dumps({"type": kind, **header}).encode() + b"\n"


def start(rate: Any = 16_000, width: Any = 2, channels: Any = 1) -> bytes:
    return line("audio-start", data={"rate": rate, "width": width, "channels": channels})


def chunk(data: bytes, **form: Any) -> bytes:
    form = {"rate": 16_000, "width": 2, "channels": 1, **form}
    return line("audio-chunk", data=form, payload_length=len(data)) + data


def connect(served: Served, said: bytes = b"") -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", served.port), timeout=30)
    raw.sendall(said)
    return raw


def told(raw: socket.socket) -> list[dict[str, Any]]:
    """Events up to the end of the connection."""
    events = []
    with raw, raw.makefile("rb") as stream:
        while header := stream.readline():
            event = json.loads(header)
            event["data"] = json.loads(stream.read(event.get("data_length", 0)) or b"{}")
            events.append(event)
    return events


def code_of(events: list[dict[str, Any]]) -> str:
    """Of the one error, which comes last and says why."""
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["type"] == "error"
    assert events[-1]["data"]["text"]
    code: str = events[-1]["data"]["code"]
    return code


BAD: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", "bad_event"),
    "any bytes": (bytes(range(256)) * 40, "bad_event"),
    "a list": (b"[1, 2]\n", "bad_event"),
    "a type that is a number": (b'{"type": 5}\n', "bad_event"),
    "no type": (b"{}\n", "bad_event"),
    "data that is a number": (line("ping", data=3), "bad_event"),
    "more data that is a list": (line("ping", data_length=2) + b"[]", "bad_event"),
    "a line without end": (b"x" * 200_000, "too_large"),
    "JSON without bottom": (b"[" * 60_000 + b"\n", "bad_event"),
    "a number without end": (b'{"type": ' + b"1" * 9_000 + b"}\n", "bad_event"),
    "ten gigabytes of payload": (line("audio-chunk", payload_length=10**10), "too_large"),
    "ten gigabytes of data": (line("describe", data_length=10**10), "too_large"),
    "less than no payload": (line("audio-chunk", payload_length=-1), "bad_event"),
    "a payload of many": (line("audio-chunk", payload_length="many"), "bad_event"),
    "a rate of nothing": (start(rate=0), "bad_audio"),
    "a rate beyond numbers": (start(rate=10**400), "bad_audio"),
    "a rate that is none": (start(rate=float("nan")), "bad_audio"),
    "a rate that is missing": (line("audio-start"), "bad_audio"),
    "samples of 7 bytes": (start(width=7), "bad_audio"),
    "no channel": (start(channels=0), "bad_audio"),
    "99 channels": (start(channels=99), "bad_audio"),
    "a cut sample": (start() + chunk(bytes(3_201)), "bad_audio"),
    "a cut frame": (start() + chunk(bytes(3_202), channels=2), "bad_audio"),
    "a form that changes to none": (start() + chunk(bytes(320), rate=1), "bad_audio"),
    "a start within": (start() + chunk(bytes(320)) + start(), "bad_event"),
    "a language of numbers": (line("transcribe", data={"language": [1]}), "bad_event"),
    "another language": (line("transcribe", data={"language": "de"}), "bad_language"),
    "no language": (line("transcribe", data={"language": "\ud800x"}), "bad_language"),
    "another model": (line("transcribe", data={"name": "large"}), "unknown_model"),
}


@pytest.mark.parametrize(("said", "code"), BAD.values(), ids=BAD.keys())
def test_a_client_is_told_what_is_wrong_and_closed(
    unharmed: Served, said: bytes, code: str
) -> None:
    assert code_of(told(connect(unharmed, said))) == code


def test_an_event_that_ends_early_is_told_to_who_still_listens(unharmed: Served) -> None:
    raw = connect(unharmed, start() + chunk(bytes(3_200))[:-100])
    raw.shutdown(socket.SHUT_WR)
    assert code_of(told(raw)) == "bad_event"


def test_unknown_events_are_passed_over(unharmed: Served) -> None:
    events = [line("select-program", data={"name": "x"}), line("no-such-event", payload_length=3)]
    ping = line("ping", data={"text": "\ud800"})  # half a character
    raw = connect(unharmed, events[0] + events[1] + b"abc" + ping)
    raw.shutdown(socket.SHUT_WR)
    (pong,) = told(raw)
    assert (pong["type"], pong["data"]) == ("pong", {"text": "?"})


def test_audio_that_was_not_announced_is_told_once_and_passed_over(unharmed: Served) -> None:
    async def run() -> tuple[Event | None, Heard]:
        async with unharmed.client() as client:
            for event in (*chunks(AUDIO), STOP):
                await client.write_event(event)
            error = await client.read_event()
            return error, await transcribe(client, AUDIO)

    error, heard = asyncio.run(run())
    assert error is not None
    assert Error.from_event(error) == Error("audio-chunk came without an audio-start", "bad_event")
    assert heard.transcript.text == TEXT


def test_a_client_that_stalls_within_its_audio_is_told_and_closed(tmp_path: Path) -> None:
    with serving(tmp_path, "--idle", "1", "--max-sessions", "1") as served:
        for said in (chunk(bytes(3_200)), chunk(bytes(3_200))[:-100]):
            assert code_of(told(connect(served, start() + said))) == "idle"
        eventually(lambda: takes_one_more(served), 20)


STAGES: dict[str, bytes] = {
    "nothing": b"",
    "half a line": b'{"type": "aud',
    "a start": start(),
    "audio": start() + chunk(AUDIO[:200_000]),
    "half a chunk": start() + chunk(AUDIO[:200_000])[:150_000],
    "all audio": start() + chunk(AUDIO) + line("audio-stop"),
}


@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("said", STAGES.values(), ids=STAGES.keys())
def test_a_client_that_vanishes_leaves_nothing(unharmed: Served, said: bytes, resets: bool) -> None:
    for _ in range(6):  # more than there are places
        raw = connect(unharmed, said)
        if resets:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        raw.close()
        eventually(lambda: takes_one_more(unharmed), 20)


def takes_one_more(served: Served) -> bool:
    raw = connect(served, start() + line("audio-stop"))
    raw.shutdown(socket.SHUT_WR)
    last: str = told(raw)[-1]["type"]
    return last == "transcript-stop"


def test_more_transcriptions_than_places_are_told_so_and_the_others_go_on(
    unharmed: Served,
) -> None:
    async def run() -> tuple[list[Heard], Heard]:
        clients: list[AsyncClient] = [unharmed.client() for _ in range(4)]
        for client in clients:
            await client.connect()
        *first, late = clients
        for client in first:
            await client.write_event(START)
            await client.write_event(Ping().event())
            assert (await client.read_event()) is not None  # the start was seen
        await late.write_event(START)
        refused = await to_the_end(late)
        assert await late.read_event() is None
        heard = []
        for client in first:
            for event in (*chunks(AUDIO), STOP):
                await client.write_event(event)
            heard.append(await to_the_end(client))
        for client in clients:
            await client.disconnect()
        return heard, refused

    heard, refused = asyncio.run(run())
    assert [each.transcript.text for each in heard] == [TEXT] * 3
    assert refused.error.code == "too_many_sessions"


def test_more_connections_than_there_may_be_are_told_so(unharmed: Served) -> None:
    many = [connect(unharmed) for _ in range(3 + 64)]
    try:
        assert code_of(told(connect(unharmed))) == "too_many_connections"
    finally:
        for raw in many:
            raw.close()
    eventually(lambda: takes_one_more(unharmed), 20)


def test_a_client_that_takes_no_answers_takes_no_memory_either(unharmed: Served) -> None:
    raw = connect(unharmed)
    raw.setblocking(False)
    pings = line("ping", data={"text": "x" * 30_000}) * 10
    sent = 0
    with raw:
        try:
            while sent < 200 * len(pings):
                sent += raw.send(pings)
        except BlockingIOError:
            eventually(lambda: hear(unharmed).transcript.text == TEXT, 20)
        else:
            raise AssertionError("it reads on and on")


def test_fast_audio_waits_and_none_of_it_is_lost(tmp_path: Path) -> None:
    """Minutes at once, and a model that takes its time."""
    script = cli_plugin.talk(20)
    data = pcm(script.audio())
    minutes = data + bytes(10 * len(data))  # what follows is silence
    with serving(tmp_path, backend="scripted:utterances=20,pass_s=0.03") as served:
        process = psutil.Process(served.process.pid)
        before = process.memory_info().rss
        peaks = []

        async def run() -> Heard:
            async with served.client() as client:
                await client.write_event(START)
                uploading = asyncio.create_task(upload(client))
                heard = await to_the_end(client)
                await uploading
                return heard

        async def upload(client: AsyncClient) -> None:
            for event in (*chunks(minutes), STOP):
                await client.write_event(event)
                peaks.append(process.memory_info().rss - before)

        heard = asyncio.run(run())
    assert heard.transcript.text == "".join(word.text for word in script.words).strip()
    assert len(minutes) > 15e6
    assert max(peaks) < 12e6


def test_a_running_transcription_may_finish_when_the_server_is_to_end(tmp_path: Path) -> None:
    async def run() -> Heard:
        async with served.client() as client:
            await client.write_event(START)
            for event in chunks(AUDIO[:100_000]):
                await client.write_event(event)
            await client.read_event()  # it hears
            served.process.terminate()
            await asyncio.to_thread(eventually, lambda: refused(served), 20)
            for event in (*chunks(AUDIO[100_000:]), STOP):
                await client.write_event(event)
            return await to_the_end(client)

    with serving(tmp_path, backend="scripted:utterances=4") as served:
        # The first event was read already: nothing but the rest is seen here.
        assert asyncio.run(run()).transcript.text == TEXT
        assert served.process.wait(20) == 128 + signal.SIGTERM


def refused(served: Served) -> bool:
    try:
        connect(served).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_transcription_that_does_not_end_holds_up_the_end_no_longer_than_it_may(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, "--drain", "0.5", backend="scripted:utterances=4") as served:
        raw = connect(served, start() + chunk(AUDIO[:100_000]))
        idle = connect(served)
        with raw.makefile("rb") as stream:
            assert b"transcript-start" in stream.readline()
        served.process.terminate()
        assert code_of(told(idle)) == "restart"
        assert served.process.wait(20) == 128 + signal.SIGTERM
        assert b'"code": "restart"' in raw.recv(65_536)
        raw.close()


def test_a_signal_while_the_model_loads_ends_it(tmp_path: Path) -> None:
    cli_plugin.install(tmp_path)
    options = ("--uri", "tcp://127.0.0.1:0", "--backend", "scripted:load_s=60")
    with cli_plugin.start(tmp_path, "wyoming", *options) as process:
        eventually((tmp_path / "loading").exists, 20)
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM


def test_the_hosts_of_a_public_address_are_warned(tmp_path: Path) -> None:
    with serving(tmp_path, uri="tcp://0.0.0.0:0") as served:
        served.until_said("the protocol has no authentication")
