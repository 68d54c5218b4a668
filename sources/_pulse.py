"""Monitors of PulseAudio and PipeWire sinks, recorded by the program ``parec``.

A program of the sound server's own rather than a binding: it speaks to either server, it ends
when the server does, and it can be killed whatever state the server is in.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from streaming.errors import SourceError

from ._device import Connection, Inbox
from ._listing import DeviceInfo, find_device
from ._serial import SerialThread

__all__ = ["PulseMonitor", "list_monitors"]

TIMEOUT_S = 5.0
"""For a question to the server; it answers within milliseconds."""
LATENCY_MS = 50
READ_BYTES = 65_536
FRAME_BYTES = 4
"""One channel of float32."""
MISSING = (
    "recording what this machine plays needs parec and pactl; on Debian: "
    "apt install pulseaudio-utils"
)
HANGS = "the sound server does not answer; restart it"

_thread = SerialThread("loopback")


def list_monitors() -> list[DeviceInfo]:
    """Every sink whose sound can be recorded; blocks.

    Raises:
        SourceError: the programs are missing, or the server does not answer.
    """
    default = re.search(r"^Default Sink: (.*)$", _ask("info"), re.MULTILINE)
    default_sink = default[1] if default else ""
    monitors = []
    for text in re.split(r"^Source #", _ask("list", "sources"), flags=re.MULTILINE)[1:]:
        facts = dict(re.findall(r"^\s+([A-Z][A-Za-z ]+): (.*)$", text, re.MULTILINE))
        spec = re.search(r"(\d+)ch (\d+)Hz", facts.get("Sample Specification", ""))
        if facts.get("Monitor of Sink", "n/a") == "n/a" or not spec:
            continue
        monitors.append(
            DeviceInfo(
                index=int(text.split(maxsplit=1)[0]),
                name=facts["Description"].removeprefix("Monitor of "),
                host="PulseAudio",
                channels=int(spec[1]),
                rate=int(spec[2]),
                default=facts["Monitor of Sink"] == default_sink,
                id=facts["Name"],
            )
        )
    return monitors


class PulseMonitor:
    """What a sink plays, as a `Device`.

    Args:
        wanted: see `find_device`; None is the server's default sink at the time of opening.
    """

    def __init__(self, wanted: int | str | None) -> None:
        self._wanted = wanted

    async def open(self, inbox: Inbox) -> Connection:
        """Start recording."""
        try:
            # Two questions, each of which has its own limit, and a start.
            return await _thread.call(
                lambda: self._start(inbox), timeout_s=3 * TIMEOUT_S, undo=_Recorder.stop
            )
        except TimeoutError:
            raise SourceError(HANGS) from None

    def _start(self, inbox: Inbox) -> _Recorder:
        sink = find_device(list_monitors(), self._wanted, "output")
        if self._wanted is not None:
            self._wanted = sink.id
        return _Recorder(sink, inbox)


class _Recorder:
    """A running ``parec``."""

    def __init__(self, sink: DeviceInfo, inbox: Inbox) -> None:
        self.name = f'output "{sink.name}"'
        self._inbox = inbox
        self._rate = sink.rate
        try:
            self._process = subprocess.Popen(
                [
                    "parec",
                    f"--device={sink.id}",
                    "--client-name=stream-transcribe",
                    "--raw",
                    "--format=float32le",
                    "--channels=1",
                    f"--rate={sink.rate}",  # the server's own resampler is a poor one
                    f"--latency-msec={LATENCY_MS}",
                    "--verbose",  # or it would not tell that it was moved
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                process_group=0,  # Ctrl-C is for us, who then still have audio to finish
            )
        except FileNotFoundError:
            raise SourceError(MISSING) from None
        threading.Thread(target=self._read, name="parec", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with self._process.stdout as stdout, self._process.stderr as stderr:
            why = _Pump(stdout.fileno(), stderr.fileno()).run(self._deliver)
        self.stop()
        self._inbox.end(why)

    def _deliver(self, data: bytes) -> None:
        self._inbox.put(np.frombuffer(data, "<f4"), self._rate)

    def stop(self) -> None:
        """End it; blocks for some milliseconds."""
        self._process.kill()
        self._process.wait()

    async def close(self) -> None:
        with suppress(TimeoutError):
            await _thread.call(self.stop, timeout_s=0.5)


class _Pump:
    """Carries what ``parec`` writes, and hears what it says.

    When a sink goes away the server moves who records it to its default source: to a microphone,
    that is, which nobody asked for. ``parec`` says so before it writes the first of that.
    """

    def __init__(self, audio: int, words: int) -> None:
        self._audio = audio
        self._words = words
        self._said = b""
        os.set_blocking(words, False)

    def run(self, deliver: Callable[[bytes], None]) -> str:
        """Until the end; returns why it came."""
        held = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._audio, selectors.EVENT_READ)
            selector.register(self._words, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                data = os.read(self._audio, READ_BYTES) if self._audio in ready else None
                if self._listen() and self._words in ready:
                    selector.unregister(self._words)
                if b"Stream moved" in self._said:
                    return "it was removed"
                if data == b"":
                    return self._last_words()
                held += data or b""
                whole = len(held) - len(held) % FRAME_BYTES
                if whole:
                    deliver(held[:whole])
                held = held[whole:]

    def _listen(self) -> bool:
        """Take what was said; True once it says nothing more."""
        with suppress(BlockingIOError):
            while words := os.read(self._words, READ_BYTES):
                # The time and latency that it tells all the while overwrite each other.
                self._said = (self._said + words)[-READ_BYTES:]
            return True
        return False

    def _last_words(self) -> str:
        lines = self._said.decode("utf-8", "replace").splitlines()
        telling = [line for line in lines if line.strip() and not line.startswith("Time:")]
        return telling[-1].strip() if telling else "it stopped"


def _ask(*arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["pactl", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            env=_environment(),
            check=True,
        )
    except FileNotFoundError:
        raise SourceError(MISSING) from None
    except subprocess.TimeoutExpired:
        raise SourceError(HANGS) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        raise SourceError(
            f"no PulseAudio or PipeWire server can be reached ({said}); start one"
        ) from None
    return answer.stdout.decode("utf-8", "replace")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}  # answers are read by a program
