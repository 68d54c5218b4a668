from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from audio_files import cuts
from encoded_audio import encode, tone
from fakes import HangingBackend, ScriptedBackend, worker_for
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message
from upload_server import (
    TALK,
    UploadServer,
    eventually,
    make_service,
    serve,
    temporary_files,
    wav,
)

from streaming.app.server import openai_api
from streaming.app.server.forms import Form, received_form
from streaming.app.server.limits import Limits
from streaming.app.server.refusal import Refusal
from streaming.app.server.tokens import Tokens
from streaming.app.server.uploads import Uploads

PATH = "v1/audio/transcriptions"
EDGE = "x7edge"


def part(name: str | None, data: bytes, filename: str | None = None) -> bytes:
    disposition = "form-data" if name is None else f'form-data; name="{name}"'
    disposition += "" if filename is None else f'; filename="{filename}"'
    return f"--{EDGE}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{EDGE}--\r\n".encode()


def head(length: int | None, *, path: str = PATH) -> bytes:
    """The beginning of a request, as a client writes it to its socket."""
    body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{body}\r\n"
        f"Content-Type: multipart/form-data; boundary={EDGE}\r\n\r\n"
    ).encode()


def post(server: UploadServer, body: bytes, **headers: str) -> httpx.Response:
    kind = {"Content-Type": f"multipart/form-data; boundary={EDGE}"}
    return httpx.post(f"{server.url}{PATH}", content=body, headers=kind | headers, timeout=20)


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Status and code; the message is one line for people."""
    error = answer.json()["error"]
    assert error["message"].isprintable()
    return answer.status_code, error["code"]


@contextlib.contextmanager
def connected(server: UploadServer) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        yield client


def answer_on(client: socket.socket) -> tuple[int, dict[str, Any]]:
    """Read a response to its end."""
    data = b""
    while piece := client.recv(65536):
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def reset(client: socket.socket) -> None:
    """Go away as a process that is killed does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


async def receive_all(
    pieces: Iterable[bytes], limits: Limits | None = None, every_s: float = 0.0
) -> tuple[Form, bytes]:
    """Receive a form that comes in these pieces."""
    left = [*pieces]

    async def receive() -> Message:
        await asyncio.sleep(every_s)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    kind = f"multipart/form-data; boundary={EDGE}".encode()
    scope = {"type": "http", "headers": [(b"content-type", kind)]}
    async with received_form(scope, receive, limits or Limits()) as received:
        received.file.seek(0)
        return received, received.file.read()


# -- forms ----------------------------------------------------------------------------------


@settings(deadline=None)  # it waits for a thread
@given(
    data=st.binary(max_size=300) | st.sampled_from([b"\r\n--x7", b"\r\n--x7edg\r\n", b"--\r\n\r"]),
    places=cuts(800),
)
def test_a_form_is_the_same_however_it_is_cut(data: bytes, places: list[int]) -> None:
    body = form(
        part("model", b"any"), part("file", data, "a.wav"), part("k[]", b"a"), part("k", b" b ")
    )
    edges = [0, *sorted(min(place, len(body)) for place in places), len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges)]
    received, file = asyncio.run(receive_all(pieces))
    assert file == data
    assert received.get("model") == "any"
    assert received.all("k") == ["b", "a"]
    assert received.get("language") is None


def test_a_large_file_arrives_whole() -> None:
    data = bytes(range(256)) * 8192
    body = form(part("file", data), part("prompt", "Größe".encode()))
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    received, file = asyncio.run(receive_all(pieces))
    assert file == data
    assert received.get("prompt") == "Größe"


FILE = part("file", b"x", "a.wav")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (form(part("model", b"any")), "no part 'file'"),
        (form(FILE, FILE), "more than one part 'file'"),
        (FILE, "breaks off"),
        (b"", "breaks off"),
        (b"nothing of the kind", "not valid"),
        (b"\x00\xff" * 5000, "not valid"),
        (form(part(None, b"x"), FILE), "has no name"),
        (form(*[part("a", b"x")] * 64, FILE), "at most 64 parts"),
        (form(part("prompt", b"x" * 20_000), FILE), "longer than 16384 bytes"),
        (form(b"--" + EDGE.encode() + b"\r\n" + b"A: " + b"b" * 9000 + b"\r\n\r\n"), "not valid"),
    ],
)
def test_a_form_that_is_none_is_refused(body: bytes, word: str) -> None:
    with pytest.raises(Refusal, match=word) as error:
        asyncio.run(receive_all([body]))
    assert error.value.code == "bad_request"
    assert error.value.status == 400


def test_who_sends_a_byte_at_a_time_is_not_waited_for() -> None:
    body = form(part("file", b"x" * 1000))
    limits = Limits(request_s=0.1)
    with pytest.raises(Refusal, match="too slowly") as error:
        asyncio.run(receive_all([body[at : at + 1] for at in range(len(body))], limits, 0.01))
    assert error.value.status == 408


def test_who_sends_slower_than_any_line_is_not_waited_for() -> None:
    body = form(part("file", bytes(20_000)))
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    with pytest.raises(Refusal, match="less than 64 KB a second") as error:
        asyncio.run(receive_all(pieces, Limits(request_s=0.1), 0.01))  # 10 KB/s at most
    assert error.value.code == "too_slow"


_FULL_DISK = """
import asyncio, resource, sys
from streaming.app.server.refusal import Refusal
from test_server_uploads import form, part, receive_all

n_bytes, most = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    asyncio.run(receive_all([form(part("file", bytes(n_bytes)))]))
except Refusal as refusal:
    print(refusal.code, int(refusal.status))
else:
    print("taken")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize(
    ("n_bytes", "most", "said"),
    [
        (4_000, 4_096, "taken"),
        (5_000, 4_096, "no_space 507"),
        (300_000, 299_999, "no_space 507"),
        (300_000, 1_000, "no_space 507"),
    ],
)
def test_a_full_disk_is_told(n_bytes: int, most: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(n_bytes), str(most)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")


# -- the calls ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[UploadServer]:
    limits = Limits(max_upload_bytes=1_000_000, max_upload_s=20)
    with serve(ScriptedBackend(TALK, keep=False), limits=limits) as server:
        yield server


def test_what_is_declared_too_large_is_refused_unread(server: UploadServer) -> None:
    with connected(server) as client:
        client.sendall(head(1_000_001))
        status, body = answer_on(client)
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert "at most 1 MB" in body["error"]["message"]


def test_what_becomes_too_large_is_refused_then(server: UploadServer) -> None:
    def pieces() -> Iterator[bytes]:
        yield part("file", b"")[:-2]
        for _ in range(40):
            yield bytes(50_000)

    answer = httpx.post(
        f"{server.url}{PATH}",
        content=pieces(),
        headers={"Content-Type": f"multipart/form-data; boundary={EDGE}"},
    )
    assert refused(answer) == (413, "too_large")


def test_a_body_that_stalls_is_given_up() -> None:
    with serve(limits=Limits(request_s=0.5)) as server, connected(server) as client:
        client.sendall(head(500_000) + part("file", bytes(1000)))
        status, body = answer_on(client)
    assert (status, body["error"]["code"]) == (408, "too_slow")


def test_no_file_is_taken_before_the_speed_of_the_machine_is_known() -> None:
    with serve() as server:
        server.metrics._ready = False  # as it begins
        answer = post(server, form(part("file", wav())))
        assert refused(answer) == (503, "not_ready")
        assert int(answer.headers["retry-after"]) > 0
        server.metrics.ready()
        assert post(server, form(part("file", wav()))).status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "", "text/plain; a"])
def test_a_body_that_is_no_form_is_refused(server: UploadServer, kind: str) -> None:
    answer = post(server, b"{}", **{"Content-Type": kind})
    assert refused(answer) == (400, "bad_request")
    assert "multipart/form-data" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "the file is empty"),
        (b"garbage" * 1000, "not audio that FFmpeg can read"),
        (wav()[:100_000], "breaks off at 3.1 s"),
        (wav()[:44], "holds no audio"),
    ],
)
def test_a_file_that_is_no_audio_is_refused(server: UploadServer, data: bytes, word: str) -> None:
    answer = post(server, form(part("file", data)))
    assert refused(answer) == (400, "bad_audio")
    assert word in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile {}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{}\n#EXT-X-ENDLIST\n",
    ],
)
def test_no_upload_makes_the_server_read_its_own_files(
    server: UploadServer, jfk: Path, script: str
) -> None:
    answer = post(server, form(part("file", script.format(jfk.resolve()).encode(), "a.m3u8")))
    assert refused(answer) == (400, "bad_audio")


def test_audio_that_is_too_long_is_refused_before_it_is_heard(server: UploadServer) -> None:
    before = len(server.metrics.uploads)
    samples = np.zeros(16_000 * 25, np.int16)
    whole = wav()[:4] + struct.pack("<I", 36 + samples.nbytes) + wav()[8:40]
    whole += struct.pack("<I", samples.nbytes) + samples.tobytes()
    answer = post(server, form(part("file", whole)))
    assert refused(answer) == (413, "too_long")
    assert "at most 20 s" in answer.json()["error"]["message"]
    assert sum(audio_s for audio_s, _ in server.metrics.uploads[before:]) < 1


def test_audio_that_does_not_say_how_long_it_is_is_cut_short(
    server: UploadServer, tmp_path: Path
) -> None:
    path = encode(tmp_path / "long.aac", "aac", tone(40))
    answer = post(server, form(part("file", path.read_bytes())))
    assert refused(answer) == (413, "too_long")


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.webm", "a.flac", "a.mp4"])
def test_a_file_may_be_of_any_common_format(
    server: UploadServer, tmp_path: Path, name: str
) -> None:
    codec = {"mp3": "mp3", "ogg": "libopus", "webm": "libopus", "flac": "flac", "mp4": "aac"}
    path = encode(tmp_path / name, codec[name.partition(".")[2]], TALK.audio(), rate=16_000)
    answer = post(server, form(part("file", path.read_bytes(), name)))
    assert answer.status_code == 200
    assert answer.json()["text"]


# -- many at once ---------------------------------------------------------------------------


def test_only_so_many_are_let_in() -> None:
    uploads = Uploads(Limits(max_uploads=2), workers=4)
    with uploads.let_in():
        with uploads.let_in(), pytest.raises(Refusal, match="busy") as error, uploads.let_in():
            pass
        assert (error.value.code, error.value.status) == ("busy", 503)
        assert error.value.retry_after_s
        with uploads.let_in():
            pass
    assert uploads.running == 0
    with (
        pytest.raises(Refusal, match="takes no files"),
        Uploads(Limits(max_uploads=0), workers=1).let_in(),
    ):
        pass


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (2, 1), (4, 3)])
def test_one_worker_is_left_to_live_sessions(workers: int, at_once: int) -> None:
    async def scenario() -> int:
        turn, n = Uploads(Limits(), workers=workers).turn, 0
        while not turn.locked():
            await turn.acquire()
            n += 1
        return n

    assert asyncio.run(scenario()) == at_once


def test_a_server_that_ends_waits_for_those_that_are_in_and_lets_nobody_else_in() -> None:
    async def scenario() -> None:
        uploads = Uploads(Limits(), workers=1)
        with uploads.let_in():
            await uploads.drain(0.01)
            draining = asyncio.create_task(uploads.drain(10))
            await asyncio.sleep(0.01)
            assert not draining.done()
            with pytest.raises(Refusal, match="server ends"), uploads.let_in():
                pass
        async with asyncio.timeout(10):
            await draining

    asyncio.run(scenario())


def send_in_thread(server: UploadServer, prompt: str) -> threading.Thread:
    n_before = server.running
    body = form(part("file", wav()), part("prompt", prompt.encode()))
    thread = threading.Thread(target=post, args=(server, body))
    thread.start()
    eventually(lambda: server.running == n_before + 1)
    return thread


def test_files_are_heard_one_after_the_other_in_order() -> None:
    backend = HangingBackend(TALK)
    with serve(backend, limits=Limits(max_uploads=3)) as server:
        threads = [send_in_thread(server, prompt) for prompt in "abc"]
        assert backend.entered.wait(5)
        answer = post(server, form(FILE))
        assert refused(answer) == (503, "busy")
        assert int(answer.headers["retry-after"]) > 0
        backend.release.set()
        for thread in threads:
            thread.join(10)
        prompts = "".join(window.prompt for window in backend.windows)
        assert prompts == "aaabbbccc"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_whose_token_is_revoked_gets_no_more_of_what_is_heard_and_others_do(
    tmp_path: Path, stream: str
) -> None:
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text("anna anna-0123456789abcdef\nbert bert-0123456789abcdef\n")
    backend = HangingBackend(TALK)
    with serve(backend, tokens=Tokens(file)) as server:
        answers: dict[str, httpx.Response] = {}
        body = form(part("file", wav()), part("stream", stream.encode()))

        def send(name: str) -> None:
            token = f"Bearer {name}-0123456789abcdef"
            answers[name] = post(server, body, Authorization=token)

        threads = [threading.Thread(target=send, args=(name,)) for name in ("anna", "bert")]
        threads[0].start()
        assert backend.entered.wait(5)
        threads[1].start()
        eventually(lambda: server.running == 2)
        server.service.uploads.end_those_of({"anna"})
        backend.release.set()
        for thread in threads:
            thread.join(10)
    assert refused(answers["anna"]) == (401, "token_revoked")
    assert answers["bert"].is_success
    assert len(backend.windows) < 6  # three of the second, and not all of the first


# -- clients that go away -------------------------------------------------------------------


def test_a_client_that_goes_while_it_sends_leaves_nothing() -> None:
    with serve() as server:
        files = temporary_files()
        with connected(server) as client:
            client.sendall(head(1_000_000) + part("file", bytes(500_000)))
            eventually(lambda: temporary_files() != files)
            assert server.running == 1
            reset(client)
        eventually(lambda: server.running == 0)
        eventually(lambda: temporary_files() == files)


@pytest.mark.parametrize("fields", [b"", part("stream", b"true")])
def test_a_client_that_goes_while_its_file_is_heard_stops_the_work(fields: bytes) -> None:
    backend = HangingBackend(TALK)
    with serve(backend) as server:
        files = temporary_files()
        body = form(part("file", wav()), fields) if fields else form(part("file", wav()))
        with connected(server) as client:
            client.sendall(head(len(body)) + body)
            assert backend.entered.wait(5)
            reset(client)
        eventually(lambda: server.running == 0)
        eventually(lambda: temporary_files() == files)
        assert backend.aborts == 1
        [(audio_s, _)] = server.metrics.uploads
        assert audio_s > 0
        backend.release.set()
        assert post(server, form(part("file", wav()))).status_code == 200


def test_a_client_that_goes_while_it_waits_loses_its_place() -> None:
    backend = HangingBackend(TALK)
    with serve(backend) as server:
        first = send_in_thread(server, "a")
        assert backend.entered.wait(5)
        body = form(part("file", wav()), part("prompt", b"b"))
        with connected(server) as client:
            client.sendall(head(len(body)) + body)
            eventually(lambda: server.running == 2)
            last = send_in_thread(server, "c")
            client.close()
        eventually(lambda: server.running == 2)
        backend.release.set()
        first.join(10)
        last.join(10)
        assert "".join(window.prompt for window in backend.windows) == "aaaccc"


@pytest.mark.parametrize("stream", [b"true", b"false"])
def test_a_client_that_does_not_read_its_answer_is_given_up(stream: bytes) -> None:
    body = form(part("file", wav()), part("stream", stream))

    async def scenario() -> None:
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if not messages:
                await asyncio.Event().wait()
            return messages.pop()

        async def send(message: Message) -> None:
            await asyncio.Event().wait()

        with worker_for(ScriptedBackend(TALK)) as worker:
            service = make_service(worker, Limits(request_s=0.2))
            kind = f"multipart/form-data; boundary={EDGE}".encode()
            scope = {
                "type": "http",
                "method": "POST",
                "path": f"/{PATH}",
                "headers": [(b"content-type", kind)],
            }
            [route, *_] = openai_api.routes(service)
            async with asyncio.timeout(10):
                await route.handle(scope, receive, send)
            assert service.uploads.running == 0
            assert not service.uploads.turn.locked()

    asyncio.run(scenario())


def test_nothing_of_a_hundred_clients_that_come_and_go_is_left() -> None:
    with serve(ScriptedBackend(TALK, keep=False)) as server:
        body = form(part("file", wav()))
        for number in range(100):
            with connected(server) as client:
                client.sendall((head(len(body)) + body)[: number * 3000])
                reset(client)
        eventually(lambda: post(server, body).status_code == 200, within_s=20)
