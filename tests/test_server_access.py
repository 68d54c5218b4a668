from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import string
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import serving
from small_server import SmallServer, small_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from sinks.publisher import is_loopback
from streaming.app.server.access import (
    Access,
    AccessMiddleware,
    refusal_response,
    refuse_websocket,
)
from streaming.app.server.refusal import TRY_LATER, Refusal
from streaming.app.server.tokens import ENVIRONMENT, Tokens, new_token, parse_tokens
from streaming.errors import ConfigurationError

ANNA = "anna-0123456789abcdef"
BERT = "bert-0123456789abcdef"
SITE = "https://captions.example"


# -- the file ---------------------------------------------------------------------------------


def tokens_file(folder: Path, *lines: str) -> Path:
    file = folder / "tokens"
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(0o600)
    return file


def changed(tokens: Tokens) -> set[str]:
    """What was revoked; a file that has changed is looked at twice."""
    assert tokens.refresh() == set()
    return tokens.refresh()


def test_a_token_belongs_to_its_name(tmp_path: Path) -> None:
    made, line = new_token("carla")
    file = tokens_file(tmp_path, "# who", "", f"anna {ANNA}  # a remark", f"bert\t{BERT}", line)
    tokens = Tokens(file)
    assert tokens.required
    found = [tokens.name_of(token) for token in (ANNA, BERT, made, ANNA[:-1], "", "é\udcff")]
    assert found == ["anna", "bert", "carla", None, None, None]


def test_the_digest_of_a_token_does_not_let_in(tmp_path: Path) -> None:
    _, line = new_token("carla")
    tokens = Tokens(tokens_file(tmp_path, line))
    assert tokens.name_of(line.split()[1]) is None
    assert tokens.name_of(line.split(":")[1]) is None


def test_a_token_of_the_environment_does_as_well(tmp_path: Path) -> None:
    both = Tokens(tokens_file(tmp_path, f"anna {ANNA}"), environment={ENVIRONMENT: BERT})
    assert (both.name_of(ANNA), both.name_of(BERT)) == ("anna", "environment")
    with patch.dict(os.environ, {ENVIRONMENT: BERT}):
        assert Tokens.read(None).name_of(BERT) == "environment"
    assert not Tokens(environment={}).required
    for token in ("", "short", "with a space in it....."):
        with pytest.raises(ConfigurationError, match=ENVIRONMENT):
            Tokens(environment={ENVIRONMENT: token})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["anna"], "line 1: a line is NAME TOKEN"),
        (["", f"anna {ANNA} {BERT}"], "line 2: a line is NAME TOKEN"),
        (["anna tooshort"], "at least 16 characters"),
        (["anna sha256:12345678901234567890"], "64 hexadecimal digits"),
        ([f"anna {ANNA}", f"anna {BERT}"], "line 2: the name anna comes twice"),
        ([f"anna {ANNA}", f"bert {ANNA}"], "line 2: bert has the token of another name"),
        ([f"an/na {ANNA}"], "line 1: a name has"),
        (["# nobody"], "holds no token"),
        ([], "holds no token"),
    ],
)
def test_a_file_that_will_not_do_is_told_in_one_line_without_a_token(
    tmp_path: Path, lines: list[str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        Tokens(tokens_file(tmp_path, *lines))
    assert "\n" not in str(error.value)
    assert ANNA not in str(error.value)


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xfd")
    long = tmp_path / "long"
    long.write_bytes(b"#" * (1 << 20) + b"#")
    for file, said in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "UTF-8"),
        (long, "longer"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            Tokens.read(str(file))


@pytest.mark.skipif(os.name != "posix", reason="modes of files are another matter there")
def test_a_file_that_everybody_can_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tokens_file(tmp_path, f"anna {ANNA}")
    Tokens(file)
    assert caplog.messages == []
    file.chmod(0o644)
    Tokens(file)
    assert ["chmod 600" in message for message in caplog.messages] == [True]


def test_taking_out_a_line_revokes_and_adding_one_lets_in(tmp_path: Path) -> None:
    file = tokens_file(tmp_path, f"anna {ANNA}", f"bert {BERT}")
    tokens = Tokens(file)
    assert changed(tokens) == set()
    tokens_file(tmp_path, f"bert {BERT}", "carla carla-0123456789abcdef")
    assert tokens.name_of(ANNA) == "anna", "it may still be being written"
    assert changed(tokens) == {"anna"}
    assert changed(tokens) == set()
    assert tokens.name_of(ANNA) is None
    assert tokens.name_of("carla-0123456789abcdef") == "carla"
    tokens_file(tmp_path)
    assert changed(tokens) == {"bert", "carla"}
    assert tokens.required, "the last one is gone, but the door stays shut"


def test_another_token_for_a_name_revokes_the_first(tmp_path: Path) -> None:
    tokens = Tokens(tokens_file(tmp_path, f"anna {ANNA}"))
    tokens_file(tmp_path, "anna another-0123456789")
    assert changed(tokens) == {"anna"}


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    file = tokens_file(tmp_path, f"anna {ANNA}")
    tokens = Tokens(file)
    before = file.stat()
    (tmp_path / "new").write_text(f"bert {BERT}\n")
    os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert changed(tokens) == {"anna"}


def test_a_file_gone_bad_changes_nothing_and_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tokens_file(tmp_path, f"anna {ANNA}")
    tokens = Tokens(file)
    tokens_file(tmp_path, "anna short-secret")
    file.chmod(0o600)
    for _ in range(4):
        assert tokens.refresh() == set()
    file.unlink()
    for _ in range(4):
        assert tokens.refresh() == set()
    assert tokens.name_of(ANNA) == "anna"
    assert len(caplog.messages) == 1
    assert "the tokens stay as they were" in caplog.messages[0]
    assert "short-secret" not in caplog.text
    tokens_file(tmp_path, f"bert {BERT}")
    assert changed(tokens) == {"anna"}
    if os.name == "posix":
        file.unlink()
        os.mkfifo(file)
        assert changed(tokens) == set()
        assert len(caplog.messages) == 2


_NAMES = st.text(string.ascii_letters + "é0.-_@", min_size=1, max_size=20)
_SECRETS = st.text([chr(c) for c in range(33, 127) if c != 35], min_size=16, max_size=40)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(_NAMES, _SECRETS, max_size=8), st.randoms())
def test_what_is_written_is_what_is_read(entries: dict[str, str], random: Any) -> None:
    if len(set(entries.values())) < len(entries) or any(
        token.startswith("sha256:") for token in entries.values()
    ):
        return
    blanks = ["", "   ", "# comment", "\t# anna x"]
    lines = [f"{name}{random.choice([' ', chr(9), '   '])}{t}" for name, t in entries.items()]
    text = "\n".join(each for line in lines for each in (random.choice(blanks), line))
    tokens = Tokens()
    tokens._digests = parse_tokens(text, "file")
    assert [tokens.name_of(token) for token in entries.values()] == list(entries)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=100))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    said = []
    try:
        parse_tokens(text, "file")
    except ConfigurationError as error:
        said = str(error).splitlines()
    assert len(said) <= 1


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a#b"])
def test_a_token_is_not_made_for_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name has"):
        new_token(name)


# -- the door ---------------------------------------------------------------------------------


async def who(request: Request) -> Response:
    return PlainTextResponse(request.scope["state"]["client"])


async def ws_who(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.scope["state"]["client"])
    await websocket.close()


async def ws_busy(websocket: WebSocket) -> None:
    if "open" in websocket.query_params:
        await websocket.accept()
    text = "later, please: é"
    await refuse_websocket(websocket, Refusal("busy", text, close_code=TRY_LATER, retry_after_s=7))


PATHS = ("/", "/healthz", "/readyz", "/view/abc", "/page/app.js", "/metrics", "/v1/models")
INNER = Starlette(
    routes=[
        *(Route(path, who, methods=["GET", "POST"]) for path in PATHS),
        WebSocketRoute("/v1/stream", ws_who),
        WebSocketRoute("/view/abc/ws", ws_who),
        WebSocketRoute("/busy", ws_busy),
    ]
)


def made(tokens: Tokens | None = None, **options: Any) -> ASGIApp:
    return AccessMiddleware(INNER, Access(tokens or Tokens(), **options))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tokens_file(tmp_path_factory.mktemp("tokens"), f"anna {ANNA}"))


@pytest.fixture(scope="module")
def guarded(tokens: Tokens) -> Iterator[SmallServer]:
    with small_server(made(tokens, hosts=["captions.example"], origins=[SITE])) as server:
        yield server
    assert server.logged == []


def ask(
    app: ASGIApp, path: str = "/v1/models", method: str = "GET", **headers: str
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(send())


def test_without_tokens_everybody_on_this_machine_may_come_in() -> None:
    for path in PATHS:
        answer = ask(made(), path)
        assert (answer.status_code, answer.text) == (200, "")
    assert ask(made(), authorization="Bearer sk-anything").text == ""


def test_a_token_is_asked_for_everywhere_but_at_the_public_paths(tokens: Tokens) -> None:
    app = made(tokens)
    public = {path for path in PATHS if ask(app, path).is_success}
    assert public == {"/", "/healthz", "/readyz", "/view/abc", "/page/app.js"}
    answer = ask(app)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "unauthorized")
    assert "Bearer TOKEN" in error["message"]


@pytest.mark.parametrize("path", ["/view", "/healthz/", "/page", "/view/../v1/models", "/%2f"])
def test_what_only_looks_like_a_public_path_is_none(tokens: Tokens, path: str) -> None:
    assert not ask(made(tokens), path).is_success


def test_a_token_comes_in_a_header_or_in_the_query(tokens: Tokens) -> None:
    app = made(tokens)
    for answer in (
        ask(app, authorization=f"Bearer {ANNA}"),
        ask(app, authorization=f"bearer  {ANNA} "),
        ask(app, f"/v1/models?x=1&token={ANNA}"),
        ask(app, f"/v1/models?token={ANNA}", authorization="Basic b2s6b2s="),
    ):
        assert (answer.status_code, answer.text) == (200, "anna")
    for answer in (
        ask(app, authorization=f"Bearer {ANNA}x"),
        ask(app, authorization=ANNA),
        ask(app, "/v1/models?token="),
        ask(app, f"/v1/models?token={BERT}&token={ANNA}"),
        ask(app, f"/v1/models?token={ANNA}", authorization=f"Bearer {BERT}"),
        ask(app, f"/v1/models?token={ANNA}" + "&x=1" * 200),
    ):
        assert answer.status_code == 401
        assert ANNA not in answer.text


def test_the_prefix_that_a_proxy_takes_away_makes_no_path_public(tokens: Tokens) -> None:
    def below(path: str) -> int:
        async def send() -> int:
            transport = httpx.ASGITransport(made(tokens), root_path="/captions")
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return (await client.get(path)).status_code

        return asyncio.run(send())

    assert below("/captions/") == 200
    assert below("/captions/view/abc") == 200
    assert below("/captions/v1/models") == 401
    assert below("/captionsx/healthz") in (401, 404)


@pytest.mark.parametrize(
    "host",
    ["localhost:1", "LOCALHOST", "127.0.0.1:8766", "127.8.9.1", "[::1]:80", "captions.example"],
)
def test_names_of_this_machine_are_served(host: str) -> None:
    assert ask(made(hosts=["captions.example"]), host=host).is_success


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("192.168.0.7", 421),
        ("", 400),
        ("local host", 400),
        ("localhost:1:2", 400),
        ("localhost@evil.example", 400),
    ],
)
def test_other_names_are_refused_on_loopback(host: str, status: int) -> None:
    for path in ("/", "/v1/models"):
        answer = ask(made(), path, host=host)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, "host")


def test_where_others_can_reach_the_server_it_may_have_any_name() -> None:
    assert ask(made(address="0.0.0.0"), host="captions.example").is_success
    assert ask(made(address="192.168.0.7"), host="192.168.0.7:8766").is_success
    assert ask(made(address="0.0.0.0", name="0.0.0.0"), host="captions.example").is_success


def test_where_a_name_is_allowed_others_are_refused_wherever_the_server_listens() -> None:
    app = made(address="192.168.0.7", name="Desk.local", hosts=["captions.example"])
    for host in ("captions.example", "desk.local:8766", "localhost", "127.0.0.1:8766"):
        assert ask(app, host=host).is_success, host
    for host, status in (("evil.example", 421), ("", 400)):
        assert ask(app, host=host).status_code == status


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8766", "http://localhost:8766"),
        ("localhost", "https://LOCALHOST"),
        ("localhost:443", "https://localhost"),
        ("localhost", "http://localhost:80"),
        ("[::1]:8766", "http://[::1]:8766"),
        ("localhost", SITE),
        ("localhost", "https://captions.example"),
    ],
)
def test_pages_of_the_server_and_of_allowed_sites_may_use_it(host: str, origin: str) -> None:
    for path in ("/", "/v1/models"):
        assert ask(made(origins=[f"{SITE}:443/"]), path, host=host, origin=origin).is_success


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "http://localhost:8767",
        "https://localhost.evil.example",
        "http://captions.example",
        "https://captions.example:8443",
        "file://",
        "localhost:8766",
        "chrome-extension://localhost:8766",
        "http://localhost:8766, http://evil.example",
    ],
)
def test_other_pages_are_refused(origin: str) -> None:
    for path in ("/", "/v1/models"):
        answer = ask(made(origins=[SITE]), path, host="localhost:8766", origin=origin)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin")


def test_an_allowed_site_may_ask_before_it_sends_a_token(tokens: Tokens) -> None:
    app = made(tokens, origins=[SITE])
    wish = {"access_control_request_method": "POST"}
    asked = {**wish, "access_control_request_headers": "authorization, x-stainless-os"}
    answer = ask(app, method="OPTIONS", origin=SITE, **asked)
    assert answer.is_success
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    assert ask(app, method="OPTIONS", origin="https://evil.example", **asked).status_code == 403
    for answer in (ask(app, origin=SITE), ask(app, origin=SITE, authorization=f"Bearer {ANNA}")):
        assert answer.headers["access-control-allow-origin"] == SITE
    assert "access-control-allow-origin" not in ask(app).headers


@pytest.mark.parametrize("origin", ["*", "captions.example", "https://a.example/path", "null", ""])
def test_an_origin_that_is_none_is_a_wrong_option(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="--allow-origin takes a site"):
        Access(Tokens(), origins=[origin])


@pytest.mark.parametrize("host", ["a.example:80", "https://a.example", "", "*"])
def test_a_host_that_is_none_is_a_wrong_option(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--allow-host takes a name"):
        Access(Tokens(), hosts=[host])


def test_the_name_of_the_address_to_listen_on_is_a_host() -> None:
    for name in ("::1", "[::1]", "Some-Machine.local"):
        host = f"[{name}]" if name == "::1" else name
        assert ask(made(name=name), host=host).is_success


def test_loopback_is_what_only_this_machine_reaches() -> None:
    private = ("127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST")
    assert all(is_loopback(host) for host in private)
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "a.example", ""))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b"host", b"origin", b"authorization"]),
    st.lists(st.binary(max_size=40), max_size=2),
    st.binary(max_size=40),
)
def test_no_header_is_a_fault_and_none_lets_a_stranger_in(
    name: bytes, values: list[bytes], query: bytes
) -> None:
    tokens = Tokens(environment={ENVIRONMENT: ANNA})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")] if name != b"host" else []
    headers += [(name, value) for value in values]
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/models",
        "query_string": query,
        "headers": headers,
    }
    asyncio.run(made(tokens)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["status"] in (400, 401, 403, 421)
    assert "error" in json.loads(sent[1]["body"])


# -- over real sockets ------------------------------------------------------------------------


def talk(server: SmallServer, path: str, **options: Any) -> tuple[list[str], int | None]:
    """What came over a WebSocket, and the code that it was closed with."""
    said: list[str] = []
    websocket: ClientConnection
    with connect(f"ws://127.0.0.1:{server.port}{path}", **options) as websocket:
        try:
            while True:
                said.append(str(websocket.recv(timeout=5)))
        except ConnectionClosed:
            pass
        return said, websocket.close_code


def test_a_websocket_with_a_token_is_let_in(guarded: SmallServer) -> None:
    header = {"Authorization": f"Bearer {ANNA}"}
    for answer in (
        talk(guarded, f"/v1/stream?token={ANNA}"),
        talk(guarded, "/v1/stream", additional_headers=header),
        talk(guarded, f"/v1/stream?token={ANNA}", origin=SITE),
        talk(guarded, f"/v1/stream?token={ANNA}", origin=f"http://127.0.0.1:{guarded.port}"),
    ):
        assert answer == (["anna"], 1000)
    assert talk(guarded, "/view/abc/ws") == ([""], 1000)


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        ("/v1/stream", {}, "unauthorized"),
        (f"/v1/stream?token={BERT}", {}, "unauthorized"),
        (f"/v1/stream?token={ANNA}", {"origin": "https://evil.example"}, "origin"),
        ("/view/abc/ws", {"origin": "null"}, "origin"),
        ("/nowhere", {}, "unauthorized"),
    ],
)
def test_a_websocket_is_refused_with_a_message_that_a_page_can_read(
    guarded: SmallServer, path: str, options: dict[str, Any], code: str
) -> None:
    said, close_code = talk(guarded, path, **options)
    (body,) = [json.loads(text) for text in said]
    assert (body["type"], body["code"], close_code) == ("error", code, 1008)
    assert ANNA not in body["message"]


def test_a_refusal_keeps_its_words_and_its_code(guarded: SmallServer) -> None:
    for path in ("/busy", "/busy?open=1"):
        said, close_code = talk(guarded, f"{path}{'&' if '?' in path else '?'}token={ANNA}")
        assert json.loads(said[0]) == {
            "type": "error",
            "code": "busy",
            "message": "later, please: é",
            "retry_after_s": 7,
        }
        assert close_code == TRY_LATER


def test_a_refusal_of_a_websocket_that_is_gone_is_no_fault(guarded: SmallServer) -> None:
    for _ in range(10):
        with connect(f"ws://127.0.0.1:{guarded.port}/v1/stream") as websocket, suppress(OSError):
            websocket.socket.shutdown(socket.SHUT_RDWR)  # unless the server has gone first


def test_requests_over_http_meet_the_same_door(guarded: SmallServer) -> None:
    address = f"http://127.0.0.1:{guarded.port}/v1/models"
    assert httpx.get(address).status_code == 401
    assert httpx.get(address, headers={"Authorization": f"Bearer {ANNA}"}).text == "anna"
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 421
    body = {"content": bytes(1_000_000)}
    assert httpx.post(address, **body).status_code == 401  # type: ignore[arg-type]


def test_a_refusal_over_http_says_when_to_come_back() -> None:
    answer = refusal_response(Refusal("busy", "later", status=503, retry_after_s=7))  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    error = {"message": "later", "type": "server_error", "code": "busy"}
    assert json.loads(bytes(answer.body)) == {"error": error}


def test_no_token_is_in_any_log(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), small_server(made(tokens)) as server:
        talk(server, f"/v1/stream?token={ANNA}")
        talk(server, f"/v1/stream?token={BERT}")
        httpx.get(f"http://127.0.0.1:{server.port}/v1/models?token={ANNA}")
    ours = [
        r for r in caplog.records if not r.name.startswith(("httpx", "httpcore", "websockets."))
    ]
    said = " ".join(record.getMessage() for record in ours) + repr(tokens)
    assert ANNA not in said
    assert BERT not in said


# -- the real server --------------------------------------------------------------------------


def test_taking_out_a_line_ends_the_sessions_of_its_token_and_no_others(tmp_path: Path) -> None:
    file = tokens_file(tmp_path, f"anna {ANNA}", f"bert {BERT}")
    with serving(tmp_path, "--tokens-file", file) as served:
        served.until_ready()
        with (
            connect(f"{served.stream}?token={ANNA}") as anna,
            connect(f"{served.stream}?token={BERT}") as bert,
        ):
            assert json.loads(anna.recv())["type"] == "session"
            tokens_file(tmp_path, f"bert {BERT}")
            while (message := json.loads(anna.recv(10)))["type"] != "error":
                pass
            assert message["code"] == "token_revoked"
            with pytest.raises(ConnectionClosed):
                anna.recv(10)
            assert anna.close_code == 1008
            bert.send('{"type": "finish"}')
            assert json.loads([*bert][-1])["type"] == "session_ended"
