from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_server import Frames, SmallServer, eventually, frame, small_server, upgrade
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from test_server_tls import make_certificate
from websockets.sync.client import connect

from streaming.app.server.connections import HttpConnection, WebSocketConnection
from streaming.app.server.door import Door
from streaming.app.server.limits import Limits
from streaming.app.server.tls import tls_context

TEXT, BINARY, CONT, CLOSE, PING = 1, 2, 0, 8, 9
UVICORN_ENDS = "Cancel "
"""What it says of requests that it does not wait for, in the log that all servers here share."""
MOST = 2_000
"""Bytes of a message in these tests."""
IMPATIENT = Limits(request_s=0.9, max_frame_bytes=MOST)
PATIENT = Limits(max_frame_bytes=MOST)


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def early(request: Request) -> Response:
    return PlainTextResponse("no", 413)


async def size(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def later(request: Request) -> Response:
    """Reads the body when others would have lost patience."""
    await asyncio.sleep(1.5 * IMPATIENT.request_s)
    return await size(request)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is not None:
            await websocket.send_text(message["text"])
        else:
            await websocket.send_bytes(message["bytes"])


async def deaf(websocket: WebSocket) -> None:
    """Takes nothing, for as long as the address says."""
    await websocket.accept()
    await asyncio.sleep(float(websocket.query_params["s"]))
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await websocket.receive_bytes()


async def late(websocket: WebSocket) -> None:
    await asyncio.sleep(0.2)
    await websocket.accept()
    await websocket.send_text("here")
    await websocket.receive_text()


async def chatty(websocket: WebSocket) -> None:
    """Sends without end, and finds out on its own that nobody is there."""
    await websocket.accept()
    while True:
        await websocket.send_text("x" * 1_000)
        await asyncio.sleep(0)


async def farewell(websocket: WebSocket) -> None:
    """Says more than the buffers hold, and leaves."""
    await websocket.accept()
    await websocket.send_text("x" * 8_000_000)
    await websocket.close()


async def leaver(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


FULL = threading.Event()


async def filler(websocket: WebSocket) -> None:
    """Sends until somebody says that it is enough."""
    await websocket.accept()
    while not FULL.is_set():
        await websocket.send_text("x" * 1_000)
        await asyncio.sleep(0.001)
    await websocket.receive()


APP = Starlette(
    routes=[
        Route("/", hello),
        Route("/early", early, methods=["POST"]),
        Route("/size", size, methods=["POST"]),
        Route("/later", later, methods=["POST"]),
        *(
            WebSocketRoute(f"/{name}", endpoint)
            for name, endpoint in (
                ("ws", echo),
                ("deaf", deaf),
                ("late", late),
                ("chatty", chatty),
                ("farewell", farewell),
                ("leaver", leaver),
                ("filler", filler),
            )
        ),
    ]
)


@pytest.fixture(scope="module")
def server() -> Iterator[SmallServer]:
    """One that has time, and must have nothing to tell in the end."""
    with small_server(APP, PATIENT) as server:
        yield server
    assert [line for line in server.logged if not line.startswith(UVICORN_ENDS)] == []


@pytest.fixture(scope="module")
def impatient() -> Iterator[SmallServer]:
    with small_server(APP, IMPATIENT, stall_s=0.3, close_s=0.3) as server:
        yield server
    assert [line for line in server.logged if not line.startswith(UVICORN_ENDS)] == []


def is_closed_within(raw: socket.socket, within_s: float) -> bool:
    raw.settimeout(within_s)
    try:
        while raw.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def heard_from(raw: socket.socket, until: bytes) -> bytes:
    heard = b""
    while not heard.endswith(until):
        piece = raw.recv(65_536)
        assert piece, f"closed after {heard!r}"
        heard += piece
    return heard


# -- how many ---------------------------------------------------------------------------------


def test_more_connections_than_there_may_be_are_closed_and_told_of_once() -> None:
    with small_server(APP, Limits(max_connections=3)) as server:
        kept = [server.open() for _ in range(3)]
        eventually(lambda: len(server.door) == 3)
        for _ in range(5):
            with server.connect() as raw:
                assert is_closed_within(raw, 5)
        kept[0].raw.sendall(frame(TEXT, b"still here"))
        assert kept[0].next() == (TEXT, b"still here")
        kept[1].raw.close()
        eventually(lambda: len(server.door) == 2)
        assert httpx.get(f"http://127.0.0.1:{server.port}/").text == "hello"
        for each in kept:
            each.raw.close()
        assert server.door.turned_away == 5
    assert len(server.logged) == 1
    assert "--max-connections" in server.logged[0]


def test_a_websocket_counts_as_one_connection_from_begin_to_end(server: SmallServer) -> None:
    eventually(lambda: len(server.door) == 0)
    with server.open():
        assert len(server.door) == 1
    eventually(lambda: len(server.door) == 0)


# -- how long ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: loc"], ids=["nothing", "half"])
def test_a_connection_that_sends_no_whole_head_is_closed(
    impatient: SmallServer, said: bytes
) -> None:
    with impatient.connect(said) as raw:
        assert is_closed_within(raw, 2)


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_head_that_comes_byte_by_byte_is_not_waited_for(
    impatient: SmallServer, before: bytes
) -> None:
    with impatient.connect(before) as raw:
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for byte in upgrade() * 2:
                raw.sendall(bytes([byte]))
                time.sleep(0.03)
            pytest.fail("it was let in")
        assert time.monotonic() - began < 3


def test_a_body_that_stops_is_not_waited_for(impatient: SmallServer) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    with impatient.connect(head + b"12345") as raw:
        assert is_closed_within(raw, 3)


def test_a_body_that_is_slow_but_moves_is_waited_for(impatient: SmallServer) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    with impatient.connect(head) as raw:
        for _ in range(10):
            time.sleep(IMPATIENT.request_s / 5)
            raw.sendall(b"x")
        assert heard_from(raw, b"\r\n\r\n10")


def test_a_body_that_was_refused_is_not_read_for_ever(impatient: SmallServer) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with impatient.connect(head) as raw:
        assert b" 413 " in raw.recv(65_536)
        with pytest.raises(ConnectionError):  # noqa: PT012 - which one, depends on the timing
            for _ in range(100):
                raw.sendall(b"x")
                time.sleep(0.03)


def test_whoever_waits_for_leave_to_send_a_body_is_not_cut_off(impatient: SmallServer) -> None:
    head = b"POST /later HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with impatient.connect(head) as raw:
        assert raw.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"ok")
        assert heard_from(raw, b"\r\n\r\n2")


@pytest.mark.parametrize("path", ["/chatty", "/farewell"])
def test_a_peer_that_takes_nothing_is_cut_off(impatient: SmallServer, path: str) -> None:
    eventually(lambda: len(impatient.door) == 0)
    with impatient.open(path, receive_buffer=4_096):
        assert len(impatient.door) == 1
        eventually(lambda: len(impatient.door) == 0, 5)


def test_a_peer_that_vanished_is_pinged_and_dropped() -> None:
    with (
        small_server(APP, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server,
        server.open() as frames,
    ):
        assert frames.next()[0] == PING
        assert frames.close_code() == 1011
        assert is_closed_within(frames.raw, 2)
    assert server.logged == []


def test_a_peer_whose_pong_stands_behind_its_audio_is_kept() -> None:
    with (
        small_server(APP, ws_ping_interval=0.1, ws_ping_timeout=0.1) as server,
        server.open("/deaf?s=0.8") as frames,
    ):
        frames.raw.sendall(frame(BINARY, bytes(1_000)) * 100)
        time.sleep(0.6)
        assert len(server.door) == 1
        assert frames.next()[0] == PING
        assert frames.close_code() == 1011  # all was read, and it says nothing any more
    assert server.logged == []


def test_a_peer_that_talks_and_never_answers_a_ping_is_kept() -> None:
    with (
        small_server(APP, ws_ping_interval=0.1, ws_ping_timeout=0.2) as server,
        server.open() as frames,
    ):
        for _ in range(20):
            frames.raw.sendall(frame(TEXT, b"x"))
            time.sleep(0.05)
        assert len(server.door) == 1
    assert server.logged == []


# -- how much ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        frame(BINARY, bytes(MOST + 1)),
        frame(BINARY, bytes(MOST), fin=False) + frame(CONT, b"x"),
        frame(TEXT, b"x" * 999, fin=False) + frame(CONT, b"x" * 999, fin=False) * 3,
        b"\x82\xff" + b"\x7f" * 8,
    ],
    ids=["one", "two", "many", "exbibytes"],
)
def test_a_message_that_is_too_long_closes_with_1009(server: SmallServer, said: bytes) -> None:
    with server.open() as frames:
        frames.raw.sendall(said)
        assert frames.close_code() == 1009


def test_a_message_of_the_greatest_size_arrives(server: SmallServer) -> None:
    with server.open() as frames:
        pieces = frame(BINARY, bytes(MOST - 10), fin=False) + frame(CONT, bytes(10))
        frames.raw.sendall(pieces)
        assert frames.next() == (BINARY, bytes(MOST))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_flood_of_small_frames_is_taken_in_sips(tmp_path: Path, secure: bool) -> None:
    options: dict[str, Any] = {}
    if secure:
        context = tls_context(*make_certificate(tmp_path))
        options["ssl_context_factory"] = lambda *_: context
    with small_server(APP, close_s=0.5, **options) as server:
        raw = server.connect()
        if secure:
            client = ssl.create_default_context()
            client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
            raw = client.wrap_socket(raw)
        with Frames(raw) as frames:
            raw.sendall(upgrade("/deaf?s=1"))
            assert frames.head()
            raw.sendall(frame(BINARY) * 15_000)
            (connection,) = server.door._waits
            assert isinstance(connection, WebSocketConnection)
            eventually(lambda: not connection.queue.empty(), 0.8)
            time.sleep(0.05)
            assert connection.queue.qsize() <= 8_192 / 6 + 1
    assert server.logged == []


def test_pings_of_a_peer_that_takes_no_pongs_do_not_pile_up() -> None:
    with small_server(APP, PATIENT) as server, server.open(receive_buffer=4_096) as frames:
        (connection,) = server.door._waits
        assert isinstance(connection, WebSocketConnection)
        flooding = threading.Thread(target=flood, args=(frames.raw,))
        flooding.start()
        eventually(lambda: connection.transport.get_write_buffer_size() > 16_384, 30)
        time.sleep(0.3)
        assert connection.transport.get_write_buffer_size() < 200_000
        assert flooding.is_alive(), "it reads on"
        frames.raw.shutdown(socket.SHUT_RDWR)
        flooding.join()
    assert server.logged == []


def flood(raw: socket.socket) -> None:
    pings = frame(PING, b"x" * 125) * 1_000
    with contextlib.suppress(OSError):
        while True:
            raw.sendall(pings)


def test_the_system_is_told_to_hold_little_and_to_notice_who_has_vanished() -> None:
    with small_server(APP) as server, server.connect():
        eventually(lambda: len(server.door) == 1)
        (connection,) = server.door._waits
        assert isinstance(connection, HttpConnection)
        raw = connection.transport.get_extra_info("socket")
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 65_536
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_pings_after_the_close_are_not_answered(impatient: SmallServer) -> None:
    with impatient.open("/leaver") as frames:
        assert frames.close_code() == 1000
        frames.raw.sendall(frame(PING, b"x"))
        with pytest.raises(ConnectionError):
            frames.next()


def test_messages_are_not_compressed(server: SmallServer) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/ws") as websocket:  # offers it
        assert websocket.protocol.extensions == []
        websocket.send("x")
        assert websocket.recv() == "x"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.binary(max_size=50), min_size=1, max_size=6), max_size=8))
def test_messages_arrive_whole_and_in_order_however_they_are_cut(
    server: SmallServer, messages: list[list[bytes]]
) -> None:
    with server.open() as frames:
        for pieces in messages:
            for index, piece in enumerate(pieces):
                last = index == len(pieces) - 1
                frames.raw.sendall(frame(CONT if index else BINARY, piece, fin=last))
        for pieces in messages:
            assert frames.next() == (BINARY, b"".join(pieces))


# -- what breaks the rules --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"\x83\x80" + bytes(4), 1002),
        (frame(TEXT, b"x", masked=False), 1002),
        (b"\xf1\x80" + bytes(4), 1002),
        (frame(CONT, b"x"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(CLOSE, b"\x03\xed"), 1002),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONT, b"\x28"), 1007),
        (frame(TEXT, b"\xff") + frame(CLOSE, b"\x03\xe8"), 1000),
        (frame(TEXT, b"\xff") + frame(TEXT, b"\xff"), 1007),
    ],
    ids=[
        "opcode",
        "unmasked",
        "reserved",
        "nothing to continue",
        "not continued",
        "piece of a ping",
        "half a code",
        "code 1005",
        "reason",
        "text",
        "text in pieces",
        "text and close",
        "twice",
    ],
)
def test_frames_against_the_protocol_close_with_their_code(
    server: SmallServer, said: bytes, code: int
) -> None:
    with server.open() as frames:
        frames.raw.sendall(said)
        assert frames.close_code() == code
        assert is_closed_within(frames.raw, 2)


def test_what_was_whole_before_garbage_arrives(server: SmallServer) -> None:
    with server.open() as frames:
        frames.raw.sendall(frame(TEXT, b"whole") + b"\x83\x80" + bytes(4))
        assert frames.close_code() == 1002
    # The application hears of it first; that it answers to a closed door is no fault.


def test_garbage_while_the_application_is_sending_is_no_fault_of_it(server: SmallServer) -> None:
    with server.open("/chatty") as frames:
        frames.raw.sendall(b"\x83\x80" + bytes(4))
        assert frames.close_code() == 1002


@pytest.mark.parametrize("said", [b"\x83\x80" + bytes(4), frame(CLOSE, b"\x03\xe8")])
def test_what_comes_before_the_websocket_is_open_waits(server: SmallServer, said: bytes) -> None:
    with Frames(server.connect(upgrade("/late"))) as frames:
        time.sleep(0.05)
        frames.raw.sendall(said)
        assert b" 101 " in frames.head()
        assert frames.next() == (TEXT, b"here")
        assert frames.close_code() in (1000, 1002)


@pytest.mark.parametrize("wait_s", [0, 0.05, 0.25])
def test_leaving_at_any_time_is_no_fault(server: SmallServer, wait_s: float) -> None:
    for path in ("/late", "/chatty", "/ws", "/deaf?s=0", "/nowhere"):
        raw = server.connect(upgrade(path))
        time.sleep(wait_s)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset
        raw.close()
    eventually(lambda: len(server.door) == 0)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (upgrade() + frame(TEXT, b"too early"), b" 400 "),
        (upgrade("/ws", "Content-Length: 5"), b""),
        (upgrade("/ws", "Transfer-Encoding: chunked"), b""),
        (upgrade("/" + "x" * 9_000), b" 414 "),
        (upgrade("/ws", "X: " + "x" * 9_000), b" 431 "),
        (upgrade("/ws", *["X: x"] * 200), b" 431 "),
        (upgrade("/ws", "X: " + "x" * 40_000), b" 400 "),
        (upgrade("/ws", "Sec-WebSocket-Version: 12"), b" 400 "),
        (upgrade("/ws", "Origin: a", "Origin: b"), b" 400 "),
        (upgrade().replace(b"dGhl", b"\xff\xfe"), b" 400 "),
        (upgrade().replace(b"GET", b"POST"), b" 405 "),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", b" 40"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 40"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b" 400 "),
    ],
)
def test_a_request_that_is_none_is_answered_or_closed_at_once(
    server: SmallServer, said: bytes, status: bytes
) -> None:
    with server.connect(said) as raw:
        raw.settimeout(3)
        heard = b""
        with contextlib.suppress(ConnectionError):
            while piece := raw.recv(65_536):
                heard += piece
                if b" 40" in heard:  # may be kept for the next request
                    break
        assert status in heard


def test_an_offer_of_another_protocol_is_not_taken_up(server: SmallServer) -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with server.connect(head) as raw:
        assert raw.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", [b"/early", b"/size"])
@pytest.mark.parametrize("chunk", [b"zz\r\n", b"5\r\nhelloX", b"-1\r\n"])
def test_a_body_that_goes_wrong_is_no_fault(server: SmallServer, path: bytes, chunk: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect(head + b"2\r\nab\r\n") as raw:
        time.sleep(0.05)
        raw.sendall(chunk)
        assert is_closed_within(raw, 3)


def test_a_client_that_leaves_within_its_upload_is_no_fault(server: SmallServer) -> None:
    head = b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
    server.connect(head + b"x").close()
    eventually(lambda: len(server.door) == 0)


def test_requests_in_one_go_are_answered_one_by_one(server: SmallServer) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = request.replace(b"Host", b"Connection: close\r\nHost")
    with server.connect(request * 5 + last) as raw:
        heard = b""
        while piece := raw.recv(65_536):
            heard += piece
    assert heard.count(b"hello") == 6


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_are_a_fault(server: SmallServer, garbage: bytes, opened: bool) -> None:
    raw = server.connect(upgrade() if opened else b"")
    with contextlib.suppress(ConnectionError):
        if opened:
            Frames(raw).head()
        raw.sendall(garbage)
        raw.shutdown(socket.SHUT_WR)
        assert is_closed_within(raw, 5)
    raw.close()
    assert server.logged == []


# -- the end ----------------------------------------------------------------------------------


def test_the_server_ends_whatever_its_connections_are_at() -> None:
    with contextlib.ExitStack() as kept, small_server(APP, timeout_graceful_shutdown=1) as server:
        for said in (b"", b"GET /", upgrade("/late"), upgrade("/ws"), upgrade("/chatty")):
            kept.enter_context(server.connect(said))
        kept.enter_context(server.connect(upgrade("/ws"))).sendall(frame(CLOSE, b"\x03\xe8"))
        head = b"POST /size HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
        kept.enter_context(server.connect(head))
        time.sleep(0.1)
    assert [line for line in server.logged if not line.startswith(UVICORN_ENDS)] == []


def test_the_server_ends_while_a_connection_closes() -> None:
    FULL.clear()
    with contextlib.ExitStack() as kept, small_server(APP, close_s=1) as server:
        frames = kept.enter_context(server.open("/filler", receive_buffer=4_096))
        (connection,) = server.door._waits
        assert isinstance(connection, WebSocketConnection)
        eventually(lambda: connection.transport.get_write_buffer_size() > 5_000)
        FULL.set()
        frames.raw.sendall(frame(CLOSE, b"\x03\xe8"))
        eventually(connection.transport.is_closing)
        assert len(server.door) == 1, "it has more to read"
    assert server.logged == []


def test_a_door_without_connections_does_not_look() -> None:
    async def run() -> int:
        loop = asyncio.get_running_loop()
        Door(PATIENT)
        await asyncio.sleep(0)
        return len(loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(run()) == 0
