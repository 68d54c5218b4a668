"""The segmenter against a slow one that is written from its docstring and remembers every frame."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
from bounded import bounded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streaming.audio import SAMPLE_RATE, Samples
from streaming.events import FinalReason
from streaming.options import VadOptions
from streaming.protocols import Activity
from streaming.segmenter import SegmentEdge, SegmentEnd, Segmenter, SegmentStart

FRAME = 16
"""Samples; a tenth of what detectors take, which is as good here and faster."""
ENTER, LEAVE = 0.5, 0.3


class SampleVad:
    """Takes the frame's first sample for its probability."""

    frame_samples = FRAME

    def process(self, frame: Samples) -> float:
        return float(frame[0])

    def reset(self) -> None:
        pass


@dataclass(frozen=True)
class Endpoint:
    """Ends on silence, on length, and at multiples of some length for no reason."""

    silence: int
    longest: int
    whim: int

    def update(self, activity: Activity) -> FinalReason | None:
        if activity.silence_samples >= self.silence:
            return "silence"
        if activity.utterance_samples >= self.longest:
            return "max_length"
        return "flush" if self.whim and activity.utterance_samples % self.whim == 0 else None


@dataclass(frozen=True)
class Frame:
    start: int
    end: int
    heard: bool


class Reference:
    """Looks at all frames again at each question."""

    def __init__(self, endpoint: Endpoint, min_speech: int, min_silence: int, pre_roll: int):
        self.endpoint = endpoint
        self.min_speech, self.min_silence, self.pre_roll = min_speech, min_silence, pre_roll

    def reset(self, start: int) -> None:
        self.end = start
        self.frame_start = start
        self.samples: list[float] = []
        """Of the frame that is not full."""
        self.frames: list[Frame] = []
        self.idle_from = 0
        """Number of the first frame after the last segment."""
        self.earliest = start
        self.utterance_start: int | None = None

    def heard_now(self) -> bool:
        return (
            bool(self.frames) and self.frames[-1].end == self.frame_start and self.frames[-1].heard
        )

    def speech_end(self) -> int:
        return max(frame.end for frame in self.frames if frame.heard)

    def burst(self) -> list[Frame]:
        """The frames of the newest burst since the last segment: no pause in it is too long."""
        heard = [frame for frame in self.frames[self.idle_from :] if frame.heard]
        burst = heard[-1:]
        for frame in reversed(heard[:-1]):
            pause = burst[0].start - frame.end
            if pause and pause >= self.min_silence:
                break
            burst.insert(0, frame)
        return burst

    def push(self, values: list[float]) -> list[SegmentEdge]:
        edges: list[SegmentEdge] = []
        for value in values:
            self.samples.append(value)
            self.end += 1
            if len(self.samples) == FRAME:
                edges += self.frame(self.samples[0])
                self.samples = []
        return edges

    def frame(self, probability: float) -> list[SegmentEdge]:
        heard = probability >= (LEAVE if self.heard_now() else ENTER)
        self.frames.append(Frame(self.frame_start, self.end, heard))
        self.frame_start = self.end
        edges: list[SegmentEdge] = []
        if self.utterance_start is None:
            if not heard or sum(f.end - f.start for f in self.burst()) < self.min_speech:
                return []
            edges.append(self.start())
        assert self.utterance_start is not None
        silence = self.end - self.speech_end()
        if silence < self.min_silence:
            silence = 0
        reason = self.endpoint.update(Activity(self.end - self.utterance_start, silence))
        if reason == "max_length":
            self.utterance_start = self.end
            return [
                *edges,
                SegmentEnd(self.end, self.end, reason),
                SegmentStart(self.end, self.end),
            ]
        return edges if reason is None else [*edges, self.stop(self.speech_end(), reason)]

    def finish(self, reason: FinalReason) -> list[SegmentEdge]:
        edges: list[SegmentEdge] = []
        heard = self.heard_now()
        if self.utterance_start is None and heard and self.burst():
            edges.append(self.start())
        if self.utterance_start is not None:
            edges.append(self.stop(self.end if heard else self.speech_end(), reason))
        self.samples, self.frame_start = [], self.end
        self.frames.append(Frame(self.end, self.end, False))
        self.idle_from = len(self.frames)
        return edges

    def start(self) -> SegmentStart:
        self.utterance_start = max(self.burst()[0].start - self.pre_roll, self.earliest)
        return SegmentStart(self.utterance_start, self.end)

    def stop(self, at: int, reason: FinalReason) -> SegmentEnd:
        assert self.utterance_start is not None
        self.earliest = max(at, self.utterance_start)
        self.utterance_start = None
        self.idle_from = len(self.frames)
        return SegmentEnd(self.earliest, self.end, reason)


class SegmenterMachine(RuleBasedStateMachine):
    """Two segmenters get the same audio in other pieces, and the reference sample by sample."""

    @initialize(
        min_speech=st.integers(0, 4),
        min_silence=st.integers(0, 5),
        pre_roll=st.integers(0, 6),
        silence=st.integers(1, 12),
        longest=st.integers(1, 40),
        whim=st.sampled_from([0, 0, 0, 7 * FRAME]),
        start=st.integers(0, 10**6),
    )
    def make(
        self,
        min_speech: int,
        min_silence: int,
        pre_roll: int,
        silence: int,
        longest: int,
        whim: int,
        start: int,
    ) -> None:
        frame_s = FRAME / SAMPLE_RATE
        options = VadOptions(
            threshold=ENTER,
            negative_threshold=LEAVE,
            min_speech_s=min_speech * frame_s,
            min_silence_s=min_silence * frame_s,
            pre_roll_s=pre_roll * frame_s,
        )
        endpoint = Endpoint(silence * FRAME, longest * FRAME, whim)
        self.whole = Segmenter(SampleVad(), options, endpoint, start)
        self.split = Segmenter(SampleVad(), options, endpoint, start)
        self.reference = Reference(
            endpoint, min_speech * FRAME, min_silence * FRAME, pre_roll * FRAME
        )
        self.reference.reset(start)
        self.edges: list[SegmentEdge] = []

    def same(self, *found: list[SegmentEdge]) -> None:
        whole, split, expected = found
        assert whole == expected
        assert split == expected
        self.edges += whole

    @rule(seed=st.integers(0, 1 << 30), size=st.integers(1, 50))
    def push(self, seed: int, size: int) -> None:
        """Runs of samples that are the same, a few frames long and mostly whole ones."""
        rng = random.Random(seed)
        values: list[float] = []
        for _ in range(rng.randint(1, 80)):
            value = rng.choice((0.0, 0.0, 0.0, 0.29, 0.3, 0.4, 0.5, 0.9, 0.9, 0.9))
            length = rng.choice((1, 1, 2, 3, 4, 5, 6, 15)) * FRAME + rng.choice((0, 0, 0, 0, -1, 8))
            values += [value] * length
        samples = np.array(values, np.float32)
        pieces = [samples[at : at + size] for at in range(0, len(samples), size)]
        self.same(
            self.whole.push(samples),
            [edge for piece in pieces for edge in self.split.push(piece)],
            self.reference.push(samples.tolist()),
        )

    @rule(back=st.integers(0, 300))
    @precondition(lambda self: self.reference.utterance_start is not None)
    def cut(self, back: int) -> None:
        assert self.reference.utterance_start is not None
        at = max(self.reference.end - back, self.reference.utterance_start)
        self.whole.cut(at)
        self.split.cut(at)
        self.reference.utterance_start = at

    @rule(ahead=st.integers(1, 1_000))
    def cut_where_nothing_was_heard_yet(self, ahead: int) -> None:
        with pytest.raises(ValueError, match="has not been pushed yet"):
            self.whole.cut(self.reference.end + ahead)

    @rule(reason=st.sampled_from(["flush", "end_of_stream"]))
    def finish(self, reason: FinalReason) -> None:
        self.same(
            self.whole.finish(reason), self.split.finish(reason), self.reference.finish(reason)
        )

    @rule(gap=st.integers(0, 50_000))
    def begin_another_stretch(self, gap: int) -> None:
        self.finish("flush")
        start = self.reference.end + gap
        self.whole.reset(start)
        self.split.reset(start)
        self.reference.reset(start)

    @invariant()
    def starts_and_ends_alternate_and_times_never_go_back(self) -> None:
        kinds = [SegmentStart if i % 2 == 0 else SegmentEnd for i in range(len(self.edges))]
        assert [type(edge) for edge in self.edges] == kinds
        places = [edge.at_sample for edge in self.edges]
        assert places == sorted(places)
        known = [edge.known_at_sample for edge in self.edges]
        assert known == sorted(known)
        assert all(edge.at_sample <= edge.known_at_sample for edge in self.edges)

    @invariant()
    def it_knows_where_it_is(self) -> None:
        reference = self.reference
        running = reference.utterance_start is not None
        for segmenter in (self.whole, self.split):
            assert segmenter.in_speech == running
            silence = reference.frame_start - reference.speech_end() if running else 0
            expected = silence if silence >= reference.min_silence else 0
            assert segmenter.silence_samples == expected
            pause = reference.speech_end() if expected else None
            assert segmenter.pause_start == pause


TestSegmenter = SegmenterMachine.TestCase
TestSegmenter.settings = bounded(60, steps=20)
