"""The real server among clients that are broken, stuck or up to no good."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cli_plugin
import httpx
import psutil
import pytest
from server_process import Served, serving
from small_server import Frames, eventually, frame, upgrade
from websockets.sync.client import connect

SAID = cli_plugin.SAID
PCM = (SAID.audio() * 32_767).astype("<i2").tobytes()
WORDS = "".join(word.text for word in SAID.words)
TEXT, BINARY, CONT, CLOSE, PING = 1, 2, 0, 8, 9
LONGEST = 32_768
STREAM = upgrade("/v1/stream")
UPLOAD = b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
RESET = b"\x01\0\0\0\0\0\0\0"
"""For SO_LINGER: closing breaks the connection off."""


@dataclass(frozen=True)
class Usage:
    """What the server holds."""

    files: int
    threads: int
    memory: int


class Hostile:
    """A server, and ways to treat it badly."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._process = psutil.Process(served.process.pid)

    def connect(self, said: bytes = b"", *, receive_buffer: int | None = None) -> socket.socket:
        raw = socket.socket()
        if receive_buffer is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", self.served.port))
        raw.sendall(said)
        return raw

    def stream(self) -> Frames:
        """A session that has begun, over raw frames."""
        frames = Frames(self.connect(STREAM))
        assert b" 101 " in frames.head()
        assert json.loads(frames.next()[1])["type"] == "session"
        return frames

    def usage(self) -> Usage:
        process = self._process
        return Usage(process.num_fds(), process.num_threads(), process.memory_info().rss)

    def gauge(self, name: str) -> float:
        text = httpx.get(f"{self.served.url}metrics").text
        found = re.search(rf"^stream_transcribe_{name} (\S+)$", text, re.M)
        assert found is not None, name
        return float(found[1])

    def health_s(self) -> float:
        """How long it takes to say that it is well."""
        began = time.monotonic()
        assert httpx.get(f"{self.served.url}healthz", timeout=5).is_success
        return time.monotonic() - began

    def hear(self) -> str:
        """What a good client gets for the speech."""
        committed = ""
        with connect(self.served.stream) as stream:
            for at in range(0, len(PCM), LONGEST):
                stream.send(PCM[at : at + LONGEST])
            stream.send('{"type": "finish"}')
            for message in stream:
                event = json.loads(message)
                if event["type"] == "committed":
                    committed += event["text"]
        return committed


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    options = ("--vad", "loud", "--max-rate", "0", "--resume", "0", "--max-frame", str(LONGEST))
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, *options, "--max-connections", "200", "--workers", "1") as served:
        eventually(lambda: httpx.get(f"{served.url}readyz").is_success, 30)
        hostile = Hostile(served)
        crowd(hostile)  # what is loaded on use, and buffers of many sessions at once
        assert hostile.hear() == WORDS
        yield hostile
        assert served.stop() in (0, 143)
        told = [line for line in served.lines if not line.startswith(("info: ", "session "))]
        assert [line for line in told if line.strip() != "ready"] == []


@pytest.fixture
def unharmed(hostile: Hostile) -> Iterator[Hostile]:
    """The server, which must be in the end as it was before."""
    before = hostile.usage()
    yield hostile
    assert hostile.health_s() < 4  # a busy machine's second
    eventually(lambda: hostile.gauge("connections") <= 1, 20)  # the one that asks
    eventually(lambda: hostile.gauge("sessions") == 0, 20)
    assert hostile.hear() == WORDS
    eventually(lambda: hostile.usage().files <= before.files + 2, 20)
    assert hostile.usage().threads <= before.threads + 4
    eventually(lambda: hostile.usage().memory - before.memory < 32 * 2**20, 20)
    assert not [line for line in hostile.served.lines if "Traceback" in line]


STAGES: dict[str, Callable[[Hostile], socket.socket]] = {
    "nothing": lambda h: h.connect(),
    "half a request": lambda h: h.connect(b"GET / HTT"),
    "half a handshake": lambda h: h.connect(STREAM[:90]),
    "a handshake": lambda h: h.connect(STREAM),
    "a session": lambda h: h.stream().raw,
    "audio": lambda h: sent(h.stream(), frame(BINARY, PCM[:LONGEST])),
    "half a frame": lambda h: sent(h.stream(), frame(BINARY, PCM[:LONGEST])[:1_000]),
    "half a message": lambda h: sent(h.stream(), frame(BINARY, PCM[:1_000], fin=False)),
    "the end of the audio": lambda h: sent(
        h.stream(), frame(BINARY, PCM[:LONGEST]), frame(TEXT, b'{"type": "finish"}')
    ),
    "a close": lambda h: sent(h.stream(), frame(CLOSE, b"\x03\xe8")),
    "a view": lambda h: h.connect(upgrade("/view/nobody/ws")),
    "an upload": lambda h: h.connect(UPLOAD + b"\r\n" + bytes(500)),
    "garbage": lambda h: h.connect(bytes(range(256)) * 4),
}


def sent(frames: Frames, *said: bytes) -> socket.socket:
    frames.raw.sendall(b"".join(said))
    return frames.raw


def crowd(hostile: Hostile) -> None:
    """A hundred clients come and go, at every stage and in every way."""
    for number in range(104):
        raw = list(STAGES.values())[number % len(STAGES)](hostile)
        if number % 3 == 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif number % 3 == 1:
            raw.shutdown(socket.SHUT_WR)
        raw.close()


def test_a_hundred_clients_come_and_go_and_leave_nothing_behind(unharmed: Hostile) -> None:
    crowd(unharmed)


@pytest.mark.parametrize("stage", STAGES)
def test_clients_of_one_kind_come_and_go_at_once(unharmed: Hostile, stage: str) -> None:
    gone = [STAGES[stage](unharmed) for _ in range(6)]
    for raw in gone:
        raw.close()


@pytest.mark.parametrize(
    ("said", "code", "name"),
    [
        (frame(TEXT, b"{"), 1007, "bad_message"),
        (frame(TEXT, b'{"type": "sing"}'), 1007, "bad_message"),
        (frame(TEXT, b"[" * 10_000), 1007, "bad_message"),
        (frame(TEXT, b'{"type": "skip", "count": 1e999}'), 1007, "bad_message"),
        (frame(TEXT, b'{"type": "resume"}'), 1007, "bad_message"),
        (frame(TEXT, b"\xff\xfe"), 1007, None),
        (frame(BINARY, bytes(LONGEST + 1)), 1009, None),
        (frame(BINARY, bytes(LONGEST), fin=False) + frame(CONT, b"x"), 1009, None),
        (frame(BINARY, bytes(10), masked=False), 1002, None),
        (bytes(range(256)), 1002, None),
    ],
)
def test_what_is_no_message_is_refused_with_its_code(
    unharmed: Hostile, said: bytes, code: int, name: str | None
) -> None:
    with unharmed.stream() as frames:
        frames.raw.sendall(said)
        bodies = []
        while (heard := frames.next())[0] != CLOSE:
            if heard[0] == TEXT:
                bodies.append(json.loads(heard[1]))
        assert int.from_bytes(heard[1][:2]) == code
        refused = [body["code"] for body in bodies if body["type"] == "error"]
        assert refused == ([name] if name else [])


def test_requests_of_strangers_are_answered_or_closed(unharmed: Hostile) -> None:
    for said in (
        STREAM.replace(b"localhost", b"evil.example"),
        upgrade("/v1/stream", "Origin: https://evil.example"),
        upgrade("/v1/stream?encoding=%00&token=x"),
        upgrade("/v1/stream", "X: " + "x" * 12_000),
        upgrade("/v1/stream", *["X: x"] * 500),
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /view/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%00%ff%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /inference HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        UPLOAD + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--y\r\n" + bytes(9_999),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"\r\n" * 1_000,
    ):
        with contextlib.suppress(ConnectionError), unharmed.connect(said) as raw:
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65_536):
                pass


def test_whoever_is_stuck_is_shown_out_and_holds_nobody_up(unharmed: Hostile) -> None:
    stuck = [
        *(unharmed.connect(said) for said in (b"", b"GET / HTTP/1.1\r\n", STREAM[:60])),
        unharmed.connect(UPLOAD + b"\r\n" + bytes(200)),
    ]
    slow = unharmed.connect()
    deaf = unharmed.connect(STREAM, receive_buffer=4_096)
    ends = [
        threading.Thread(target=end)
        for end in (
            lambda: trickle(slow, STREAM * 2, every_s=0.2),
            lambda: flood(deaf, frame(PING, b"x" * 125) * 400),
        )
    ]
    for end in ends:
        end.start()
    heard = [unharmed.hear() for _ in range(3)]
    waits_s = [unharmed.health_s() for _ in range(20)]
    assert heard == [WORDS] * 3
    assert max(waits_s) < 1
    for end in ends:
        end.join(30)
    assert not any(end.is_alive() for end in ends)
    eventually(lambda: unharmed.gauge("connections") <= 2, 30)  # an upload has half a minute
    for raw in (*stuck, slow, deaf):
        raw.close()


def trickle(raw: socket.socket, data: bytes, *, every_s: float) -> None:
    """Send byte by byte until the other side has enough of it."""
    with contextlib.suppress(OSError):
        for byte in data:
            raw.sendall(bytes([byte]))
            time.sleep(every_s)


def flood(raw: socket.socket, data: bytes) -> None:
    """Send without end, and read nothing, until the other side has enough of it."""
    raw.settimeout(30)
    with contextlib.suppress(OSError):
        while True:
            raw.sendall(data)


def test_more_connections_than_there_may_be_leave_those_alone_that_are_there(
    hostile: Hostile,
) -> None:
    with contextlib.ExitStack() as kept, hostile.stream() as frames:
        for _ in range(250):
            with contextlib.suppress(ConnectionError):
                kept.enter_context(hostile.connect())
        frames.raw.sendall(frame(BINARY, PCM[:LONGEST]))
        while json.loads(frames.next()[1])["type"] != "received":
            pass
    time.sleep(0.2)
    assert hostile.hear() == WORDS
    assert hostile.gauge("connections_refused_total") >= 51
    told = [line for line in hostile.served.lines if "--max-connections" in line]
    assert len(told) == 1
    hostile.served.lines.remove(told[0])
