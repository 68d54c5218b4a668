"""Whatever is sent to the server, it stays up, answers in its own words and keeps nothing."""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import cli_plugin
import psutil
import pytest
from encoded_audio import tone, wav_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opus_streams import OPUS_RATE, ogg, opus_packets, webm
from server_process import Served, serving
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streaming.events import event_from_json

PROTOCOL = Path(__file__).parents[1] / "streaming" / "app" / "server" / "PROTOCOL.md"
REPLIES = {"session", "resumed", "received", "error"}
LONGEST_FRAME = 32_768
SPEECH = (cli_plugin.SAID.audio() * 32_767).astype("<i2").tobytes()
WAV = wav_header(16_000, rate=16_000) + SPEECH[:16_000]
SOUND = tone(1.0, OPUS_RATE)
STREAMS = (ogg(SOUND), webm(opus_packets(SOUND)))


class Bytes(bytes):
    """That do not fill the screen when a test fails."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes, {bytes(self[:8]).hex()}...>"


class Text(str):
    """The same."""

    def __repr__(self) -> str:
        return repr(str(self)) if len(self) < 500 else f"<{len(self)} characters>"


BOUNDED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def close_codes() -> dict[str, int]:
    """Of every refusal, as the protocol's table has them."""
    rows = re.findall(r"^\| (1\d{3}) \| (`.+`) \|", PROTOCOL.read_text("utf-8"), re.M)
    return {code: int(close) for close, codes in rows for code in re.findall(r"`(\w+)`", codes)}


CLOSE_CODES = close_codes()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    options = {
        "--vad": "loud",
        "--max-rate": "0",
        "--resume": "1",
        "--idle": "5",
        "--max-session": "600",
        "--max-sessions": "12",
        "--max-frame": str(LONGEST_FRAME),
        "--max-upload": "0.2",
        "--max-upload-duration": "5",
    }
    arguments = [part for option in options.items() for part in option]
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, *arguments) as served:
        until_s = time.monotonic() + 30
        while status(served, "readyz") != 200:
            assert time.monotonic() < until_s
            time.sleep(0.1)
        yield served


def status(server: Served, path: str) -> int:
    with suppress(urllib.error.HTTPError), urllib.request.urlopen(server.url + path) as answer:
        return int(answer.status)
    return 0


def gauge(server: Served, name: str) -> float:
    with urllib.request.urlopen(server.url + "metrics") as answer:
        found = re.search(rf"^stream_transcribe_{name} (\S+)$", answer.read().decode(), re.M)
    assert found, name
    return float(found[1])


@contextmanager
def unharmed(server: Served) -> Iterator[None]:
    """What happens in the block leaves nothing behind in the server."""
    process = psutil.Process(server.process.pid)
    asyncio.run(conversation(server, [("open", 0, "encoding=opus"), ("audio", 0, STREAMS[0])]))
    memory, threads, files = process.memory_info().rss, process.num_threads(), process.num_fds()
    yield
    until_s = time.monotonic() + 15
    while gauge(server, "sessions") or gauge(server, "sessions_waiting"):
        assert time.monotonic() < until_s, "a session is left"
        time.sleep(0.1)
    while process.num_threads() > threads + 4 or process.num_fds() > files + 4:
        assert time.monotonic() < until_s, f"{process.num_threads()} {process.num_fds()}"
        time.sleep(0.1)
    while process.memory_info().rss - memory >= 64 * 2**20:  # it is given back now and then
        assert time.monotonic() < until_s, f"{process.memory_info().rss - memory} bytes are kept"
        time.sleep(0.1)
    assert server.process.poll() is None
    assert status(server, "healthz") == 200
    assert not [line for line in server.lines if re.search(r"Traceback|[Ee]rror|xception", line)]


# -- what clients say -----------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
TYPES = ("keepalive", "flush", "finish", "skip", "configure", "resume", "session_started", "")
FIELDS = ("count", "language", "task", "prompt", "hotwords", "interim", "secret", "last_seq", "x")
VALID = (
    {"type": "keepalive"},
    {"type": "flush"},
    {"type": "finish"},
    {"type": "skip", "count": 1},
    {"type": "skip", "count": 2**40},
    {"type": "configure", "prompt": "Ask not", "interim": False},
    {"type": "configure", "language": "en", "hotwords": ["a", 1, None]},
)
ODD = ("", "[" * 30_000, "{" * 5_000, "1e999", "NaN", '"\\ud800"', "{}", "x" * 70_000, "\x00")
PARAMETERS = (
    *("encoding", "sample_rate", "channels", "language", "task", "prompt", "hotwords"),
    *("interim", "label", "token", "session", "more"),
)
TEXTS = (
    st.sampled_from(VALID).map(json.dumps)
    | st.sampled_from(VALID).map(json.dumps)
    | st.sampled_from(VALID).map(json.dumps)
    | st.builds(
        lambda kind, rest: json.dumps({"type": kind, **rest}),
        st.sampled_from(TYPES),
        st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=3),
    )
    | JSON_VALUES.map(json.dumps)
    | st.text(max_size=50)
    | st.sampled_from(ODD)
).map(Text)
QUERIES = (
    st.sampled_from(
        ["", "encoding=opus", "encoding=f32le&channels=8&sample_rate=192000", "interim=false"]
    )
    | st.dictionaries(
        st.sampled_from(PARAMETERS) | st.text(max_size=8),
        st.sampled_from(["opus", "s16le", "0", "16000", "-1", "auto", "en,de", "translate", "true"])
        | st.text(max_size=12),
        max_size=4,
    ).map(lambda found: urlencode(found, errors="replace"))
    | st.text("abc=&%;+#?/\\0", max_size=20).map(lambda text: quote(text, safe="=&%;+/"))
)
AUDIO = (
    st.binary(max_size=2_000)
    | st.integers(0, 200_000).map(lambda start: SPEECH[start : start + 20_000])
    | st.builds(lambda stream, end: stream[:end], st.sampled_from(STREAMS), st.integers(0, 20_000))
    | st.sampled_from([SPEECH[:LONGEST_FRAME], bytes(LONGEST_FRAME + 1)])
).map(Bytes)
SLOTS = st.integers(0, 2)
SPEAK = st.tuples(st.just("audio"), SLOTS, AUDIO)
STEPS = st.one_of(
    st.tuples(st.just("open"), SLOTS, QUERIES),
    SPEAK,
    SPEAK,
    st.tuples(st.just("text"), SLOTS, TEXTS),
    st.tuples(st.just("drop"), SLOTS, st.sampled_from([None, 1000, 1001, 3000, 4999])),
    st.tuples(
        st.just("resume"),
        SLOTS,
        st.fixed_dictionaries(
            {
                "which": st.integers(-1, 5),
                "secret": st.sampled_from(["right", "right", "right", "wrong", "\ud800", ""]),
                "last_seq": st.just(-1) | st.integers(-2, 6) | JSON_VALUES,
                "sent": st.just(2**40) | st.integers(0, 40_000) | JSON_VALUES,
            }
        ),
    ),
    st.tuples(st.just("view"), SLOTS, st.integers(-1, 3)),
    st.tuples(st.just("wait"), SLOTS, st.sampled_from([0.0, 0.02])),
)


class Talk:
    """One connection whose every frame is checked against the protocol."""

    def __init__(self, stream: ClientConnection, hellos: list[dict[str, Any]]) -> None:
        self.stream = stream
        self.dropped = False
        self.too_long = False
        self._hellos = hellos
        self._refusal: dict[str, Any] | None = None
        self._seq = -1
        self.reading = asyncio.create_task(self._read())

    async def say(self, frame: bytes | str) -> None:
        self.too_long = self.too_long or len(frame) > LONGEST_FRAME
        with suppress(ConnectionClosed):
            await self.stream.send(frame)

    async def drop(self, code: int | None) -> None:
        self.dropped = True
        if code is None:
            self.stream.transport.abort()
        else:
            await self.stream.close(code)
        await self.reading
        await self.stream.wait_closed()

    async def end(self) -> None:
        """Have the server close it, by what it has to refuse."""
        await self.say("no more")
        async with asyncio.timeout(15):
            await self.reading
            await self.stream.wait_closed()

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                self._check(await self.stream.recv(decode=True))
        if self.dropped:
            return
        code = self.stream.close_code
        if self._refusal is None:
            # Of a frame that is too long, the rest may cut the line before the reason is read.
            assert code in ((1000, 1006, 1009) if self.too_long else (1000,)), code
        else:
            assert code == CLOSE_CODES[self._refusal["code"]], (code, self._refusal)

    def _check(self, text: str) -> None:
        assert self._refusal is None, "a refusal is the last frame"
        frame = json.loads(text)
        assert event_from_json(text) if "seq" in frame else frame["type"] in REPLIES, frame
        if frame["type"] == "session":
            self._hellos.append(frame)
        if frame["type"] == "error":
            self._refusal = frame
            assert set(frame) <= {"type", "code", "message", "retry_after_s"}
            assert frame["code"] in CLOSE_CODES
            assert frame["message"]
            assert "\n" not in frame["message"]
        if "seq" in frame:
            assert frame["seq"] > self._seq
            self._seq = frame["seq"]


async def conversation(server: Served, steps: list[tuple[str, int, Any]]) -> None:
    """Take the steps one after the other, over up to three connections."""
    talks: dict[int, Talk] = {}
    hellos: list[dict[str, Any]] = []
    statuses: list[int] = []

    async def begin(slot: int, address: str) -> None:
        if slot in talks:
            await talks.pop(slot).drop(None)
        try:
            stream = await connect(address, max_size=None, ping_interval=None, compression=None)
        except InvalidStatus as refused:
            statuses.append(refused.response.status_code)
        else:
            talks[slot] = Talk(stream, hellos)

    def hello(which: int) -> dict[str, Any]:
        unknown = {"session": "nobody", "secret": "none"}
        return hellos[which % len(hellos)] if hellos and which >= 0 else unknown

    for what, slot, how in steps:
        if what == "open":
            await begin(slot, f"{server.stream}?{how}")
        elif what == "view":
            await look(server, hello(how)["session"])
        elif what == "resume":
            session = hello(how["which"])
            await begin(slot, f"{server.stream}?session={session['session']}")
            secret = session["secret"] if how["secret"] == "right" else how["secret"]
            message = {"type": "resume", **how, "secret": secret}
            await talks[slot].say(json.dumps(message))
        elif what == "wait":
            await asyncio.sleep(how)
        elif slot in talks and what == "drop":
            await talks.pop(slot).drop(how)
        elif slot in talks:
            await talks[slot].say(how)
    for talk in talks.values():
        await talk.end()
    assert set(statuses) <= {400, 401, 403, 404, 503}


async def look(server: Served, session: str) -> None:
    """Be a viewer for a moment, and say what viewers do not say."""
    address = f"{server.stream.removesuffix('v1/stream')}view/{session}/ws"
    async with connect(address, ping_interval=None, close_timeout=1) as stream:
        with suppress(ConnectionClosed):
            await stream.send("hello" * 300)
            while True:
                assert isinstance(json.loads(await stream.recv()), dict)
    assert stream.close_code in (1000, 1008, 1009), stream.close_code


def test_no_conversation_does_harm(server: Served) -> None:
    said = [SPEECH[at : at + LONGEST_FRAME] for at in range(0, 4 * LONGEST_FRAME, LONGEST_FRAME)]
    begun = [("open", 0, ""), *(("audio", 0, frame) for frame in said)]

    @settings(BOUNDED, max_examples=100)
    @given(st.lists(STEPS, min_size=4, max_size=16))
    def talk(steps: list[tuple[str, int, Any]]) -> None:
        asyncio.run(conversation(server, begun + steps))

    with unharmed(server):
        talk()


# -- requests -------------------------------------------------------------------------------------

PATHS = (
    "/",
    "/v1/stream",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/models",
    "/v1/models/none",
    "/inference",
    "/view/nobody",
    "/view/nobody/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/../../etc/passwd",
    "//",
)
PATHS_OF_FILES = ("/v1/audio/transcriptions", "/v1/audio/translations", "/inference")
TOKENS = st.text("abcdefXYZ-_!", min_size=1, max_size=10)
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
FIELD_NAMES = (
    *("model", "language", "prompt", "response_format", "stream", "hotwords", "temperature"),
    *("timestamp_granularities[]", "translate", "detect_language", "offset_t", "file"),
)
FORM_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "response_format": st.sampled_from(["json", "text", "srt", "vtt", "verbose_json"]),
        "stream": st.sampled_from(["true", "false"]),
        "language": st.sampled_from(["en", "english", "auto", "de"]),
    },
) | st.dictionaries(
    st.sampled_from(FIELD_NAMES) | st.text(max_size=6),
    st.sampled_from(["json", "verbose_json", "true", "en", "auto", "word"]) | st.text(max_size=20),
    max_size=4,
)
SIZES = st.integers(0, 9_000)
FILES = (
    st.just(WAV)
    | st.just(WAV)
    | st.binary(max_size=200)
    | st.builds(
        lambda data, end: data[:end], st.sampled_from([WAV, *STREAMS]), st.integers(0, 9_000)
    )
    | st.just(bytes(250_000))
)


@st.composite
def forms(draw: st.DrawFn) -> tuple[dict[str, str], bytes]:
    """A form with a file, whole or damaged."""
    fields = [(n, v.encode(errors="replace")) for n, v in draw(FORM_FIELDS).items()]
    fields.insert(draw(st.integers(0, len(fields))), ("file", draw(FILES)))
    body = b"".join(
        f'--cut\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n'.encode(errors="replace")
        + value
        + b"\r\n"
        for name, value in fields
    )
    body += b"--cut--\r\n"
    kind = draw(st.sampled_from(["cut", "cut", "cut", "cut", "cut", "cut", "other", ""]))
    if draw(st.integers(0, 4)) == 4:
        place = draw(st.integers(0, len(body)))
        body = (
            body[:place] + draw(st.binary(max_size=20)) + body[place + draw(st.integers(0, 40)) :]
        )
    return {"content-type": f"multipart/form-data; boundary={kind}"}, Bytes(body)


NO_HEADERS: dict[str, str] = {}
BODIES = (
    st.just((NO_HEADERS, b"")) | forms() | st.tuples(st.just(NO_HEADERS), st.binary(max_size=500))
)
METHODS = st.sampled_from(["GET", "POST", "POST", "POST", "HEAD", "OPTIONS", "DELETE"]) | TOKENS
REQUESTS = st.tuples(
    METHODS,
    st.sampled_from(PATHS) | st.text(max_size=10).map(lambda text: "/" + quote(text)),
    QUERIES,
    st.dictionaries(
        st.sampled_from(["accept", "origin", "range", "expect", "upgrade", "cookie"]) | TOKENS,
        HEADER_VALUES,
        max_size=3,
    ),
    BODIES,
    st.sampled_from(["whole", "whole", "whole", "chunked", "short", "gone"]),
)


UPLOADS = st.tuples(
    st.just("POST"),
    st.sampled_from(PATHS_OF_FILES),
    st.just(""),
    st.just({}),
    forms(),
    st.sampled_from(["whole", "whole", "chunked", "short", "gone"]),
)


@pytest.mark.parametrize("kind", [REQUESTS, UPLOADS], ids=["any", "uploads"])
def test_no_request_does_harm(server: Served, kind: st.SearchStrategy[Any]) -> None:
    @settings(BOUNDED, max_examples=120)
    @given(st.lists(kind, min_size=1, max_size=3))
    def ask(requests: list[Any]) -> None:
        async def check() -> None:
            async with asyncio.timeout(30):
                async with asyncio.TaskGroup() as tasks:
                    for each in requests:
                        tasks.create_task(request(server, *each))

        asyncio.run(check())

    with unharmed(server):
        ask()


async def request(
    server: Served,
    method: str,
    path: str,
    query: str,
    headers: dict[str, str],
    form: tuple[dict[str, str], bytes],
    how: str,
) -> None:
    """Send one request and check what is answered."""
    described, body = form
    fields = {"host": f"127.0.0.1:{server.port}", "connection": "close", **headers, **described}
    if how == "chunked":
        fields["transfer-encoding"] = "chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    else:
        fields["content-length"] = str(len(body) + (how == "short"))
    lines = [f"{method} {path}?{query} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    answer = await exchange(server, head + body, wait=how in ("whole", "chunked"))
    if how in ("short", "gone"):
        return
    reads = method == "POST" and path in PATHS_OF_FILES and not headers
    if not (answer or reads) and len(body) > 60_000:
        return  # what is not read of a body resets the connection
    found = re.match(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(.*?)\r\n\r\n(.*)", answer, re.S)
    assert found, answer[:200]
    code, said = int(found[1]), found[3]
    assert code < 500 or code == 503, answer[:500]
    if code >= 400 and b"application/json" in found[2] and method != "HEAD":
        error = json.loads(said).get("error")
        if error is not None:
            assert all(isinstance(error[name], str) for name in ("message", "type", "code"))


async def exchange(server: Served, data: bytes, *, wait: bool) -> bytes:
    """Send bytes; what comes back until the server closes, if that is waited for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(data)
        await writer.drain()
        return await reader.read() if wait else b""
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


# -- bytes ----------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
FRAMES = st.builds(
    lambda first, second, rest: bytes([first, second]) + rest,
    st.sampled_from([0x81, 0x82, 0x01, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0xF2, 0x83, 0x08]),
    st.sampled_from([0x80, 0x84, 0x04, 0xFE, 0xFF, 0x7F]),
    st.binary(max_size=20),
)
BYTES = (
    st.binary(max_size=300)
    | st.lists(FRAMES, min_size=1, max_size=4).map(lambda frames: HANDSHAKE + b"".join(frames))
    | st.builds(
        lambda end, rest: HANDSHAKE[:end] + rest, st.integers(0, 200), st.binary(max_size=50)
    )
    | st.just(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
).map(Bytes)


def test_no_bytes_do_harm(server: Served) -> None:
    @settings(BOUNDED, max_examples=150)
    @given(st.lists(BYTES, min_size=1, max_size=4))
    def send(pieces: list[bytes]) -> None:
        async def check() -> None:
            async with asyncio.TaskGroup() as tasks:
                for piece in pieces:
                    tasks.create_task(one(piece))

        async def one(piece: bytes) -> None:
            with suppress(TimeoutError):  # it waits for the rest, which is its right
                async with asyncio.timeout(0.05):
                    await exchange(server, piece, wait=True)

        asyncio.run(check())

    with unharmed(server):
        send()


def test_it_ends_as_it_should_after_all_that(server: Served) -> None:
    assert server.stop() == 128 + 15
