"""Audio of a client's chunks to 16 kHz, in every form."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.app.server.refusal import Refusal
from streaming.app.wyoming.inflow import Inflow
from streaming.app.wyoming.pcm import PcmDecoder, PcmFormat
from streaming.audio import AudioChunk, Samples
from streaming.channel import ChannelClosed


def decoded(form: PcmFormat, data: bytes, cuts: list[int]) -> Samples:
    whole = form.width * form.channels
    edges = [0, *sorted(min(cut * whole, len(data)) for cut in cuts), len(data)]
    decoder = PcmDecoder(form)
    pieces = [decoder.push(data[a:b]) for a, b in pairwise(edges)]
    return np.concatenate([*pieces, decoder.flush()])


@pytest.mark.parametrize(
    ("width", "low", "high", "zero"),
    [
        (1, b"\x00", b"\xff", b"\x80"),
        (2, b"\x00\x80", b"\xff\x7f", b"\x00\x00"),
        (3, b"\x00\x00\x80", b"\xff\xff\x7f", b"\x00\x00\x00"),
        (4, b"\x00\x00\x00\x80", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00"),
    ],
)
def test_each_width_has_its_full_scale(width: int, low: bytes, high: bytes, zero: bytes) -> None:
    samples = decoded(PcmFormat(16_000, width, 1), low + high + zero, [])
    assert samples == pytest.approx([-1.0, 1.0, 0.0], abs=0.01)
    assert samples[0] == -1
    assert samples[2] == 0


def test_channels_are_averaged() -> None:
    data = np.array([16_384, 0, -16_384, -16_384], "<i2").tobytes()
    assert decoded(PcmFormat(16_000, 2, 2), data, []).tolist() == [0.25, -0.5]


@settings(deadline=None)
@given(
    st.binary(max_size=4_000),
    st.lists(st.integers(0, 2_000), max_size=5),
    st.sampled_from([8_000, 16_000, 44_100]),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_it_does_not_matter_how_audio_is_cut(
    data: bytes, cuts: list[int], rate: int, width: int, channels: int
) -> None:
    form = PcmFormat(rate, width, channels)
    data = data[: len(data) - len(data) % (width * channels)]
    whole, cut = decoded(form, data, []), decoded(form, data, cuts)
    np.testing.assert_array_equal(whole, cut)
    n_frames = len(data) // (width * channels)
    assert abs(len(whole) - n_frames * 16_000 / rate) <= 1


@pytest.mark.parametrize("bad", [None, True, 2.0, "2", [2]])
@pytest.mark.parametrize("name", ["rate", "width", "channels"])
def test_a_form_is_three_whole_numbers(name: str, bad: object) -> None:
    with pytest.raises(Refusal, match="whole numbers"):
        PcmFormat.read({"rate": 16_000, "width": 2, "channels": 1, name: bad})


def test_audio_waits_where_nobody_takes_it() -> None:
    async def run() -> None:
        inflow = Inflow()
        second = np.ones(16_000, np.float32)
        await inflow.put(second)
        assert await inflow.begun()
        putting = asyncio.create_task(inflow.put(np.concatenate([second] * 19)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not putting.done()
        assert inflow.audio_s <= 10.1
        taken = 0
        async for item in inflow:
            assert isinstance(item, AudioChunk)
            assert item.start_sample == taken
            taken += len(item.samples)
            if putting.done():
                inflow.end()
        assert taken == 20 * 16_000
        with pytest.raises(ChannelClosed):
            await inflow.put(second)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_audio_that_ends_without_any_has_not_begun() -> None:
    async def run() -> bool:
        inflow = Inflow()
        inflow.end()
        return await inflow.begun()

    assert not asyncio.run(run())
