"""PortAudio's faults, which are scripted, and its absence, which is real."""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sources import _portaudio
from sources._device import Inbox
from sources.microphone import MicrophoneSource, input_devices
from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError, SourceError

ROOT = Path(__file__).parent.parent


class FakeError(Exception):
    pass


class FakeStream:
    """Delivers a block when it is started; stopping may hang."""

    hang: threading.Event | None = None

    def __init__(self, system: FakeSystem, **options: Any) -> None:
        if system.busy:
            raise FakeError("Device unavailable")
        self.system = system
        self.options = options
        self.open = True
        system.streams.append(self)

    def start(self) -> None:
        if self.system.fails_to_start:
            raise FakeError("Invalid sample rate")
        self.deliver(overflowed=True)
        self.deliver()

    def deliver(self, overflowed: bool = False) -> None:
        block = np.full((4410, self.options["channels"]), 0.5, np.float32)
        flags = SimpleNamespace(input_overflow=overflowed)
        self.options["callback"](block, len(block), None, flags)
        block[:] = -1.0  # PortAudio uses its buffer again

    def abort(self, ignore_errors: bool) -> None:
        assert ignore_errors
        if self.system.hang is not None:
            self.system.hang.wait(5.0)
        self.options["finished_callback"]()

    def close(self, ignore_errors: bool) -> None:
        assert ignore_errors
        self.open = False


class FakeSystem:
    """What of the package ``sounddevice`` is used. Devices appear when it is initialised."""

    PortAudioError = FakeError
    hosts: Sequence[str] = ("ALSA",)

    def __init__(self, *names: str) -> None:
        self.plugged = list(names)
        self.devices: list[dict[str, Any]] = []
        self.streams: list[FakeStream] = []
        self.busy = self.fails_to_start = False
        self.hang: threading.Event | None = None
        self.threads: set[int] = set()
        self._initialized = 0
        self._initialize()

    def InputStream(self, **options: Any) -> FakeStream:  # noqa: N802 - its name
        return FakeStream(self, **options)

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": name} for name in self.hosts]

    def query_devices(self, kind: str = "") -> Any:
        self.threads.add(threading.get_ident())
        if not kind:
            return self.devices
        if not self.devices:
            raise FakeError("Error querying device -1")
        return self.devices[-1]

    def _initialize(self) -> None:
        self._initialized += 1
        self.devices = [
            {
                "index": index,
                "name": name,
                "hostapi": host,
                "max_input_channels": 0 if "speaker" in name else 8,
                "default_samplerate": 44100.0,
            }
            for index, (host, name) in enumerate(product(range(len(self.hosts)), self.plugged))
        ]

    def _terminate(self) -> None:
        assert not any(stream.open for stream in self.streams)
        self._initialized -= 1

    def _exit_handler(self) -> None:
        raise AssertionError("called at exit")


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    fake = FakeSystem("speaker", "USB one", "USB two")
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(_portaudio, "_open", set())
    return fake


async def first_chunk(source: MicrophoneSource) -> AudioChunk:
    async with source:
        chunk = await anext(source)
        assert isinstance(chunk, AudioChunk)
        return chunk


def test_a_device_is_opened_at_its_rate_with_two_channels_at_most(system: FakeSystem) -> None:
    chunk = asyncio.run(first_chunk(MicrophoneSource("one")))
    (stream,) = system.streams
    assert stream.options["device"] == 1
    assert stream.options["samplerate"] == 44_100
    assert stream.options["channels"] == 2
    assert not stream.open
    assert np.allclose(chunk.samples[100:1500], 0.5, atol=1e-3)  # copied in time


def test_inputs_are_listed_and_the_default_is_marked(system: FakeSystem) -> None:
    listed = [(d.index, d.name, d.channels, d.rate, d.default) for d in input_devices()]
    assert listed == [(1, "USB one", 8, 44_100, False), (2, "USB two", 8, 44_100, True)]


def test_all_calls_are_made_on_one_thread(system: FakeSystem) -> None:
    for _ in range(3):
        asyncio.run(first_chunk(MicrophoneSource()))
        input_devices()
    (thread,) = system.threads
    assert thread != threading.get_ident()


@pytest.mark.parametrize("fault", ["busy", "fails_to_start"])
def test_a_device_that_cannot_be_opened_is_an_error_at_once_and_is_left_closed(
    system: FakeSystem, fault: str
) -> None:
    setattr(system, fault, True)
    with pytest.raises(SourceError, match='microphone "USB two" cannot be opened'):
        asyncio.run(first_chunk(MicrophoneSource()))
    assert not any(stream.open for stream in system.streams)
    setattr(system, fault, False)
    asyncio.run(first_chunk(MicrophoneSource()))


def test_a_device_plugged_in_later_is_found(system: FakeSystem) -> None:
    with pytest.raises(SourceError, match="no microphone is called 'three'"):
        asyncio.run(first_chunk(MicrophoneSource("three")))
    system.plugged.append("USB three")
    asyncio.run(first_chunk(MicrophoneSource("three")))


def test_what_an_open_stream_needs_is_not_initialised_again(system: FakeSystem) -> None:
    async def open_two() -> None:
        async with MicrophoneSource("one"):
            system.plugged.append("USB three")
            async with MicrophoneSource("two"):
                assert [stream.open for stream in system.streams] == [True, True]
            with pytest.raises(SourceError, match="three"):
                await first_chunk(MicrophoneSource("three"))
        await first_chunk(MicrophoneSource("three"))

    asyncio.run(open_two())


def test_a_device_that_was_named_by_index_is_found_again_by_name(system: FakeSystem) -> None:
    async def replug() -> None:
        microphone = _portaudio.Microphone(1)
        inbox = Inbox()
        await (await microphone.open(inbox)).close()
        system.plugged.insert(0, "HDMI")
        connection = await microphone.open(inbox)
        assert connection.name == 'microphone "USB one"'
        assert system.streams[-1].options["device"] == 2
        await connection.close()

    asyncio.run(replug())


def test_a_device_that_shares_its_name_is_found_again(system: FakeSystem) -> None:
    """As on Windows, which shows each device once for each host."""
    system.hosts = ("MME", "WASAPI", "DirectSound")
    system.plugged = ["USB twin", "USB twin", "line in"]

    async def scenario() -> None:
        microphone = _portaudio.Microphone(4)  # the second twin of the host in the middle
        await (await microphone.open(Inbox())).close()
        system.plugged.insert(0, "speaker")
        await (await microphone.open(Inbox())).close()

    asyncio.run(scenario())
    assert [stream.options["device"] for stream in system.streams] == [4, 6]


def test_an_overflow_that_portaudio_flags_reaches_the_inbox(system: FakeSystem) -> None:
    async def read() -> list[bool]:
        inbox = Inbox()
        connection = await _portaudio.Microphone(None).open(inbox)
        blocks = [await inbox.get(asyncio.get_running_loop().time() + 5.0) for _ in range(2)]
        await connection.close()
        return [block.overflowed for block in blocks if block is not None]

    assert asyncio.run(read()) == [True, False]


@pytest.fixture
def hang(system: FakeSystem) -> Iterator[threading.Event]:
    system.hang = threading.Event()
    yield system.hang
    system.hang.set()
    _portaudio._thread.wait(lambda: None, timeout_s=5.0)


def test_a_stream_that_hangs_when_closed_holds_up_neither_closing_nor_the_exit(
    system: FakeSystem, hang: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "unregister", forgotten.append)

    async def leave() -> float:
        loop = asyncio.get_running_loop()
        async with MicrophoneSource():
            before_s = loop.time()
        return loop.time() - before_s

    assert asyncio.run(leave()) < 1.5
    assert forgotten == [system._exit_handler]
    monkeypatch.setattr(_portaudio, "TIMEOUT_S", 0.1)
    with pytest.raises(SourceError, match="does not answer"):
        asyncio.run(first_chunk(MicrophoneSource()))
    with pytest.raises(SourceError, match="does not answer"):
        input_devices()


def test_a_machine_without_inputs_says_so(system: FakeSystem) -> None:
    system.plugged = ["speaker"]
    with pytest.raises(SourceError, match="there is no microphone"):
        asyncio.run(first_chunk(MicrophoneSource()))


def test_an_impossible_chunk_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        MicrophoneSource(chunk_s=60.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it is in the wheel")
def test_a_missing_library_says_what_to_install() -> None:
    program = """
import ctypes.util
ctypes.util.find_library = lambda name: None
from sources.microphone import input_devices
try:
    input_devices()
except Exception as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith("SourceError")
    assert "apt install libportaudio2" in told.stdout
