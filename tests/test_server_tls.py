from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from small_server import small_server
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from system_parts import needs
from websockets.asyncio.client import connect

from streaming.app.server.tls import KEY_PASSWORD, tls_context
from streaming.errors import ConfigurationError

pytestmark = needs("openssl", package="openssl")


def make_certificate(
    folder: Path, name: str = "own", *more: str, password: str | None = None
) -> tuple[str, str]:
    """A self-signed certificate for localhost, and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    secret = ["-noenc"] if password is None else ["-passout", f"pass:{password}"]
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", *words.split(), "-addext", names, *secret, *files, *more]
    subprocess.run(command, check=True, capture_output=True)
    return str(certificate), str(key)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def scheme(request: Request) -> Response:
    return PlainTextResponse(request.url.scheme)


async def ws_scheme(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.url.scheme)
    await websocket.close()


APP = Starlette(routes=[Route("/", scheme), WebSocketRoute("/ws", ws_scheme)])


async def ask(address: str, trust: ssl.SSLContext) -> tuple[str | bytes, str]:
    """What the WebSocket says, and the version of TLS."""
    async with connect(address, ssl=trust) as websocket:
        version = websocket.transport.get_extra_info("ssl_object").version()
        return await websocket.recv(), version


def test_https_and_wss_are_served(own: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    context = tls_context(*own)
    client = ssl.create_default_context(cafile=own[0])
    with small_server(APP, ssl_context_factory=lambda *_: context) as server:
        address = f"localhost:{server.port}"
        assert httpx.get(f"https://{address}/", verify=client).text == "https"
        assert asyncio.run(ask(f"wss://{address}/ws", client)) == ("wss", "TLSv1.3")
    assert caplog.records == []


def test_old_versions_of_tls_are_refused_and_garbage_is_no_fault(own: tuple[str, str]) -> None:
    context = tls_context(*own)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with small_server(APP, ssl_context_factory=lambda *_: context) as server:
        with server.connect() as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw)
        for said in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", bytes(500), b"\x16\x03\x01"):
            with server.connect(said) as raw:
                raw.shutdown(socket.SHUT_WR)
                raw.recv(100)
        client = ssl.create_default_context(cafile=own[0])
        assert httpx.get(f"https://localhost:{server.port}/", verify=client).is_success
    assert server.logged == []


def test_one_file_may_hold_both(own: tuple[str, str], tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(file).read_bytes() for file in own))
    assert tls_context(str(both), None).minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_encrypted_key_is_opened_with_the_password_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_certificate(tmp_path, password="open sesame")
    monkeypatch.setenv(KEY_PASSWORD, "open sesame")
    tls_context(*files)
    monkeypatch.setenv(KEY_PASSWORD, "close sesame")
    with pytest.raises(ConfigurationError, match="does not open it") as wrong:
        tls_context(*files)
    assert "sesame" not in str(wrong.value)
    monkeypatch.delenv(KEY_PASSWORD)
    with pytest.raises(ConfigurationError, match=KEY_PASSWORD):
        tls_context(*files)


def test_files_that_will_not_do_are_told_in_one_line(own: tuple[str, str], tmp_path: Path) -> None:
    certificate, key = own
    _, other = make_certificate(tmp_path, "other")
    damaged = tmp_path / "damaged.crt"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty = tmp_path / "empty"
    empty.touch()
    for files, said in (
        ((tmp_path / "none.crt", key), "cannot read .*none.crt: No such file"),
        ((certificate, tmp_path / "none.key"), "cannot read .*none.key: No such file"),
        ((tmp_path, key), "cannot read .*: Is a directory"),
        ((certificate, other), "does not belong to the certificate"),
        ((None, key), "--tls-cert"),
        ((certificate, None), "holds no private key.*--tls-key"),
        ((certificate, certificate), "holds no private key"),
        ((key, key), "holds no certificate"),
        ((empty, key), "holds no certificate"),
        ((damaged, key), "cannot be used"),
    ):
        with pytest.raises(ConfigurationError, match=said) as error:
            tls_context(*(None if file is None else str(file) for file in files))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("from_day", "to_day", "said"),
    [(-30, -1, "has expired"), (1, 30, "not valid yet"), (-30, 3, "expires in 3 days")],
)
def test_a_certificate_out_of_its_dates_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, from_day: int, to_day: int, said: str
) -> None:
    config = tmp_path / "ca.conf"
    index = tmp_path / "index.txt"
    index.touch()
    config.write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\nnew_certs_dir={tmp_path}\n"
        "default_md=sha256\npolicy=any\nrand_serial=yes\n[any]\ncommonName=supplied\n"
    )
    _, key = make_certificate(tmp_path)
    request, certificate = str(tmp_path / "own.csr"), str(tmp_path / "dated.crt")
    dates = [
        time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86_400 + 3600 * (day > 0)))
        for day in (from_day, to_day)
    ]
    for command in (
        ["req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", request],
        [
            *["ca", "-batch", "-selfsign", "-config", str(config), "-keyfile", key, "-in", request],
            *["-out", certificate, "-notext", "-startdate", dates[0], "-enddate", dates[1]],
        ],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    with caplog.at_level(logging.WARNING):
        tls_context(certificate, key)
    assert said in caplog.text
