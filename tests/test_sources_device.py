"""Stalls, faults and reconnecting, with a scripted device on virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest
from virtual_time import run_virtual

from sources._device import DeviceSource, Inbox
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, seconds
from streaming.errors import ConfigurationError, SourceError
from streaming.events import Notice
from streaming.protocols import SourceItem
from streaming.testing import check_source

RATE = 48_000
BLOCK_S = 0.05


@dataclass
class Sound:
    """Deliver audio in real time."""

    duration_s: float
    level: float = 0.25
    overflowed: bool = False


@dataclass
class Quiet:
    """Deliver nothing."""

    duration_s: float = 1e9


@dataclass
class Death:
    """Stop by itself."""

    why: str = "unplugged"


Script = Sequence[Sound | Quiet | Death]


class ScriptedDevice:
    """Each opening plays the next script, or fails with the next error; the last one repeats."""

    def __init__(self, *openings: Script | str) -> None:
        self._openings = itertools.chain(openings, itertools.repeat(openings[-1]))
        self.tried_s: list[float] = []
        self.open_connections = 0

    async def open(self, inbox: Inbox) -> ScriptedConnection:
        self.tried_s.append(asyncio.get_running_loop().time())
        opening = next(self._openings)
        if isinstance(opening, str):
            raise SourceError(opening)
        self.open_connections += 1
        return ScriptedConnection(self, inbox, opening)


class ScriptedConnection:
    name = 'microphone "M"'

    def __init__(self, device: ScriptedDevice, inbox: Inbox, script: Script) -> None:
        self._device = device
        self._playing = asyncio.create_task(self._play(inbox, script))

    async def close(self) -> None:
        self._playing.cancel()
        self._device.open_connections -= 1

    async def _play(self, inbox: Inbox, script: Script) -> None:
        for step in script:
            if isinstance(step, Death):
                inbox.end(step.why)
                return
            if isinstance(step, Quiet):
                await asyncio.sleep(step.duration_s)
                continue
            for n in range(round(step.duration_s / BLOCK_S)):
                await asyncio.sleep(BLOCK_S)
                frames = np.full((round(BLOCK_S * RATE), 2), step.level, np.float32)
                inbox.put(frames, RATE, overflowed=step.overflowed and n == 0)


ON = [Sound(1e6)]


@dataclass
class Heard:
    """What a source yielded, and when."""

    items: list[tuple[float, SourceItem]]
    error: str = ""

    @property
    def chunks(self) -> list[AudioChunk]:
        return [item for _, item in self.items if isinstance(item, AudioChunk)]

    @property
    def story(self) -> list[str]:
        """Notices, flushes and gaps, in order; the sound between them in one word."""
        told: list[str] = []
        end = 0
        for _, item in self.items:
            if isinstance(item, Flush):
                told.append("flush")
            elif isinstance(item, Notice):
                told.append(item.code)
            else:
                if item.gap_reason:
                    told.append(f"{item.gap_reason} {seconds(item.start_sample - end):.1f} s")
                elif not told or told[-1] != "sound":
                    told.append("sound")
                end = item.end_sample
        return told


def source(
    device: ScriptedDevice, *, reconnect: bool = True, may_pause: bool = False
) -> DeviceSource:
    return DeviceSource(device, chunk_s=0.1, reconnect=reconnect, may_pause=may_pause)


def listen(
    device: ScriptedDevice, until_s: float, *, reconnect: bool = True, may_pause: bool = False
) -> Heard:
    """Iterate until that time; the device is closed after it."""

    async def collect() -> Heard:
        loop = asyncio.get_running_loop()
        heard = Heard([])
        try:
            async with (
                source(device, reconnect=reconnect, may_pause=may_pause) as items,
                asyncio.timeout_at(until_s),
            ):
                async for item in items:
                    heard.items.append((loop.time(), item))
        except TimeoutError:
            pass
        except SourceError as error:
            heard.error = str(error)
        assert device.open_connections == 0
        return heard

    return run_virtual(collect())


def test_audio_comes_at_16_khz_as_it_is_heard() -> None:
    heard = listen(ScriptedDevice(ON), 10.0)
    assert heard.story == ["sound"]
    assert heard.chunks[-1].end_sample >= 9.8 * SAMPLE_RATE
    for time_s, item in heard.items:
        assert isinstance(item, AudioChunk)
        assert 0 <= time_s - seconds(item.end_sample) < 0.1
    assert np.allclose(heard.chunks[20].samples, 0.25, atol=1e-3)


def test_a_device_keeps_the_contract_of_sources() -> None:
    run_virtual(check_source(lambda: source(ScriptedDevice(ON)), ends=False))


def test_a_device_that_is_absent_at_the_start_is_an_error_at_once() -> None:
    heard = listen(ScriptedDevice("there is no such thing"), 10.0)
    assert heard.error == "there is no such thing"
    assert not heard.items


def test_a_source_is_read_only_inside_its_context() -> None:
    async def read() -> None:
        items = source(ScriptedDevice(ON))
        with pytest.raises(SourceError, match="inside"):
            await anext(items)
        async with items:
            await anext(items)
        with pytest.raises(SourceError, match="left"):
            await anext(items)

    run_virtual(read())


def test_an_impossible_chunk_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        DeviceSource(ScriptedDevice(ON), chunk_s=0.0, reconnect=True)


def test_what_was_said_while_a_model_was_loading_is_heard() -> None:
    async def read() -> AudioChunk:
        async with source(ScriptedDevice(ON)) as items:
            await asyncio.sleep(5.0)
            chunk = await anext(items)
            assert isinstance(chunk, AudioChunk)
            for _ in range(49):
                last = await anext(items)
                assert isinstance(last, AudioChunk)
                assert not last.gap_reason
            assert asyncio.get_running_loop().time() < 5.1
            return chunk

    chunk = run_virtual(read())
    assert (chunk.start_sample, chunk.gap_reason) == (0, "")


def test_a_model_that_loads_for_long_starts_the_stream_later_without_a_gap() -> None:
    async def read() -> None:
        async with source(ScriptedDevice(ON)) as items:
            await asyncio.sleep(60.0)
            position = 0
            for _ in range(100):
                chunk = await anext(items)
                assert isinstance(chunk, AudioChunk)
                assert (chunk.start_sample, chunk.gap_reason) == (position, "")
                position = chunk.end_sample
            assert asyncio.get_running_loop().time() < 60.2

    run_virtual(read())


def test_what_a_busy_reader_leaves_too_long_is_an_exact_gap() -> None:
    async def read() -> None:
        loop = asyncio.get_running_loop()
        async with source(ScriptedDevice(ON)) as items:

            async def chunk() -> AudioChunk:
                item = await anext(items)
                assert isinstance(item, AudioChunk)
                return item

            while loop.time() < 2.0:
                before = await chunk()
            await asyncio.sleep(30.0)
            while not (after := await chunk()).gap_reason:
                before = after
            assert after.gap_reason == "overflow"
            lost_s = seconds(after.start_sample - before.end_sample)
            assert lost_s == pytest.approx(20.0, abs=0.11)
            assert loop.time() - seconds(after.start_sample) == pytest.approx(10.0, abs=0.11)

    run_virtual(read())


def test_an_overflow_that_the_sound_system_tells_of_is_a_gap_as_long_as_the_clock_says() -> None:
    script: Script = [Sound(3.0), Quiet(0.5), Sound(3.0, overflowed=True)]
    assert listen(ScriptedDevice(script), 5.0).story == ["sound", "overflow 0.5 s", "sound"]


def test_a_device_that_dies_is_opened_again_and_the_break_is_a_gap() -> None:
    device = ScriptedDevice([Sound(3.0), Death()], "gone", "gone", ON)
    heard = listen(device, 12.0)
    assert heard.story == [
        "sound",
        "flush",
        "reconnecting",
        "reconnected",
        "reconnect 3.5 s",
        "sound",
    ]
    assert device.tried_s == pytest.approx([0.0, 3.5, 4.5, 6.5])
    notices = {item.code: (t, item) for t, item in heard.items if isinstance(item, Notice)}
    told_s, notice = notices["reconnecting"]
    assert told_s == pytest.approx(3.0)
    assert (notice.level, "unplugged" in notice.message) == ("warning", True)
    told_s, notice = notices["reconnected"]
    assert told_s == pytest.approx(6.55)
    assert (notice.level, "back after 3.5 s" in notice.message) == ("info", True)
    for time_s, item in heard.items:
        if isinstance(item, AudioChunk) and item.start_sample > 7.0 * SAMPLE_RATE:
            assert 0 <= time_s - seconds(item.end_sample) < 0.1


def test_what_was_said_last_is_not_kept_back_while_the_device_is_gone() -> None:
    heard = listen(ScriptedDevice([Sound(1.25), Death()], "gone"), 20.0)
    assert heard.chunks[-1].end_sample == round(1.25 * SAMPLE_RATE)
    assert all(time_s < 1.3 for time_s, _ in heard.items)


def test_attempts_become_rarer_and_are_made_for_ever() -> None:
    device = ScriptedDevice([Sound(1.0), Death()], "gone")
    heard = listen(device, 100.0)
    waits = np.diff(device.tried_s[1:])
    assert waits == pytest.approx([1, 2, 4, 8, *[10] * 8])
    assert heard.story == ["sound", "flush", "reconnecting"]


def test_after_a_reconnect_the_waits_are_short_again() -> None:
    device = ScriptedDevice([Sound(1.0), Death()], *["gone"] * 5, [Sound(5.0), Death()], ON)
    heard = listen(device, 60.0)
    assert heard.story.count("reconnected") == 2
    assert heard.story[-1] == "sound"
    assert heard.story[-2] == "reconnect 0.5 s"


def test_a_device_that_delivers_nothing_is_told_and_opened_again() -> None:
    device = ScriptedDevice([Sound(1.0), Quiet()], ON)
    assert listen(device, 8.0).story == [
        "sound",
        "no_audio",
        "flush",
        "reconnecting",
        "reconnected",
        "reconnect 3.5 s",
        "sound",
    ]
    assert device.tried_s == pytest.approx([0.0, 4.5])


def test_a_device_that_can_be_opened_and_still_delivers_nothing_is_told_of_once() -> None:
    device = ScriptedDevice([Sound(1.0), Quiet()], *[[Quiet()]] * 3, ON)
    heard = listen(device, 60.0)
    assert heard.story[:4] == ["sound", "no_audio", "flush", "reconnecting"]
    assert heard.story[4:] == ["reconnected", "reconnect 19.5 s", "sound"]


def test_a_device_that_never_delivers_anything_is_told() -> None:
    heard = listen(ScriptedDevice([Quiet()]), 30.0)
    assert heard.story == ["no_audio", "flush", "reconnecting"]
    assert heard.items[0][0] == pytest.approx(3.0)


def test_a_pause_shorter_than_a_stall_is_a_gap_and_no_more() -> None:
    script: Script = [Sound(2.0), Quiet(2.0), Sound(9.0)]
    assert listen(ScriptedDevice(script), 8.0).story == ["sound", "stall 2.0 s", "sound"]


@pytest.mark.parametrize("end", [Death(), Quiet()])
def test_without_reconnecting_a_device_that_is_gone_is_an_error_after_its_audio(
    end: Death | Quiet,
) -> None:
    heard = listen(ScriptedDevice([Sound(1.25), end], ON), 20.0, reconnect=False)
    assert 'microphone "M" is gone' in heard.error
    assert heard.chunks[-1].end_sample == round(1.25 * SAMPLE_RATE)
    assert heard.story == ["sound"] + (["no_audio"] if isinstance(end, Quiet) else [])


def test_a_muted_microphone_is_told_of_once_until_sound_comes_back() -> None:
    script = [Sound(1.0), Sound(20.0, level=0.0), Sound(1.0), Sound(20.0, level=0.0)]
    heard = listen(ScriptedDevice(script), 30.0)
    assert [code for code in heard.story if code != "sound"] == [
        "silent_input",
        "sound_back",
        "silent_input",
    ]
    first_s = next(time_s for time_s, item in heard.items if isinstance(item, Notice))
    assert first_s == pytest.approx(4.0, abs=0.1)


def test_a_monitor_that_plays_zeros_or_nothing_gives_silence_on_time() -> None:
    script: Script = [Sound(5.0, level=0.0), Quiet(8.0), Sound(2.0), Quiet()]
    heard = listen(ScriptedDevice(script), 60.0, may_pause=True)
    assert heard.story == ["sound"]
    for time_s, item in heard.items:
        assert isinstance(item, AudioChunk)
        assert 0 <= time_s - seconds(item.end_sample) < 1.0
    whole = np.concatenate([chunk.samples for chunk in heard.chunks])
    loud = np.flatnonzero(np.abs(whole) > 0.1) / SAMPLE_RATE
    assert (loud[0], loud[-1]) == pytest.approx((13.0, 15.0), abs=0.05)


def test_a_monitor_that_never_plays_gives_silence_from_the_start() -> None:
    heard = listen(ScriptedDevice([Quiet()]), 10.0, may_pause=True)
    assert heard.story == ["sound"]
    assert seconds(heard.chunks[-1].end_sample) == pytest.approx(9.2, abs=0.3)


def test_a_monitor_that_dies_is_opened_again() -> None:
    heard = listen(ScriptedDevice([Sound(2.0), Death()], "gone", ON), 10.0, may_pause=True)
    assert heard.story == [
        "sound",
        "flush",
        "reconnecting",
        "reconnected",
        "reconnect 1.5 s",
        "sound",
    ]


def test_a_monitor_that_comes_back_and_plays_nothing_is_back_and_the_break_is_a_gap() -> None:
    script: Script = [Quiet(4.0), Sound(1.0), Quiet()]
    heard = listen(ScriptedDevice([Sound(2.0), Death()], "gone", script), 20.0, may_pause=True)
    assert heard.story == [
        "sound",
        "flush",
        "reconnecting",
        "reconnected",
        "reconnect 1.7 s",
        "sound",
    ]
    whole = np.concatenate([np.zeros(round(1.7 * SAMPLE_RATE)), *(c.samples for c in heard.chunks)])
    assert np.flatnonzero(np.abs(whole) > 0.1)[-1] / SAMPLE_RATE == pytest.approx(8.5, abs=0.05)


@pytest.mark.parametrize("after_s", [0.5, 3.2, 4.0, 20.0])
def test_a_cancelled_wait_ends_at_once_and_iteration_can_go_on(after_s: float) -> None:
    device = ScriptedDevice([Sound(3.0), Death()], *["gone"] * 4, ON)

    async def read() -> None:
        loop = asyncio.get_running_loop()
        async with source(device) as items:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(after_s):
                    async for _ in items:
                        pass
            assert loop.time() == pytest.approx(after_s)
            async with asyncio.timeout(60.0):
                async for item in items:
                    if isinstance(item, AudioChunk) and item.start_sample > 25 * SAMPLE_RATE:
                        break
        assert device.open_connections == 0

    run_virtual(read())


def test_a_thread_can_deliver_and_what_comes_after_the_loop_is_gone_does_no_harm() -> None:
    async def make() -> Inbox:
        inbox = Inbox()
        put = asyncio.to_thread(inbox.put, np.zeros(160, np.float32), SAMPLE_RATE)
        block, _ = await asyncio.gather(inbox.get(asyncio.get_running_loop().time() + 5.0), put)
        assert block is not None
        return inbox

    inbox = asyncio.run(make())
    inbox.put(np.zeros(160, np.float32), SAMPLE_RATE)
    inbox.end("over")
