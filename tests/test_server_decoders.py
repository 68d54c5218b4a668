from __future__ import annotations

from collections.abc import Coroutine
from itertools import pairwise

import numpy as np
import pytest
from audio_files import cuts
from encoded_audio import tone
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.app.server.decoders import Decoder, make_decoder
from streaming.app.server.refusal import INVALID, UNSUPPORTED, Refusal
from streaming.audio import SAMPLE_RATE, Samples

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000)
HELD_S = 0.13
"""What a resampler holds back at most; the most at 8 kHz."""


def at_once(decoding: Coroutine[None, None, Samples]) -> Samples:
    """What comes without waiting, and so without a loop."""
    with pytest.raises(StopIteration) as done:
        decoding.send(None)
    samples: Samples = done.value.value
    return samples


def push(decoder: Decoder, data: bytes) -> Samples:
    return at_once(decoder.push(data))


def finish(decoder: Decoder) -> Samples:
    return at_once(decoder.finish())


def whole(decoder: Decoder, data: bytes) -> Samples:
    return np.concatenate([push(decoder, data), finish(decoder)])


@settings(deadline=None)
@given(
    data=st.binary(max_size=4_000),
    places=cuts(4_000),
    encoding=st.sampled_from(["s16le", "f32le"]),
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 8),
)
def test_any_cut_of_the_same_bytes_gives_the_same_samples(
    data: bytes, places: list[int], encoding: str, rate: int, channels: int
) -> None:
    expected = whole(make_decoder(encoding, rate, channels), data)
    decoder = make_decoder(encoding, rate, channels)
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    pieces = [push(decoder, data[start:end]) for start, end in pairwise(edges)]
    assert np.array_equal(np.concatenate([*pieces, finish(decoder)]), expected)
    assert decoder.position == len(data) // (channels * (2 if encoding == "s16le" else 4))
    assert len(expected) == round(decoder.position * SAMPLE_RATE / rate)
    assert expected.dtype == np.float32
    assert np.isfinite(expected).all()
    assert np.abs(expected).max(initial=0) <= 1


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 30_000)), max_size=20),
    rate=st.sampled_from(RATES),
)
def test_samples_are_numbered_by_the_clients_clock_whatever_is_skipped(
    steps: list[tuple[bool, int]], rate: int
) -> None:
    decoder = make_decoder("s16le", rate, 1)
    sent = numbered = 0
    for skipped, count in steps:
        sent += count
        if skipped:
            numbered += decoder.skip(count)
            if count:
                assert numbered == round(sent * SAMPLE_RATE / rate)
        else:
            numbered += len(push(decoder, bytes(2 * count)))
            assert -1 <= sent * SAMPLE_RATE / rate - numbered <= HELD_S * SAMPLE_RATE
        assert decoder.position == sent
    numbered += len(finish(decoder))
    assert numbered == round(sent * SAMPLE_RATE / rate)


def test_two_thousand_gaps_do_not_add_up_to_a_drift() -> None:
    decoder = make_decoder("s16le", 44_100, 1)
    numbered = 0
    for _ in range(2_000):
        numbered += len(push(decoder, bytes(2 * 17))) + decoder.skip(13)
    assert numbered == round(2_000 * 30 * SAMPLE_RATE / 44_100)


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_what_it_was_at_every_rate(rate: int) -> None:
    pcm = (tone(1.0, rate) * 32768).astype("<i2").tobytes()
    samples = whole(make_decoder("s16le", rate, 1), pcm)
    inner = slice(1_600, -1_600)
    np.testing.assert_allclose(samples[inner], tone(1.0, SAMPLE_RATE)[inner], atol=1e-3)


def test_integers_come_at_their_full_scale() -> None:
    pcm = np.array([-32768, -16384, 0, 16384], "<i2")
    assert push(make_decoder("s16le", 16_000, 1), pcm.tobytes()).tolist() == [-1, -0.5, 0, 0.5]


def test_channels_are_averaged() -> None:
    pcm = np.array([[0.5, -0.5, 0.75], [0.25, 0.5, 0.75]], "<f4")
    assert push(make_decoder("f32le", 16_000, 3), pcm.tobytes()).tolist() == [0.25, 0.5]


def test_floats_beyond_full_scale_are_clipped_before_they_are_averaged() -> None:
    pcm = np.array([[3e38] * 8, [3e38, -3e38] * 4, [-2] * 8], "<f4")
    assert push(make_decoder("f32le", 16_000, 8), pcm.tobytes()).tolist() == [1, 0, -1]


def test_a_sample_that_is_no_number_is_silence() -> None:
    pcm = np.array([0.5, np.nan, -np.inf, 0.25], "<f4")
    assert push(make_decoder("f32le", 16_000, 1), pcm.tobytes()).tolist() == [0.5, 0, 0, 0.25]


def test_one_channel_that_is_no_number_leaves_the_others() -> None:
    pcm = np.tile(np.array([np.nan, 0.5], "<f4"), 48_000)
    assert set(push(make_decoder("f32le", 16_000, 2), pcm.tobytes())) == {0.25}


def test_a_second_of_nothing_that_is_a_number_is_refused_and_not_taken() -> None:
    decoder = make_decoder("f32le", 16_000, 1)
    nothing = np.full(1_600, np.nan, "<f4").tobytes()
    for _ in range(3):
        for _ in range(10):
            assert not push(decoder, nothing).any()
        push(decoder, np.zeros(1, "<f4").tobytes())  # one number, and the second begins anew
    for _ in range(10):
        push(decoder, nothing)
    with pytest.raises(Refusal, match="not numbers") as caught:
        push(decoder, nothing)
    assert (caught.value.code, caught.value.close_code) == ("bad_audio", UNSUPPORTED)
    assert decoder.position == 40 * 1_600 + 3


def test_after_a_resume_the_torn_sample_comes_whole() -> None:
    decoder = make_decoder("s16le", 16_000, 2)
    assert push(decoder, b"\0\x40\0\x40\xff\xff\xff").tolist() == [0.5]
    assert decoder.position == 1
    decoder.forget_rest()
    assert push(decoder, b"\0\x20\0\x20").tolist() == [0.25]
    assert decoder.position == 2


def test_a_torn_sample_before_a_gap_or_the_end_is_dropped() -> None:
    decoder = make_decoder("s16le", 16_000, 1)
    assert push(decoder, b"\0\x40\xff").tolist() == [0.5]
    assert decoder.skip(5) == 5
    assert push(decoder, b"\0\x20\xff").tolist() == [0.25]
    assert len(finish(decoder)) == 0
    assert decoder.position == 7


@pytest.mark.parametrize("count", [-1, 86_400 * 16_000 + 1, 10**30])
def test_an_impossible_gap_is_refused(count: int) -> None:
    decoder = make_decoder("s16le", 16_000, 1)
    with pytest.raises(Refusal, match="skip takes a count from 0 to 1382400000") as caught:
        decoder.skip(count)
    assert (caught.value.code, caught.value.close_code) == ("bad_message", INVALID)
    assert decoder.position == 0


@pytest.mark.parametrize(
    ("encoding", "rate", "channels", "text"),
    [
        ("mp3" * 50, 16_000, 1, "encoding must be one of s16le, f32le, opus, not 'mp3mp3"),
        ("s16le", 7_999, 1, "sample_rate must lie between 8000 and 192000 Hz, not 7999"),
        ("f32le", 192_001, 1, "sample_rate must"),
        ("s16le", 16_000, 0, "channels must lie between 1 and 8, not 0"),
        ("s16le", 16_000, 9, "channels must"),
    ],
)
def test_what_cannot_be_decoded_is_refused_at_once(
    encoding: str, rate: int, channels: int, text: str
) -> None:
    with pytest.raises(Refusal, match=text) as caught:
        make_decoder(encoding, rate, channels)
    assert caught.value.code == "bad_parameter"
    assert len(caught.value.message) < 120


def test_opus_counts_bytes_and_raw_audio_samples() -> None:
    assert make_decoder("opus", 16_000, 1).unit == "bytes"
    assert make_decoder("f32le", 16_000, 1).unit == "samples"
