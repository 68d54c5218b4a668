"""Captions of a session that runs: viewers leave it alone, and see what it says."""

from __future__ import annotations

import re
import socket
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import cli_plugin
import numpy as np
import pytest
from caption_crowd import SAID, Ran, Seen, session, viewers
from captions_browser import browser, eventually
from system_parts import needs

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

needs_chromium = needs("chromedriver", package="chromium-driver")


@pytest.mark.realtime
def test_viewers_leave_the_session_alone() -> None:
    # Side by side, so that whatever else this machine does slows both.
    with session() as quiet, session() as watched:
        quiet_url, url = quiet.recv(), watched.recv()
        assert quiet_url != url
        with viewers(url, coming_and_going=50) as crowd:
            crowd.recv()
            quiet.send(None)
            watched.send(None)
            alone: Ran = quiet.recv()
            ran: Ran = watched.recv()
            seen: Seen = crowd.recv()
    assert ran.text == alone.text == "".join(word.text for word in SAID.words)
    assert ran.left == alone.left == {"sockets": 0, "tasks": 0, "viewers": 0, "connections": 0}
    # They really were there, one of them in the way.
    assert seen.visits > 200
    assert seen.most_words > 40
    assert ran.waiting > 10
    assert alone.waiting == 0
    assert len(seen.late_snapshot.split()) > 10
    assert len(seen.late_committed) > 5
    assert seen.late_snapshot + "".join(seen.late_committed) == ran.text
    for percent in (50, 95):
        expected_s = float(np.percentile(alone.delays_s, percent))
        assert abs(np.percentile(ran.delays_s, percent) - expected_s) < 0.1 * expected_s


# -- the command --------------------------------------------------------------------------------


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command with the scripted backend."""
    cli_plugin.install(tmp_path)
    with ExitStack() as stack:

        def start(*argv: str | Path) -> subprocess.Popen[str]:
            process = cli_plugin.start(tmp_path, *argv, "--backend", "scripted")
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def page_of(process: subprocess.Popen[str]) -> str:
    """Where the command says that its captions are."""
    assert process.stderr is not None
    for line in process.stderr:  # where nothing is cached yet, other lines may come first
        if found := re.fullmatch(r"info: captions at (http://127\.0\.0\.1:\d+/)\n", line):
            return found[1]
    raise AssertionError(f"no captions, exit status {process.wait()}")


def shown(driver: WebDriver) -> str:
    return " ".join(row.text for row in driver.find_elements("css selector", ".committed"))


@needs_chromium
def test_the_page_of_the_command_shows_its_words_and_then_its_end(
    start: Start, jfk: Path, tmp_path: Path
) -> None:
    with browser(tmp_path / "profile") as driver:
        process = start(jfk, "--duration", "6", "--captions", "127.0.0.1:0")
        driver.get(page_of(process))
        eventually(lambda: len(shown(driver).split()) > 3, True, within_s=20)
        assert driver.find_element("id", "status").text == ""
        assert process.poll() is None
        out, err = process.communicate(timeout=30)
        eventually(lambda: driver.find_element("id", "link").text, "The session has ended")
        assert process.returncode == 0, err
        assert shown(driver)
        assert shown(driver) in " ".join(out.split())


@needs_chromium
def test_both_channels_of_a_split_file_are_shown_as_speakers(start: Start, tmp_path: Path) -> None:
    mono = cli_plugin.SAID.audio()
    stereo = np.stack((mono, np.roll(mono, 8000)), axis=1)
    with wave.open(str(tmp_path / "stereo.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((stereo * 32767).astype("<i2").tobytes())
    with browser(tmp_path / "profile") as driver:
        process = start(
            *("stereo.wav", "--channels", "split", "--vad", "loud"), *("--captions", "0")
        )
        driver.get(page_of(process))

        def speakers() -> list[str]:
            blocks = driver.find_elements("css selector", ".speaker:not(.empty)")
            return [block.find_element("class name", "name").text for block in blocks]

        eventually(lambda: sorted(speakers()), ["left", "right"], within_s=20)
        for block in driver.find_elements("css selector", ".speaker"):
            assert block.find_elements("css selector", ".committed")


def test_a_port_in_use_is_one_line_before_anything_is_heard(start: Start, jfk: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(jfk, "--captions", f"{port}", "--format", "jsonl")
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert out == ""
    assert err == (
        f"stream-transcribe: cannot show captions at 127.0.0.1:{port}: the port is in use; "
        "choose another one, or 0 for any that is free\n"
    )
