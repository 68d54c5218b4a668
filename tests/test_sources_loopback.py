"""What a private sound server plays, recorded in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pulse import PulseServer, needs_pulse
from sounds import write_wav
from system_parts import needs

from sources import loopback
from sources.loopback import LoopbackSource, loopback_devices
from streaming.audio import SAMPLE_RATE, AudioChunk
from streaming.errors import SourceError
from streaming.events import Notice
from streaming.testing import check_source


async def enter(source: LoopbackSource) -> None:
    async with source:
        pass


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    with PulseServer(tmp_path_factory.mktemp("pulse")) as server:
        server.control("load-module", "module-null-sink", "sink_name=headset")
        yield server


@pytest.fixture
def server(shared: PulseServer, monkeypatch: pytest.MonkeyPatch) -> PulseServer:
    monkeypatch.setenv("PULSE_SERVER", shared.environment["PULSE_SERVER"])
    return shared


@needs_pulse
def test_outputs_are_listed_with_their_rate_and_the_default(server: PulseServer) -> None:
    first, second = loopback_devices()
    assert (first.id, first.rate, first.channels, first.default) == (
        "speaker.monitor",
        44_100,
        2,
        True,
    )
    assert (second.id, second.default) == ("headset.monitor", False)


@needs_pulse
def test_loopback_keeps_the_contract_of_sources(server: PulseServer) -> None:
    asyncio.run(check_source(LoopbackSource, ends=False))


@needs_pulse
@pytest.mark.parametrize("name", ["nothing", 77])
def test_an_unknown_output_is_an_error_at_once(server: PulseServer, name: int | str) -> None:
    with pytest.raises(SourceError, match=r"no output is called .* choose one of .*Null Output"):
        asyncio.run(enter(LoopbackSource(name)))


@needs_pulse
def test_an_output_that_is_removed_is_not_replaced_by_the_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hum = write_wav(tmp_path / "hum.wav", np.full(10 * SAMPLE_RATE, 0.5, np.float32))

    async def unplug_and_plug_in(server: PulseServer) -> list[str]:
        module = server.control("load-module", "module-null-sink", "sink_name=headset")
        told: list[str] = []
        async with LoopbackSource("headset") as source, asyncio.timeout(15.0):
            async for item in source:
                if isinstance(item, AudioChunk):
                    assert not item.samples.any()  # the microphone hears the hum
                    if not told and item.end_sample > SAMPLE_RATE:
                        server.control("unload-module", module)
                        told.append("unplugged")
                    elif "reconnected" in told:
                        return told
                elif isinstance(item, Notice):
                    told.append(item.code)
                    if item.code == "reconnecting":
                        assert "was removed" in item.message
                        server.control("load-module", "module-null-sink", "sink_name=headset")
        raise AssertionError("the source ended")

    with PulseServer(tmp_path) as server:
        monkeypatch.setenv("PULSE_SERVER", server.environment["PULSE_SERVER"])
        server.play(hum, wait=False)
        told = asyncio.run(unplug_and_plug_in(server))
    assert told == ["unplugged", "reconnecting", "reconnected"]


@needs("pactl", package="pulseaudio-utils")
def test_without_a_server_the_error_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/nothing")
    with pytest.raises(SourceError) as raised:
        loopback_devices()
    assert "no PulseAudio or PipeWire server" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_system_without_loopbacks_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "SYSTEM", "Darwin")
    for ask in (LoopbackSource, loopback_devices):
        with pytest.raises(SourceError, match="BlackHole"):
            ask()


def test_missing_programs_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="apt install pulseaudio-utils"):
        asyncio.run(enter(LoopbackSource()))
