from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, cuts, pieces, read_audio
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.endpointing import TrailingSilence
from streaming.audio import SAMPLE_RATE, Samples
from streaming.options import VadOptions
from streaming.protocols import VoiceActivityDetector
from streaming.segmenter import SegmentEdge, SegmentEnd, Segmenter, SegmentStart
from streaming.vad.energy import EnergyVad
from streaming.vad.none import NoVad
from streaming.vad.silero import SileroVad
from streaming.vad.webrtc import WebRtcVad

SPEECH = read_audio(JFK)
FRAME = 160


class SampleVad:
    """Takes the frame's first sample for its probability, so that a test can draw it."""

    frame_samples = FRAME

    def process(self, frame: Samples) -> float:
        return float(frame[0])

    def reset(self) -> None:
        pass


def drawn(*runs: tuple[float, int]) -> Samples:
    """Audio for `SampleVad`: runs of (probability, frames)."""
    return np.concatenate([np.full(n * FRAME, p, np.float32) for p, n in runs])


def segmenter(
    vad: VoiceActivityDetector | None = None,
    *,
    min_speech: int = 3,
    min_silence: int = 4,
    pre_roll: int = 5,
    silence: int = 10,
    longest: int = 1_000,
    start_sample: int = 0,
) -> Segmenter:
    """Durations are in frames of 10 ms; speech from 0.5, left below 0.3."""
    options = VadOptions(
        threshold=0.5,
        negative_threshold=0.3,
        min_speech_s=min_speech / 100,
        min_silence_s=min_silence / 100,
        pre_roll_s=pre_roll / 100,
    )
    endpoint = TrailingSilence(silence / 100, longest / 100)
    return Segmenter(vad or SampleVad(), options, endpoint, start_sample)


def in_frames(edges: Sequence[SegmentEdge]) -> list[tuple[object, ...]]:
    """(at, known at) of starts, (at, known at, reason) of ends."""
    return [
        (edge.at_sample / FRAME, edge.known_at_sample / FRAME, edge.reason)
        if isinstance(edge, SegmentEnd)
        else (edge.at_sample / FRAME, edge.known_at_sample / FRAME)
        for edge in edges
    ]


def test_a_segment_runs_from_the_pre_roll_to_the_end_of_the_last_speech_frame() -> None:
    edges = segmenter().push(drawn((0.0, 20), (0.9, 30), (0.0, 20)))
    assert in_frames(edges) == [(15, 23), (50, 60, "silence")]


def test_times_count_from_the_start_of_the_stretch() -> None:
    edges = segmenter(start_sample=1_000_003).push(drawn((0.0, 20), (0.9, 30), (0.0, 20)))
    assert [edge.at_sample for edge in edges] == [1_000_003 + 15 * 160, 1_000_003 + 50 * 160]


def test_the_pre_roll_stays_within_the_stretch() -> None:
    edges = segmenter(start_sample=77).push(drawn((0.0, 2), (0.9, 3)))
    assert edges == [SegmentStart(77, 77 + 5 * FRAME)]


def test_the_pre_roll_stays_out_of_the_segment_before() -> None:
    audio = drawn((0.9, 20), (0.0, 10), (0.9, 20))
    edges = segmenter(pre_roll=15).push(audio)
    assert in_frames(edges) == [(0, 3), (20, 30, "silence"), (20, 33)]


def test_a_burst_shorter_than_the_minimum_is_ignored() -> None:
    assert segmenter().push(drawn((0.9, 2), (0.0, 4), (0.9, 2), (0.0, 4))) == []


def test_a_short_pause_inside_a_burst_does_not_restart_it() -> None:
    edges = segmenter().push(drawn((0.0, 10), (0.9, 2), (0.0, 3), (0.9, 1)))
    assert in_frames(edges) == [(5, 16)]


def test_speech_goes_on_between_the_thresholds_but_does_not_begin_there() -> None:
    assert segmenter().push(drawn((0.4, 50))) == []
    edges = segmenter().push(drawn((0.9, 1), (0.4, 50), (0.2, 10)))
    assert in_frames(edges) == [(0, 3), (51, 61, "silence")]


def test_a_pause_ends_only_at_the_upper_threshold() -> None:
    edges = segmenter().push(drawn((0.9, 5), (0.2, 1), (0.4, 9)))
    assert in_frames(edges) == [(0, 3), (5, 15, "silence")]
    edges = segmenter().push(drawn((0.9, 5), (0.2, 1), (0.4, 5), (0.5, 1), (0.4, 9)))
    assert in_frames(edges) == [(0, 3)]


def test_a_pause_shorter_than_min_silence_is_no_silence() -> None:
    running = segmenter(min_silence=6, silence=2)
    assert in_frames(running.push(drawn((0.9, 5), (0.0, 5), (0.9, 5)))) == [(0, 3)]
    assert running.silence_samples == 0
    assert in_frames(running.push(drawn((0.0, 5)))) == []
    assert running.silence_samples == 0
    assert in_frames(running.push(drawn((0.0, 1)))) == [(15, 21, "silence")]


def test_silence_counts_from_where_speech_was_last_heard() -> None:
    running = segmenter()
    heard = []
    for audio in (drawn((0.9, 5)), drawn((0.1, 3)), drawn((0.1, 4)), drawn((0.1, 3))):
        running.push(audio)
        heard.append((running.in_speech, running.silence_samples // FRAME))
    assert heard == [(True, 0), (True, 0), (True, 7), (False, 0)]


def test_at_the_longest_length_the_next_segment_takes_over_at_the_same_sample() -> None:
    edges = segmenter(longest=40).push(drawn((0.0, 10), (0.9, 80), (0.0, 10)))
    assert in_frames(edges) == [
        (5, 13),
        (45, 45, "max_length"),
        (45, 45),
        (85, 85, "max_length"),
        (85, 85),
        (90, 100, "silence"),
    ]


def test_a_segment_that_takes_over_in_silence_ends_no_earlier_than_it_starts() -> None:
    edges = segmenter(longest=40).push(drawn((0.9, 35), (0.0, 10)))
    assert in_frames(edges) == [(0, 3), (40, 40, "max_length"), (40, 40), (40, 45, "silence")]


def test_after_a_cut_the_utterance_counts_from_there() -> None:
    running = segmenter(longest=40)
    running.push(drawn((0.9, 40)))
    running.cut(30 * FRAME)
    assert running.push(drawn((0.9, 29))) == []
    assert in_frames(running.push(drawn((0.9, 1)))) == [(70, 70, "max_length"), (70, 70)]


def test_after_a_cut_silence_ends_the_utterance_where_speech_ended() -> None:
    running = segmenter(longest=40)
    running.push(drawn((0.9, 35), (0.0, 5)))
    running.cut(30 * FRAME)
    assert in_frames(running.push(drawn((0.0, 5)))) == [(35, 45, "silence")]


def test_a_cut_in_the_future_raises() -> None:
    running = segmenter()
    running.push(drawn((0.9, 10)))
    with pytest.raises(ValueError, match="not been pushed"):
        running.cut(10 * FRAME + 1)


def test_finish_counts_the_unfinished_frame_as_speech_while_speech_is_heard() -> None:
    running = segmenter()
    running.push(drawn((0.9, 10))[:-60])
    end = 10 * FRAME - 60
    assert running.finish("end_of_stream") == [SegmentEnd(end, end, "end_of_stream")]


def test_finish_in_a_pause_ends_where_speech_ended() -> None:
    running = segmenter()
    running.push(drawn((0.9, 10), (0.0, 2)))
    assert in_frames(running.finish("flush")) == [(10, 12, "flush")]


def test_finish_keeps_a_last_word_that_was_cut_off() -> None:
    running = segmenter()
    assert running.push(drawn((0.0, 10), (0.9, 2))) == []
    assert in_frames(running.finish("end_of_stream")) == [(5, 12), (12, 12, "end_of_stream")]


def test_finish_forgets_a_burst_that_was_over() -> None:
    running = segmenter()
    running.push(drawn((0.9, 2), (0.0, 1)))
    assert running.finish("end_of_stream") == []


def test_finish_outside_speech_says_nothing_and_a_second_time_neither() -> None:
    running = segmenter()
    running.push(drawn((0.0, 10)))
    assert running.finish("flush") == []
    running.push(drawn((0.9, 10)))
    assert len(running.finish("flush")) == 1
    assert running.finish("flush") == []


def test_speech_that_goes_on_after_a_flush_is_a_new_segment_without_overlap() -> None:
    running = segmenter()
    running.push(drawn((0.9, 10))[:-60])
    (flushed,) = running.finish("flush")
    edges = running.push(drawn((0.9, 10), (0.0, 10)))
    assert edges[0] == SegmentStart(flushed.at_sample, flushed.at_sample + 3 * FRAME)
    assert edges[1].at_sample == flushed.at_sample + 10 * FRAME


def test_a_flush_leaves_no_half_heard_speech_behind() -> None:
    running = segmenter()
    running.push(drawn((0.9, 2), (0.0, 1)))
    running.finish("flush")
    assert running.push(drawn((0.9, 2), (0.0, 4))) == []
    running.push(drawn((0.9, 10)))
    running.finish("flush")
    assert running.push(drawn((0.4, 10))) == []


def test_reset_forgets_everything() -> None:
    running = segmenter()
    running.push(drawn((0.9, 10))[:-60])
    running.reset(50_000)
    assert not running.in_speech
    assert running.finish("end_of_stream") == []
    assert running.push(drawn((0.9, 3))) == [SegmentStart(50_000, 50_000 + 3 * FRAME)]


def test_reset_forgets_what_the_detector_remembers() -> None:
    used, fresh = (segmenter(SileroVad(), min_silence=10, silence=60) for _ in range(2))
    used.push(SPEECH[:50_001])
    used.reset(0)
    assert used.push(SPEECH) == fresh.push(SPEECH)


def test_without_detection_the_first_frame_starts_the_only_segment() -> None:
    running = segmenter(NoVad(), start_sample=400)
    audio = np.zeros(50 * FRAME + 7, np.float32)
    assert running.push(audio[: FRAME - 1]) == []
    assert running.push(audio[FRAME - 1 :]) == [SegmentStart(400, 400 + FRAME)]
    end = 400 + len(audio)
    assert running.finish("end_of_stream") == [SegmentEnd(end, end, "end_of_stream")]


def test_without_detection_only_length_divides() -> None:
    edges = segmenter(NoVad(), longest=30).push(np.zeros(70 * FRAME, np.float32))
    assert in_frames(edges) == [
        (0, 1),
        (30, 30, "max_length"),
        (30, 30),
        (60, 60, "max_length"),
        (60, 60),
    ]


runs = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.9]), st.integers(1, 15)),
    min_size=1,
    max_size=25,
)


@given(runs=runs, tail=st.integers(0, FRAME - 1), where=cuts(25 * 15 * FRAME))
def test_any_split_finds_the_same_edges_as_one_push(
    runs: list[tuple[float, int]], tail: int, where: list[int]
) -> None:
    audio = drawn(*runs)
    audio = audio[: len(audio) - tail]
    whole, split = segmenter(longest=60), segmenter(longest=60)
    expected = [*whole.push(audio), *whole.finish("end_of_stream")]
    got = [edge for piece in pieces(audio, where) for edge in split.push(piece)]
    assert [*got, *split.finish("end_of_stream")] == expected


@given(runs=runs)
def test_segments_alternate_never_overlap_and_hold_all_confirmed_speech(
    runs: list[tuple[float, int]],
) -> None:
    audio = drawn(*runs)
    running = segmenter(longest=60)
    edges = [*running.push(audio), *running.finish("end_of_stream")]
    starts, ends = edges[::2], edges[1::2]
    assert all(isinstance(edge, SegmentStart) for edge in starts)
    assert all(isinstance(edge, SegmentEnd) for edge in ends)
    assert len(starts) == len(ends)
    for one, other in pairwise(edges):
        assert one.at_sample <= other.at_sample
        assert one.known_at_sample <= other.known_at_sample
    held = np.zeros(len(audio), bool)
    for start, end in zip(starts, ends, strict=True):
        assert start.at_sample <= end.at_sample <= end.known_at_sample <= len(audio)
        held[start.at_sample : end.at_sample] = True
    at = 0
    for probability, n_frames in runs:
        if probability >= 0.5 and n_frames >= 3:
            assert held[at : at + n_frames * FRAME].all()
        at += n_frames * FRAME


@settings(deadline=None, max_examples=8)
@given(where=cuts(len(SPEECH)))
@pytest.mark.parametrize("make", [SileroVad, WebRtcVad, EnergyVad, NoVad])
def test_real_detectors_do_not_notice_the_chunking(
    make: type[VoiceActivityDetector], where: list[int]
) -> None:
    audio = SPEECH[:48_000]
    whole, split = (segmenter(make(), min_silence=10, silence=20, longest=200) for _ in range(2))
    expected = [*whole.push(audio), *whole.finish("end_of_stream")]
    got = [edge for piece in pieces(audio, where) for edge in split.push(piece)]
    assert [*got, *split.finish("end_of_stream")] == expected
    assert expected


def found(audio: Samples, pre_roll_s: float) -> list[tuple[int, int]]:
    """Segments that Silero finds, ended by short silences so that there are many."""
    running = Segmenter(SileroVad(), VadOptions(pre_roll_s=pre_roll_s), TrailingSilence(0.2))
    edges = [*running.push(audio), *running.finish("end_of_stream")]
    return [
        (start.at_sample, end.at_sample) for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]


@pytest.mark.needs_recordings
def test_pre_roll_keeps_the_first_syllable_of_every_sentence(recordings: Path) -> None:
    audio = read_audio(recordings / "printing_231s.flac")[: 100 * SAMPLE_RATE]
    sentences = json.loads((recordings / "printing_231s.segments.json").read_text())
    onsets = []
    for sentence in sentences:
        if sentence["end"] > 100:
            break
        start, end = (round(sentence[key] * SAMPLE_RATE) for key in ("start", "end"))
        levels = np.array([np.std(audio[at : at + 160]) for at in range(start, end - 160, 160)])
        onsets.append(start + 160 * int(np.argmax(levels > 0.03 * levels.max())))

    def missed(pre_roll_s: float) -> int:
        segments = found(audio, pre_roll_s)
        return sum(not any(start <= onset < end for start, end in segments) for onset in onsets)

    assert missed(0.3) == 0
    assert missed(0.0) > len(onsets) / 4  # so it is the pre-roll that keeps them
