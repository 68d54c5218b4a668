"""The terminal view, and the whole command, in a process of its own on a pseudo-terminal."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from terminal_program import WORDS
from terminal_screen import TerminalScreen

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals", allow_module_level=True)

import pty
import termios

TESTS = Path(__file__).parent
VIEW = TESTS / "terminal_program.py"


class Terminal:
    """A pseudo-terminal with a program on it, and what it shows."""

    def __init__(self, width: int, height: int) -> None:
        self.screen = TerminalScreen(width, height)
        self._master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (height, width))
        os.set_blocking(self._master, False)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.written = ""

    def resize(self, width: int, height: int) -> None:
        termios.tcsetwinsize(self.slave, (height, width))
        self.screen.resize(width, height)

    def read(self, for_s: float) -> None:
        """Take what there is, and what the program writes in this time."""
        until_s = time.monotonic() + for_s
        while True:
            try:
                text = self._decoder.decode(os.read(self._master, 65_536))
            except OSError:  # nothing is there
                if time.monotonic() >= until_s:
                    return
                time.sleep(0.01)
            else:
                self.screen.feed(text)
                self.written += text

    def read_until(self, seen: Callable[[TerminalScreen], bool]) -> None:
        deadline_s = time.monotonic() + 20.0
        while not seen(self.screen):
            assert time.monotonic() < deadline_s, self.screen.visible
            self.read(0.1)

    def close(self) -> None:
        os.close(self._master)
        os.close(self.slave)


@contextmanager
def program(terminal: Terminal, *argv: object) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")},
        "TERM": "xterm-256color",
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen(
        [sys.executable, *map(str, argv)],
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        terminal.close()


def says(text: str) -> Callable[[TerminalScreen], bool]:
    """The text is on the screen, and a status under it."""
    return lambda screen: text in "\n".join(screen.visible) and "● speech" in screen.rows[-1]


def end(process: subprocess.Popen[bytes], terminal: Terminal) -> None:
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130
    terminal.read(0.1)


LAST = WORDS[-1]


@pytest.mark.parametrize(("width", "height"), [(40, 12), (100, 30)])
def test_one_session_leaves_the_text_and_nothing_else(width: int, height: int) -> None:
    terminal = Terminal(width, height)
    with program(terminal, VIEW, 3, "me") as process:
        terminal.read_until(says(f"me2{LAST}"))
        assert re.match("me +■+·+ +● speech", terminal.screen.rows[-1])
        end(process, terminal)
    said = " ".join(terminal.screen.rows).split()
    expected = ["m", "on", "b"]
    for utterance in range(3):
        expected += ["me:", *(f"me{utterance}{word}" for word in WORDS)]
    assert said == expected
    assert terminal.screen.left_as_found


@pytest.mark.parametrize(("width", "height"), [(40, 12), (100, 30)])
def test_two_sessions_leave_all_they_have_said(width: int, height: int) -> None:
    terminal = Terminal(width, height)
    with program(terminal, VIEW, 3, "me", "you") as process:
        terminal.read_until(says(f"you2{LAST}"))
        assert terminal.screen.rows[-1].count("● speech") == 2
        assert ("│" in terminal.screen.rows[-1]) == (width == 100)
        end(process, terminal)
    said = " ".join(terminal.screen.rows).split()
    for label in ("me", "you"):
        expected = [f"{label}{utterance}{word}" for utterance in range(3) for word in WORDS]
        assert [word for word in said if re.match(rf"{label}\d", word)] == expected
    assert not any(word.endswith("?") for word in said)
    assert terminal.screen.left_as_found


def test_a_terminal_that_becomes_narrow_is_noticed() -> None:
    terminal = Terminal(100, 12)
    with program(terminal, VIEW, 2, "me", "you") as process:
        terminal.read_until(says(f"you1{LAST}"))
        terminal.resize(40, 12)
        terminal.read_until(lambda screen: "│" not in screen.rows[-1])
        terminal.read(0.2)
        assert terminal.screen.rows[-1].count("● speech") == 2
        end(process, terminal)
    said = "".join(terminal.screen.rows)
    assert said.count(f"me1{LAST}") == said.count(f"you1{LAST}") == 1
    assert "speech" not in said
    assert terminal.screen.left_as_found


def test_a_program_that_is_killed_leaves_a_terminal_that_works() -> None:
    terminal = Terminal(60, 12)
    with program(terminal, VIEW, 1, "me") as process:
        terminal.read_until(says(f"me0{LAST}"))
        process.kill()
        process.wait(5)
        terminal.read(0.1)
    assert terminal.screen.works
    assert "\x1b[?1049h" not in terminal.written


@pytest.mark.needs_model
@pytest.mark.parametrize(("width", "height"), [(40, 12), (100, 30)])
def test_the_command_shows_how_it_is_going_and_leaves_the_transcript(
    width: int, height: int, jfk: Path
) -> None:
    terminal = Terminal(width, height)
    with program(terminal, "-m", "streaming", jfk) as process:
        terminal.read_until(lambda screen: "delay" in screen.rows[-1])
        assert re.search(r"● (speech|decoding)|○ listening", terminal.screen.rows[-1])
        terminal.read_until(lambda screen: "for your country." in " ".join(screen.rows))
        assert process.wait(10) == 0
        terminal.read(0.1)
    said = " ".join(" ".join(terminal.screen.rows).split())
    assert re.fullmatch(r"tiny\.en on \S+ And so,? my fellow Americans.* for your country\.", said)
    assert "delay" not in said
    assert terminal.screen.left_as_found


@pytest.mark.needs_model
def test_the_command_shows_the_progress_of_a_file(jfk: Path) -> None:
    terminal = Terminal(80, 24)
    with program(terminal, "-m", "streaming", jfk, "--pace", "fast") as process:
        terminal.read_until(lambda screen: re.search(r"━.* \d+%", screen.rows[-1]) is not None)
        assert process.wait(20) == 0
        terminal.read(0.1)
    assert "%" not in "".join(terminal.screen.rows)
    assert terminal.screen.left_as_found
