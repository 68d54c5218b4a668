"""The arithmetic of live audio: simulated devices whose samples carry their own number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources._live import SETTLE_S, SILENT_S, Block, LiveAudio, SilenceWatch
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples, seconds
from streaming.events import Notice

JITTER_S = 0.04
FULL_SCALE = 2**24
"""Sample number n is n / FULL_SCALE, which float32 holds exactly."""


@dataclass
class Step:
    """Some audio, and what happens to the audio after it."""

    blocks: int
    lost_s: float = 0.0
    told: bool = True


class SimulatedDevice:
    """Records 16 kHz audio for ever; what is lost is not delivered."""

    def __init__(self, seed: int = 0, *, block: int = 800, drift: float = 0.0) -> None:
        self._random = np.random.default_rng(seed)
        self._block = block
        self._drift = drift
        self._arrived_s = 0.0
        self._overflowed = False
        self.position = 0
        """Sample that is delivered next."""

    def deliver(self, blocks: int, late_s: float = 0.0) -> Iterator[Block]:
        """Blocks at their times, each a little late or, the first ones, by that much."""
        resumes_s = self._clock_s(self.position) + late_s
        for _ in range(blocks):
            frames = np.arange(self.position, self.position + self._block) / FULL_SCALE
            self.position += self._block
            due_s = self._clock_s(self.position) + self._random.choice([0.0, 0.3, 1.0]) * JITTER_S
            self._arrived_s = max(self._arrived_s, due_s, resumes_s)
            block = Block(frames.astype(np.float32), SAMPLE_RATE, self._arrived_s, self._overflowed)
            self._overflowed = False
            yield block

    def lose(self, lost_s: float, *, told: bool = True) -> None:
        self.position += round(lost_s * SAMPLE_RATE)
        self._overflowed = told

    def _clock_s(self, sample: int) -> float:
        return 1000.0 + seconds(sample) * (1 + self._drift)


def numbers(chunk: AudioChunk) -> Samples:
    return np.round(chunk.samples.astype(np.float64) * FULL_SCALE).astype(np.float32)


def error_s(chunk: AudioChunk) -> float:
    """How far from its true place a chunk starts."""
    return abs(seconds(chunk.start_sample - int(numbers(chunk)[0])))


def gaps(chunks: list[AudioChunk]) -> list[tuple[int, str]]:
    """Length and reason of each."""
    ends = [0, *(c.end_sample for c in chunks)]
    found = [(c.start_sample - end, c.gap_reason) for end, c in zip(ends, chunks, strict=False)]
    assert all((length > 0) == bool(reason) and length >= 0 for length, reason in found)
    return [gap for gap in found if gap[0]]


def run(audio: LiveAudio, blocks: Iterator[Block]) -> list[AudioChunk]:
    return [chunk for block in blocks for chunk in audio.push(block)]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from([160, 511, 1600, 4000]),
    st.floats(-0.0003, 0.0003),
    st.floats(0.0, 3.0),
)
def test_jitter_stutter_and_drift_make_no_gap_and_lose_nothing(
    seed: int, block: int, drift: float, late_s: float
) -> None:
    device = SimulatedDevice(seed, block=block, drift=drift)
    audio = LiveAudio(0.1)
    chunks = run(audio, device.deliver(300))
    chunks += run(audio, device.deliver(300, late_s=late_s))  # all of it comes, though late
    chunks += audio.end()
    assert not gaps(chunks)
    heard = np.concatenate([numbers(chunk) for chunk in chunks])
    np.testing.assert_array_equal(heard, np.arange(device.position, dtype=np.float32))


steps = st.lists(
    st.builds(
        Step,
        st.integers(20, 200),
        st.floats(0.1, 0.29) | st.floats(0.5, 30.0),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), steps)
def test_after_losses_audio_is_where_the_clock_says(seed: int, steps: list[Step]) -> None:
    device = SimulatedDevice(seed, drift=0.0001)
    audio = LiveAudio(0.1)
    chunks: list[AudioChunk] = []
    reasons = []
    delivered = 0
    for step in [*steps, Step(200)]:
        chunks += run(audio, device.deliver(step.blocks))
        delivered += 800 * step.blocks
        if step.lost_s >= 0.5 or step.told:  # a short one that nobody tells of stays unknown
            told = step.told and bool(step.lost_s)
            device.lose(step.lost_s, told=told)
            reasons += [("overflow" if told else "stall")] if step.lost_s else []
    chunks += audio.end()
    assert [reason for _, reason in gaps(chunks)] == reasons
    assert sum(len(chunk.samples) for chunk in chunks) == delivered
    assert max(map(error_s, chunks)) < JITTER_S * (1 + len(reasons))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3000.0), st.floats(0.0, 0.2))
def test_a_break_is_as_long_as_the_device_was_away(seed: int, away_s: float, late_s: float) -> None:
    device = SimulatedDevice(seed)
    audio = LiveAudio(0.1)
    chunks = run(audio, device.deliver(100))
    rest = list(audio.end())
    chunks += rest
    assert chunks[-1].end_sample == 100 * 800  # nothing is kept for a device that is gone
    device.lose(away_s, told=False)
    chunks += run(audio, device.deliver(100, late_s=late_s))
    ((length, reason),) = gaps(chunks)
    assert reason == "reconnect"
    assert seconds(length) == pytest.approx(away_s, abs=JITTER_S)


def test_a_loss_that_the_clock_does_not_show_is_told_still() -> None:
    audio = LiveAudio(0.1)
    device = SimulatedDevice()
    chunks = run(audio, device.deliver(40))
    device.lose(0.0)
    chunks += run(audio, device.deliver(40))
    ((length, reason),) = gaps(chunks)
    assert reason == "overflow"
    assert length < JITTER_S * SAMPLE_RATE


def test_losses_in_quick_succession_all_count() -> None:
    audio = LiveAudio(0.1)
    device = SimulatedDevice()
    chunks = run(audio, device.deliver(40))
    for _ in range(3):
        device.lose(0.2)
        chunks += run(audio, device.deliver(2))
    chunks += run(audio, device.deliver(40))
    assert {reason for _, reason in gaps(chunks)} == {"overflow"}
    assert error_s(chunks[-1]) < JITTER_S


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_blocks_that_had_to_go_are_an_exact_gap(dropped: list[int]) -> None:
    device = SimulatedDevice(block=1600)
    audio = LiveAudio(0.1)
    chunks = run(audio, device.deliver(1))
    for n in dropped:
        *gone, last = device.deliver(n + 1)
        for earlier in reversed(gone):
            last = last.after(earlier)
        chunks += audio.push(last)
    assert [n * 1600 for n in dropped if n] == [length for length, _ in gaps(chunks)]
    assert all(error_s(chunk) == 0 for chunk in chunks)


def test_a_dropped_block_hands_its_overflow_on() -> None:
    frames = np.zeros(160, np.float32)
    gone = Block(frames, SAMPLE_RATE, 1.0, overflowed=True, lost_s=0.5)
    heir = Block(frames, SAMPLE_RATE, 1.1).after(gone)
    assert heir.overflowed
    assert heir.lost_s == pytest.approx(0.51)


def test_the_stream_starts_with_the_first_block_whatever_was_before() -> None:
    device = SimulatedDevice()
    audio = LiveAudio(0.1)
    list(audio.end())  # opened, and gone before it gave anything
    (block,) = device.deliver(1)
    first = Block(block.frames, block.rate, block.arrived_s, overflowed=True, lost_s=3.0)
    chunks = [*audio.push(first), *run(audio, device.deliver(9)), *audio.end()]
    assert chunks[0].start_sample == 0
    assert not gaps(chunks)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_audio_is_held_back_after_a_loss_for_a_moment_only(seed: int, told: bool) -> None:
    device = SimulatedDevice(seed)
    audio = LiveAudio(0.1)
    run(audio, device.deliver(40))
    device.lose(2.0, told=told)
    for block in device.deliver(40):
        end = max((chunk.end_sample for chunk in audio.push(block)), default=0)
        if seconds(end):
            waited_s = block.arrived_s - 1000.0 - seconds(end)
            assert waited_s < SETTLE_S + 0.2
            return
    raise AssertionError("nothing came after the loss")


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000])
def test_any_rate_keeps_its_length_over_gaps(rate: int) -> None:
    audio = LiveAudio(0.1)
    chunks: list[AudioChunk] = []
    length = rate // 20
    clock_s = 5.0
    for n in range(400):
        clock_s += 0.05 + (1.0 if n in (100, 200, 300) else 0.0)
        frames = np.full((length, 2), 0.5, np.float32)
        overflowed = n in (100, 200, 300)
        chunks += audio.push(Block(frames, rate, clock_s, overflowed))
    chunks += audio.end()
    assert [length for length, _ in gaps(chunks)] == pytest.approx([16_000] * 3, abs=2)
    assert chunks[-1].end_sample == pytest.approx(23 * SAMPLE_RATE, abs=2)


def test_channels_are_mixed_and_what_is_not_finite_is_silence() -> None:
    frames = np.zeros((1600, 2), np.float32)
    frames[:, 0] = 0.5
    frames[7] = np.nan
    frames[8] = np.inf
    (chunk,) = LiveAudio(0.1).push(Block(frames, SAMPLE_RATE, 1.0))
    expected = np.full(1600, 0.25, np.float32)
    expected[7:9] = 0.0
    np.testing.assert_array_equal(chunk.samples, expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.6, 9.0), min_size=1, max_size=4))
def test_pauses_of_a_monitor_are_silence_and_keep_time(seed: int, pauses_s: list[float]) -> None:
    device = SimulatedDevice(seed)
    audio = LiveAudio(0.1, fills=True)
    chunks = run(audio, device.deliver(40))
    for pause_s in pauses_s:
        now_s = 1000.0 + seconds(device.position)
        for later_s in np.arange(0.5, pause_s, 0.05):
            chunks += audio.idle(now_s + later_s)
            assert chunks[-1].end_sample <= SAMPLE_RATE * (now_s + later_s - 1000.0)
        device.lose(pause_s, told=False)
        chunks += run(audio, device.deliver(40))
    chunks += audio.end()
    assert not gaps(chunks)
    stream = np.concatenate([numbers(chunk) for chunk in chunks])
    heard = np.flatnonzero(stream)
    assert len(heard) >= 40 * 800 * (1 + len(pauses_s)) - 1
    errors_s = np.abs(heard - stream[heard]) / SAMPLE_RATE
    assert errors_s.max() < JITTER_S * (1 + len(pauses_s))


def test_a_monitor_that_never_gives_anything_gives_silence_on_time() -> None:
    audio = LiveAudio(0.1, fills=True)
    chunks = [chunk for n in range(1, 101) for chunk in audio.idle(50.0 + n / 10)]
    assert chunks[0].start_sample == 0
    assert chunks[-1].end_sample == pytest.approx(9.9 * SAMPLE_RATE, abs=1600)
    assert not any(chunk.samples.any() for chunk in chunks)


def test_a_pause_of_hours_is_a_gap_even_of_a_monitor() -> None:
    device = SimulatedDevice()
    audio = LiveAudio(0.1, fills=True)
    chunks = run(audio, device.deliver(40))
    device.lose(20_000.0, told=False)
    chunks += run(audio, device.deliver(40))
    ((length, reason),) = gaps(chunks)
    assert (round(seconds(length)), reason) == (20_000, "stall")


def watched(*blocks: tuple[float, float]) -> list[str]:
    """Codes and places of the notices for blocks of so many seconds, at so high a level."""
    watch = SilenceWatch('microphone "M"')
    told = []
    for n, (duration_s, level) in enumerate(blocks):
        frames = np.full((round(duration_s * 1000), 2), level, np.float32)
        notice = watch.push(Block(frames, 1000, float(n)))
        if notice is not None:
            assert isinstance(notice, Notice)
            assert 'microphone "M"' in notice.message
            told.append(f"{n} {notice.level} {notice.code}")
    return told


def test_exact_zeros_are_told_once_and_so_is_their_end() -> None:
    zeros = [(SILENT_S / 3, 0.0)] * 9
    assert watched(*zeros, (0.1, 0.5), (0.1, 0.5), *zeros) == [
        "2 warning silent_input",
        "9 info sound_back",
        "13 warning silent_input",
    ]


def test_a_quiet_room_is_no_silence() -> None:
    assert not watched(*[(2.9, 0.0), (0.1, 1e-6)] * 5)
