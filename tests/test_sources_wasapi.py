"""The Windows adapter against what it uses of PyAudioWPatch, since the package runs there alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pytest

from sources import loopback
from sources.loopback import LoopbackSource, loopback_devices
from streaming.audio import AudioChunk
from streaming.errors import SourceError


class FakeStream:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakePyAudio:
    def __init__(self, module: FakeModule) -> None:
        self._module = module
        module.running += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    def terminate(self) -> None:
        self._module.running -= 1

    def get_default_wasapi_loopback(self) -> dict[str, Any]:
        if self._module.outputs:
            return self._module.outputs[0]
        raise LookupError

    def get_loopback_device_info_generator(self) -> Iterator[dict[str, Any]]:
        yield from self._module.outputs

    def open(self, **options: Any) -> FakeStream:
        if self._module.refuses:
            raise OSError("Invalid device")
        stream = FakeStream(options)
        self._module.streams.append(stream)
        block = np.full((4800, options["channels"]), 0.5, np.float32).tobytes()
        for status in (0, self._module.paInputOverflow):
            assert options["stream_callback"](block, 4800, {}, status) == (None, 0)
        return stream


class FakeModule:
    paContinue = 0  # noqa: N815 - its name
    paFloat32 = 1  # noqa: N815
    paInputOverflow = 2  # noqa: N815

    def __init__(self) -> None:
        self.outputs = [
            {
                "index": 10 + n,
                "name": name,
                "maxInputChannels": channels,
                "defaultSampleRate": 48000.0,
            }
            for n, (name, channels) in enumerate(
                [("Speakers [Loopback]", 8), ("Headset [Loopback]", 2)]
            )
        ]
        self.streams: list[FakeStream] = []
        self.running = 0
        self.refuses = False

    def PyAudio(self) -> FakePyAudio:  # noqa: N802
        return FakePyAudio(self)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> FakeModule:
    module = FakeModule()
    monkeypatch.setattr(loopback, "SYSTEM", "Windows")
    monkeypatch.setitem(sys.modules, "pyaudiowpatch", module)
    return module


async def first_chunk(source: LoopbackSource) -> AudioChunk:
    async with source:
        chunk = await anext(source)
        assert isinstance(chunk, AudioChunk)
        return chunk


def test_outputs_are_listed_and_the_default_is_marked(windows: FakeModule) -> None:
    listed = [(d.index, d.name, d.channels, d.rate, d.default) for d in loopback_devices()]
    assert listed == [
        (10, "Speakers [Loopback]", 8, 48_000, True),
        (11, "Headset [Loopback]", 2, 48_000, False),
    ]
    assert windows.running == 0


def test_an_output_is_opened_with_all_its_channels_and_closed_again(windows: FakeModule) -> None:
    chunk = asyncio.run(first_chunk(LoopbackSource("speakers")))
    assert np.allclose(chunk.samples[100:1500], 0.5, atol=1e-3)
    (stream,) = windows.streams
    assert stream.options["input_device_index"] == 10
    assert stream.options["channels"] == 8
    assert stream.options["rate"] == 48_000
    assert stream.closed
    assert windows.running == 0


@pytest.mark.parametrize("name", ["speakers", "nothing"])
def test_an_output_that_cannot_be_opened_leaves_nothing_running(
    windows: FakeModule, name: str
) -> None:
    windows.refuses = True
    with pytest.raises(SourceError, match=r"Invalid device|no output is called"):
        asyncio.run(first_chunk(LoopbackSource(name)))
    assert windows.running == 0


def test_a_missing_package_is_told(windows: FakeModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudiowpatch", None)
    with pytest.raises(SourceError, match="pip install PyAudioWPatch"):
        loopback_devices()
    with pytest.raises(SourceError, match="pip install PyAudioWPatch"):
        asyncio.run(first_chunk(LoopbackSource()))
