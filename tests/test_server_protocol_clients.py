"""PROTOCOL.md keeps its word: its two clients run as printed, and its refusals are the server's."""

from __future__ import annotations

import ast
import functools
import http.server
import os
import re
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cli_plugin
import numpy as np
import pytest
from audio_files import read_audio
from captions_browser import browser, eventually
from server_process import Served, serving
from sounds import write_wav
from system_parts import needs

from streaming.app.server import refusal
from streaming.audio import SAMPLE_RATE

SERVER = Path(__file__).resolve().parents[1] / "streaming" / "app" / "server"
DOCUMENT = (SERVER / "PROTOCOL.md").read_text("utf-8")
ADDRESS = "ws://127.0.0.1:8766/v1/stream"
WORDS = cli_plugin.SAID.words


def client(language: str, address: str) -> str:
    """The program in that language as it is printed, but for the address."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    assert code.count(ADDRESS) == 1
    return str(code).replace(ADDRESS, address)


@contextmanager
def ready(folder: Path, *options: str) -> Iterator[Served]:
    """A server that hears words in whatever sounds: each moment has its own."""
    with serving(folder, "--vad", "none", *options) as server:
        server.until_ready()
        yield server


# -- Python -------------------------------------------------------------------------------------


def start(folder: Path, server: Served, rate: int, channels: int) -> subprocess.Popen[str]:
    """Run the client on four seconds of the sample recording."""
    samples = read_audio(Path(__file__).parents[1] / "examples" / "jfk.flac")[: 4 * SAMPLE_RATE]
    frames = samples[np.arange(4 * rate) * SAMPLE_RATE // rate]
    with wave.open(str(folder / "talk.wav"), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes((np.repeat(frames, channels) * 32_767).astype("<i2").tobytes())
    (folder / "client.py").write_text(client("python", server.stream), "utf-8")
    return subprocess.Popen(
        [sys.executable, "-W", "error", "client.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2)])
def test_the_client_in_python_prints_words_as_they_are_said(
    tmp_path: Path, rate: int, channels: int
) -> None:
    with ready(tmp_path) as server, start(tmp_path, server, rate, channels) as running:
        assert running.stdout is not None
        first = running.stdout.read(len(WORDS[0].text))
        begun_s = time.monotonic()
        rest, errors = running.communicate(timeout=30)
    assert (errors, running.returncode) == ("", 0)
    assert first + rest == "".join(word.text for word in WORDS if word.end_s <= 4)
    assert time.monotonic() - begun_s > 1  # it did not wait for the end


def test_the_client_in_python_says_why_it_is_refused(tmp_path: Path) -> None:
    with ready(tmp_path) as server, start(tmp_path, server, 4_000, 1) as running:
        said, errors = running.communicate(timeout=30)
    assert (said, running.returncode) == ("", 1)
    assert errors == "sample_rate lies between 8000 and 192000, not '4000'\n"


# -- JavaScript ---------------------------------------------------------------------------------

PAGE = """<!doctype html>
<meta charset="utf-8">
<body></body>
<script>
window.ended = null;
WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("close", ({ code }) => { window.ended = code; });
  }
};
</script>
<script type="module" src="client.js"></script>
"""
"""Where the client runs; tells how its connection ended."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """A web site of the files in a folder, of another origin than the caption server."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@needs("chromedriver", package="chromium-driver")
def test_the_client_in_javascript_shows_what_the_microphone_hears(
    tmp_path: Path, jfk: Path
) -> None:
    pages = tmp_path / "site"
    pages.mkdir()
    (pages / "index.html").write_text(PAGE, "utf-8")
    spoken = write_wav(tmp_path / "spoken.wav", read_audio(jfk))
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
    )
    with site(pages) as origin, ready(tmp_path, "--allow-origin", origin) as server:
        (pages / "client.js").write_text(client("js", server.stream), "utf-8")
        with browser(tmp_path / "profile", flags=flags) as driver:
            driver.get(origin)

            def shown() -> str:
                return str(driver.execute_script("return document.body.innerText")).strip()

            eventually(lambda: len(shown().split()) >= 6, True, within_s=20)
            assert driver.execute_script("return ended") is None
            driver.find_element("css selector", "body").click()
            eventually(lambda: driver.execute_script("return ended"), 1000)
            said = [word.text.strip() for word in WORDS]
            assert shown().split() == said[: len(shown().split())]


# -- refusals -----------------------------------------------------------------------------------


def streaming_modules() -> dict[str, ast.Module]:
    """What `/v1/stream` is made of: two modules of the server, and what they import of it."""
    found: dict[str, ast.Module] = {}
    wanted = ["stream", "sessions"]
    while wanted:
        name = wanted.pop()
        if name not in found and (SERVER / f"{name}.py").exists():
            found[name] = ast.parse((SERVER / f"{name}.py").read_text("utf-8"))
            imports = [node for node in found[name].body if isinstance(node, ast.ImportFrom)]
            wanted += [node.module or "" for node in imports if node.level == 1]
    return found


def documented() -> set[tuple[str, int]]:
    """Code and close code of every refusal in the table."""
    rows = re.findall(r"^\| (1\d{3}) \| ([^|]*) \|", DOCUMENT, re.MULTILINE)
    return {(code, int(close)) for close, codes in rows for code in re.findall(r"`(\w+)`", codes)}


def raised() -> set[tuple[str, int]]:
    """The same of every refusal that is made for those who stream."""
    found = set()
    for module in streaming_modules().values():
        closes = {"Refusal": refusal.POLICY}  # and of functions that are given the code
        calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
        for function in ast.walk(module):
            if isinstance(function, ast.FunctionDef) and function.args.args:
                for call in (node for node in ast.walk(function) if node in calls):
                    # A function that makes refusals of a code it is given.
                    if (
                        named(call) == "Refusal"
                        and named(call.args[0]) == function.args.args[0].arg
                    ):
                        closes[function.name] = close_of(call)
        for call in calls:
            name = named(call)
            if name in closes and call.args and isinstance(call.args[0], ast.Constant):
                close = close_of(call) if name == "Refusal" else closes[name]
                found.add((str(call.args[0].value), close))
    return found


def named(node: ast.AST) -> str:
    """What is called, or a plain name."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def close_of(call: ast.Call) -> int:
    """The close code that a refusal is made with."""
    given = [ast.unparse(word.value) for word in call.keywords if word.arg == "close_code"]
    return int(getattr(refusal, given[0] if given else "POLICY"))


def test_the_table_has_the_refusals_that_there_are_and_no_others() -> None:
    assert len(documented()) > 15
    assert documented() == raised()
