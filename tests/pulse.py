"""A PulseAudio server of a test's own. Its one output, a null sink, is also its microphone.

PortAudio reads the environment when it is initialised, so what records through it belongs in a
child process::

    with PulseServer(tmp_path) as server:
        child = subprocess.Popen(command, env=server.environment)
        server.play(wav)  # in real time; the child hears it as its default input
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from system_parts import needs

__all__ = ["NEEDS_PULSE", "PulseServer", "needs_pulse"]

T = TypeVar("T", bound=Callable[..., object])

NEEDS_PULSE = [
    needs("pulseaudio", package="pulseaudio libasound2-plugins"),
    needs("paplay", package="pulseaudio-utils"),
    needs("portaudio", package="libportaudio2"),
]
"""For ``pytestmark`` of a module."""


def needs_pulse(test: T) -> T:
    """The same for one test."""
    for mark in NEEDS_PULSE:
        test = mark(test)
    return test


SINK = "speaker"
LIMIT_S = 10.0
SILENCE_LATENCY_MS = 20
PLAY_LATENCY_MS = 500
"""Enough not to stutter on a busy machine; a sound starts at once all the same."""
ALSA_CONFIG = """\
</usr/share/alsa/alsa.conf>
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


class PulseServer:
    """A running server; leaving it ends all that it started.

    Args:
        folder: for its files; empty, and on a short path, as it holds a socket.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "socket"
        self._server: subprocess.Popen[bytes] | None = None
        self._silence: subprocess.Popen[bytes] | None = None
        self._player: subprocess.Popen[bytes] | None = None
        (folder / "alsa.conf").write_text(ALSA_CONFIG)
        self.environment = {
            **os.environ,
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(folder / "alsa.conf"),
        }
        """For child processes: PortAudio, ALSA and PulseAudio programs find this server."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server (again), and wait until it answers."""
        self._socket.unlink(missing_ok=True)
        own = {"HOME": str(self._folder), "XDG_RUNTIME_DIR": str(self._folder)}
        dropped = ("PULSE_SERVER", "DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
        outside = {k: v for k, v in self.environment.items() if k not in dropped}
        with (self._folder / "pulse.log").open("ab") as log:
            self._server = subprocess.Popen(
                [
                    *("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no"),
                    *("--exit-idle-time=-1", "--disallow-exit", "--log-target=stderr"),
                    f"--load=module-native-protocol-unix socket={self._socket} auth-anonymous=1",
                    f"--load=module-null-sink sink_name={SINK}",
                ],
                env={**outside, **own},
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self._wait_until(self._answers)
        # A null sink that plays nothing has given two seconds in advance; a microphone does not.
        self._silence = subprocess.Popen(
            ["pacat", "--raw", f"--latency-msec={SILENCE_LATENCY_MS}", "/dev/zero"],
            env=self.environment,
        )
        self._wait_until(lambda: 0 < self._latency_s() < 0.1)

    def kill(self) -> None:
        """End the server, as if it had crashed. Nothing if there is none."""
        for process in (self._player, self._silence, self._server):
            if process is not None:
                process.kill()
                process.wait()
        self._player = self._silence = self._server = None

    def play(self, path: Path, *, wait: bool = True) -> None:
        """Play a sound file in real time, to its end or in the background."""
        command = ["paplay", f"--latency-msec={PLAY_LATENCY_MS}", str(path)]
        self._player = subprocess.Popen(command, env=self.environment)
        if wait:
            assert self._player.wait() == 0

    def mute(self, muted: bool) -> None:
        """Make the microphone give exact zeros, or its sound again."""
        self.control("set-source-mute", f"{SINK}.monitor", str(int(muted)))

    def suspend(self, suspended: bool) -> None:
        """Make the output, and with it the microphone, give nothing at all, or go on."""
        self.control("suspend-sink", SINK, str(int(suspended)))

    def control(self, *arguments: str) -> str:
        """What ``pactl`` answers to these arguments."""
        answer = subprocess.run(
            ["pactl", *arguments],
            env={**self.environment, "LC_ALL": "C"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=LIMIT_S,
        )
        return answer.stdout.strip()

    def _answers(self) -> bool:
        asked = ["pactl", "info"]
        return not subprocess.run(asked, env=self.environment, capture_output=True).returncode

    def _latency_s(self) -> float:
        told = re.search(r"Latency: (\d+) usec", self.control("list", "sinks"))
        return int(told[1]) / 1e6 if told else 0.0

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        until_s = time.monotonic() + LIMIT_S
        while not condition():
            log = self._folder / "pulse.log"
            assert self._server is not None
            assert self._server.poll() is None, log.read_text()
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.05)
