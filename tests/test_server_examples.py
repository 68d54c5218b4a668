"""The files in examples/server do what they say."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import re
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tomllib
import wave
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import cli_plugin
import pytest
from caption_reader import Reader
from captions_browser import browser, eventually
from mosquitto import free_port
from reverse_proxy import Proxy, reverse_proxy
from server_process import Served, serving
from system_parts import needs
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from streaming.app.serve_command import _parser
from streaming.app.server.limits import Limits

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples/server"
needs_nginx = needs("nginx", package="nginx-light")
SECRET = "a-token-that-nobody-may-read-in-a-log"
SCRIPT = cli_plugin.talk(3)
SAID = "".join(word.text for word in SCRIPT.words)

OF_OTHER_PROGRAMS = {
    *("--cap-drop", "--read-only", "--rm", "--time", "--tmpfs"),  # podman
    *("--from", "--interval", "--start-period", "--timeout", "--no-cache-dir"),  # its file
    *("--now", "--system"),  # systemctl, groupadd
}

# -- the service ---------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    """The settings of the service, each with its values."""
    found: dict[str, list[str]] = {}
    text = (FOLDER / "stream-transcribe.service").read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value.strip())
    return found


def options_of(command: list[str]) -> Any:
    """What the server understands of a command."""
    assert Path(command[0]).name == "stream-transcribe"
    assert command[1] == "serve"
    return _parser().parse_args(command[2:])


def test_the_service_starts_a_server_that_exists_and_leaves_it_time_to_end() -> None:
    (command,) = unit()["ExecStart"]
    options = options_of(shlex.split(command))
    assert options.host == "127.0.0.1"
    (group,) = unit()["SupplementaryGroups"]
    told = (FOLDER / "stream-transcribe.service").read_text("utf-8")
    assert f"groupadd --system {group}\n" in told
    assert f"install -m 640 -g {group} /dev/null {options.tokens_file}\n" in told
    assert "LoadCredential" not in unit()  # a copy: nothing could be revoked
    (stop_s,) = unit()["TimeoutStopSec"]
    assert float(stop_s) > options.drain + 5
    assert unit()["SuccessExitStatus"] == ["143"]
    cache = "%C/" + unit()["CacheDirectory"][0]
    assert f"STREAM_TRANSCRIBE_CACHE={cache}" in unit()["Environment"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is absent")
def test_systemd_understands_the_service(tmp_path: Path) -> None:
    text = (FOLDER / "stream-transcribe.service").read_text("utf-8")
    program = "/opt/stream-transcribe/bin/stream-transcribe serve"
    assert program in text
    copy = tmp_path / "stream-transcribe.service"
    copy.write_text(text.replace(program, f"{sys.executable} serve"), "utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# -- the image -----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Of the Containerfile, each with its arguments."""
    text = (FOLDER / "Containerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    whole = lines.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in whole if line.strip()]


def arguments_of(name: str) -> list[str]:
    """The arguments of the instructions of that name."""
    return [arguments for each, arguments in instructions() if each == name]


def container_command() -> list[str]:
    (start,), (more,) = arguments_of("ENTRYPOINT"), arguments_of("CMD")
    return [*json.loads(start), *json.loads(more)]


def test_the_image_copies_all_that_the_package_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = set()
    for arguments in arguments_of("COPY"):
        *sources, target = arguments.split()
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            assert (ROOT / source).exists(), source
            assert target in ("./", source)
            copied.add(source)
    metadata = project["project"]
    needed = {"pyproject.toml", metadata["readme"], *metadata["license-files"]}
    assert copied == {*needed, *wheel["packages"], *wheel["force-include"]}
    installed = next(line for line in arguments_of("RUN") if "pip install" in line)
    (extras,) = re.findall(r'"\.\[(.*)\]"', installed)
    assert set(extras.split(",")) <= set(metadata["optional-dependencies"])


def test_the_image_runs_the_server_as_nobody_with_its_port_open() -> None:
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert arguments_of("USER") == ["65532:65532"]
    assert arguments_of("STOPSIGNAL") == ["SIGTERM"]
    options = options_of(container_command())
    assert [str(options.port)] == arguments_of("EXPOSE")
    assert options.host == "0.0.0.0"
    assert options.allow_host == ["localhost"]
    prepared = next(line for line in arguments_of("RUN") if "doctor" in line)
    assert f"doctor --model {options.model} " in prepared


def test_the_command_of_the_image_serves_and_its_health_check_sees_that(tmp_path: Path) -> None:
    command = container_command()[2:]
    mine = ["--port", "0", "--model", "scripted"]
    (check,) = arguments_of("HEALTHCHECK")
    program, *arguments = json.loads(check[check.index("CMD") + 3 :])
    assert program == "python"
    with serving(tmp_path, *command, *mine) as served:
        assert any(":8766/" in argument for argument in arguments)
        arguments = [each.replace(":8766/", f":{served.port}/") for each in arguments]
        assert subprocess.run([sys.executable, *arguments], timeout=20).returncode == 0
        with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)) as stranger:
            stranger.request("GET", "/", headers={"Host": f"evil.example:{served.port}"})
            assert stranger.getresponse().status == 421
        assert served.stop() == 143
    gone = subprocess.run([sys.executable, *arguments], timeout=20, capture_output=True)
    assert gone.returncode == 1


def test_all_options_that_the_files_mention_exist() -> None:
    text = "".join(path.read_text("utf-8") for path in FOLDER.iterdir())
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    known = set(re.findall(r"--[a-z][a-z-]*", _parser().format_help()))
    assert {"--host", "--allow-host", "--tokens-file", "--drain", "--tls-cert"} <= mentioned
    assert mentioned <= known | OF_OTHER_PROGRAMS


# -- the proxy -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    tokens = folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"somebody {SECRET}\n")
    options = ("--tokens-file", tokens, "--vad", "loud", "--max-rate", "0")
    with serving(folder, *options, backend="scripted:utterances=3") as made:
        yield made


@pytest.fixture(scope="module")
def proxy(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with reverse_proxy(tmp_path_factory.mktemp("nginx"), served.port) as made:
        eventually(lambda: made.ask("GET", "/captions/readyz")[0], 200, within_s=30)
        yield made


# Over TLS with asyncio's client: the one with threads reads and writes at the same time, which
# Python 3.11's TLS sockets cannot do safely; one handshake in some hundreds hangs.


async def speak(stream: ClientConnection) -> str:
    """Send all that is to be said, and read to the end; what was committed."""
    pcm = (SCRIPT.audio() * 32767).astype("<i2").tobytes()
    for start in range(0, len(pcm), 3200):
        await stream.send(pcm[start : start + 3200])
    await stream.send('{"type": "finish"}')
    events = [json.loads(data) async for data in stream]
    assert events[-1]["type"] == "session_ended"
    return "".join(event["text"] for event in events if event["type"] == "committed")


async def speak_and_view(proxy: Proxy) -> str:
    """Say everything and read it in a view as well; the name of the session."""
    origin = Origin(proxy.url.removesuffix("/captions/"))
    address = proxy.websocket(f"v1/stream?token={SECRET}")
    async with connect(address, ssl=proxy.trust, origin=origin) as stream:
        session: str = json.loads(await stream.recv())["session"]
        address = proxy.websocket(f"view/{session}/ws")
        async with connect(address, ssl=proxy.trust, origin=origin) as viewer:
            reader = Reader().take(await viewer.recv())
            assert await speak(stream) == SAID
            async for data in viewer:
                reader.take(data)
            assert viewer.close_code == 1000
        assert reader.text(session) == SAID
    return session


def tells(proxy: Proxy, *requests: str) -> None:
    """Wait until the log has these requests, which comes after their answers."""
    eventually(lambda: [each for each in requests if each not in proxy.logged()], [])


@needs_nginx
def test_a_session_and_its_view_go_through_the_prefix_and_leave_no_secret_in_the_logs(
    proxy: Proxy, tmp_path: Path
) -> None:
    session = asyncio.run(speak_and_view(proxy))
    path = f"view/{session}"
    status, headers, _ = proxy.ask("GET", f"/captions/{path}?token={SECRET}")
    assert status == 200
    own = f"connect-src ws://127.0.0.1:{proxy.port} wss://127.0.0.1:{proxy.port};"
    assert own in headers["content-security-policy"]
    with browser(tmp_path / "profile") as driver:
        driver.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        driver.get(f"{proxy.url}{path}?lines=12&clear=0")
        eventually(lambda: driver.find_element("id", "link").text, "The session has ended")
        shown = driver.find_element("id", "captions").text
        assert shown.split() == SAID.split()
    tells(proxy, "/captions/view/*/ws 101", "/captions/v1/stream 101", "/captions/view/* 200")
    for secret in (SECRET, session):
        assert secret not in proxy.logged()


@needs_nginx
def test_another_sites_page_is_refused_behind_the_proxy_too(proxy: Proxy) -> None:
    async def answer() -> dict[str, Any]:
        address, origin = proxy.websocket(f"v1/stream?token={SECRET}"), "https://evil.example"
        async with connect(address, ssl=proxy.trust, origin=Origin(origin)) as stream:
            said: dict[str, Any] = json.loads(await stream.recv())
            return said

    assert asyncio.run(answer())["code"] == "origin"


@needs_nginx
def test_the_page_is_below_the_prefix_and_the_numbers_are_not(proxy: Proxy) -> None:
    status, headers, body = proxy.ask("GET", "/captions/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert b"<title>" in body
    status, headers, _ = proxy.ask("GET", "/captions")
    assert (status, headers["location"]) == (308, "/captions/")
    assert proxy.ask("GET", "/captions/healthz")[0] == 200
    assert proxy.ask("GET", f"/captions/metrics?token={SECRET}")[0] == 404
    with socket.create_connection(("127.0.0.1", proxy.plain_port), 5) as plain:
        plain.sendall(b"GET /captions/ HTTP/1.0\r\nHost: captions.example\r\n\r\n")
        answer = plain.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 308 ")
    assert b"\r\nLocation: https://captions.example/captions/\r\n" in answer


def test_the_proxy_lets_the_server_itself_refuse_what_is_too_large() -> None:
    text = (FOLDER / "nginx.conf").read_text("utf-8")
    (most,) = re.findall(r"client_max_body_size (\d+)m;", text)
    (told,) = re.findall(r"--max-upload \((\d+) MB by default\)", text)
    limit = Limits().max_upload_bytes
    assert int(told) * 1e6 == limit
    assert limit < int(most) * 2**20 < 1.5 * limit


def upload(fields: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    """A form with the recording of what is to be said, and the headers that go with it."""
    parts = [
        f'--cut\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = '--cut\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = b"".join(parts) + head.encode() + wav() + b"\r\n--cut--\r\n"
    return body, {
        "Content-Type": "multipart/form-data; boundary=cut",
        "Authorization": f"Bearer {SECRET}",
    }


def wav() -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((SCRIPT.audio() * 32767).astype("<i2").tobytes())
    return made.getvalue()


@needs_nginx
def test_an_upload_is_answered_as_a_whole_and_in_server_sent_events(proxy: Proxy) -> None:
    body, headers = upload({"model": "whisper-1"})
    status, _, answer = proxy.ask("POST", "/captions/v1/audio/transcriptions", body, headers)
    assert status == 200
    assert json.loads(answer)["text"].split() == SAID.split()
    body, headers = upload({"model": "whisper-1", "stream": "true"})
    status, named, answer = proxy.ask("POST", "/captions/v1/audio/transcriptions", body, headers)
    assert status == 200
    assert named["content-type"].startswith("text/event-stream")
    events = [line[6:] for line in answer.decode().splitlines() if line.startswith("data: {")]
    deltas = [json.loads(event).get("delta", "") for event in events]
    assert len(events) > 1
    assert "".join(deltas).split() == SAID.split()


class Upstream:
    """A server that takes and gives one piece at a time."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listening.close()

    def asked(self, within_s: float) -> bool:
        """Whether somebody connects in that time."""
        return bool(select.select([self._listening], [], [], within_s)[0])

    def accept(self) -> socket.socket:
        made, _ = self._listening.accept()
        made.settimeout(10)
        return made


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = connection.recv(65_536)
        assert piece, data
        data += piece
    return data


@needs_nginx
def test_the_proxy_passes_on_whole_uploads_and_at_once_what_is_said_of_them(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        proxy = stack.enter_context(reverse_proxy(tmp_path, upstream.port))
        with closing(proxy.connection()) as client:
            client.putrequest("POST", "/captions/v1/audio/transcriptions?stream=true")
            client.putheader("Content-Length", "10")
            client.endheaders()
            client.send(b"first")
            assert not upstream.asked(within_s=0.3)
            client.send(b"other")
            with upstream.accept() as server:
                seen = read_until(server, b"firstother").decode().lower()
                assert seen.startswith("post /v1/audio/transcriptions?stream=true http/1.1\r\n")
                assert f"\r\nhost: 127.0.0.1:{proxy.port}\r\n" in seen
                assert "\r\nx-forwarded-proto: https\r\n" in seen
                assert "\r\nconnection: close\r\n" in seen
                server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                server.sendall(b"data: 1\n\n")
                answer = client.getresponse()
                assert answer.read1() == b"data: 1\n\n"
                server.sendall(b"data: 2\n\n")
                assert answer.read1() == b"data: 2\n\n"
            assert answer.read1() == b""


@needs_nginx
def test_what_cannot_be_served_leaves_no_secret_in_the_logs_either(tmp_path: Path) -> None:
    with reverse_proxy(tmp_path, free_port()) as proxy:
        assert proxy.ask("GET", f"/captions/v1/models?token={SECRET}")[0] == 502
        status, _, _ = proxy.ask(
            "POST", f"/captions/inference?token={SECRET}", None, {"Content-Length": str(2**30)}
        )
        assert status == 413
        tells(proxy, "/captions/v1/models 502", "/captions/inference 413")
        assert SECRET not in proxy.logged()
