"""Speech probabilities to segments of speech, with hysteresis and pre-roll."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .audio import Samples, samples_from_seconds
from .events import FinalReason
from .options import VadOptions
from .protocols import Activity, EndpointPolicy, VoiceActivityDetector
from .vad.none import NoVad

__all__ = ["SegmentEdge", "SegmentEnd", "SegmentStart", "Segmenter"]


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """A segment of speech begins."""

    at_sample: int
    """Where it begins, pre-roll included."""
    known_at_sample: int
    """End of the frame that settled it."""
    told: bool = False
    """Settled in a former run, which told of it."""


@dataclass(frozen=True, slots=True)
class SegmentEnd:
    """The running segment ends."""

    at_sample: int
    """Where speech ended; for "max_length" where the next segment takes over."""
    known_at_sample: int
    """End of the frame that settled it."""
    reason: FinalReason
    told: bool = False
    """Settled in a former run, which told of it."""


SegmentEdge = SegmentStart | SegmentEnd
"""What a push may find; starts and ends alternate."""


class Segmenter:
    """Cuts audio into frames, asks the detector about each, and finds where speech is.

    Speech is heard from a frame at or above ``threshold`` until one below the negative
    threshold. A burst becomes a segment once ``min_speech_s`` of its frames were heard; it
    is forgotten if a pause of ``min_silence_s`` comes first. The segment starts
    ``pre_roll_s`` before the burst, but never inside the segment before or before the
    stretch. While it runs, the endpoint policy is asked after each frame; a pause counts as
    silence once it has lasted ``min_silence_s``, and then from its beginning. Where nothing
    is detected (`NoVad`) there is nothing to confirm: the first frame starts the segment.

    Times are sample-exact: they follow the frames, which begin at ``start_sample``, and
    not the sizes of the pushes.
    """

    def __init__(
        self,
        vad: VoiceActivityDetector,
        options: VadOptions,
        endpoint: EndpointPolicy,
        start_sample: int = 0,
    ) -> None:
        self._vad = vad
        self._endpoint = endpoint
        self._enter = options.threshold
        self._leave = options.leave_threshold
        confirms = not isinstance(vad, NoVad)
        self._min_speech = samples_from_seconds(options.min_speech_s) if confirms else 0
        self._min_silence = samples_from_seconds(options.min_silence_s)
        self._pre_roll = samples_from_seconds(options.pre_roll_s)
        self._frame = np.zeros(vad.frame_samples, np.float32)
        self._told: deque[SegmentEdge] = deque()
        self._told_until = start_sample
        self.reset(start_sample)

    def reset(self, start_sample: int) -> None:
        """Forget everything and start a stretch at ``start_sample``."""
        self._vad.reset()
        self._frame_start = start_sample
        self._filled = 0
        self._heard = False
        self._candidate: int | None = None
        self._burst_samples = 0
        self._speech_end = start_sample
        self._in_speech = False
        self._utterance_start = start_sample
        self._earliest_start = start_sample

    def restore(self, told: Sequence[SegmentEdge], told_until: int, silent_from: int) -> None:
        """Go on from what a former run told, right after `reset`.

        These edges come when their audio does; the detector hears nothing before the last of
        them is there and ``told_until`` is reached.

        Args:
            told: in order; they may reach over later stretches.
            told_until: sample from which on nothing was told.
            silent_from: the next segment cannot start before it, if none runs or was told.
        """
        self._told.extend(told)
        self._told_until = max([told_until, *(edge.known_at_sample for edge in told)])
        if told and isinstance(told[-1], SegmentStart):  # speech was heard that long at least
            heard = told[-1].at_sample + self._pre_roll + self._min_speech
            self._told_until = max(self._told_until, heard)
        if not told:
            self._earliest_start = max(self._earliest_start, silent_from)

    @property
    def in_speech(self) -> bool:
        """Whether a segment is running."""
        return self._in_speech

    @property
    def quiet_from(self) -> int | None:
        """The next segment cannot start before this sample; None while one runs or is told."""
        if self._in_speech or self._told or self._frame_start < self._told_until:
            return None
        heard = self._frame_start if self._candidate is None else self._candidate
        return max(heard - self._pre_roll, self._earliest_start)

    @property
    def silence_samples(self) -> int:
        """Samples since speech was last heard in the running segment.

        0 while it is heard, in pauses shorter than ``min_silence_s``, and outside segments.
        """
        pause = self._frame_start - self._speech_end
        return pause if self._in_speech and pause >= self._min_silence else 0

    @property
    def pause_start(self) -> int | None:
        """Where the running segment's speech stopped for now; None while it is heard."""
        return self._speech_end if self.silence_samples else None

    def push(self, samples: Samples) -> list[SegmentEdge]:
        """Append audio, float32 of shape ``(n,)``; returns the edges it settles, in order."""
        taken = min(len(samples), max(0, self._told_until - self._frame_start))
        self._frame_start += taken
        edges = self._recall(self._frame_start)
        while taken < len(samples):
            piece = samples[taken : taken + len(self._frame) - self._filled]
            self._frame[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            taken += len(piece)
            if self._filled == len(self._frame):
                self._filled = 0
                edges += self._hear(self._vad.process(self._frame))
        return edges

    def cut(self, at_sample: int) -> None:
        """Count the running utterance from here: what came before was closed elsewhere.

        Nothing happens where no segment is running.

        Raises:
            ValueError: the sample has not been heard yet.
        """
        if at_sample > self._frame_start + self._filled:
            raise ValueError(f"sample {at_sample} has not been pushed yet")
        self._utterance_start = at_sample

    def finish(self, reason: FinalReason) -> list[SegmentEdge]:
        """End the running segment, at the end of the stream or because somebody asks.

        While speech is heard it ends with the last sample pushed, otherwise where speech
        ended. Speech that is being heard but was too short so far becomes a segment after
        all: it may be a last word that was cut off. Audio may go on afterwards; frames then
        begin with the next sample.
        """
        end = self._frame_start + self._filled
        if reason == "end_of_stream":  # nor is there audio of what else was told
            self._told = deque(
                replace(edge, at_sample=min(edge.at_sample, end)) for edge in self._told
            )
        edges = self._recall(end, reason)
        if self._heard:
            self._speech_end = end
        self._speech_end = min(self._speech_end, end)
        if self._heard and self._candidate is not None:
            edges.append(self._start(self._candidate, end))
        if self._in_speech:
            edges.append(self._end(end, reason))
        self._candidate = None
        self._heard = False
        self._frame_start = end
        self._filled = 0
        return edges

    def _recall(self, position: int, ending: FinalReason | None = None) -> list[SegmentEdge]:
        """The told edges that are due at a position, or where a stretch ends there."""
        edges: list[SegmentEdge] = []
        while self._told:
            edge = self._told[0]
            due = edge.known_at_sample if ending is None else edge.at_sample
            if isinstance(edge, SegmentStart) and ending != "end_of_stream":
                due += 1  # where a stretch ends, what begins belongs to the next one
            if due > position:
                break
            self._told.popleft()
            # Some of the audio that it is about may be lost.
            at = max(edge.at_sample, self._earliest_start)
            self._in_speech = isinstance(edge, SegmentStart)
            if isinstance(edge, SegmentStart):
                edges.append(replace(edge, at_sample=at))
                self._utterance_start, self._speech_end = at, self._told_until
            else:
                edges.append(replace(edge, at_sample=at, reason=ending or edge.reason))
                self._speech_end = self._earliest_start = at
        return edges

    def _hear(self, probability: float) -> list[SegmentEdge]:
        """Take in the detector's word on the frame at ``_frame_start``."""
        start = self._frame_start
        end = self._frame_start = start + len(self._frame)
        self._heard = probability >= (self._leave if self._heard else self._enter)
        edges: list[SegmentEdge] = []
        if self._heard:
            self._speech_end = end
            if not self._in_speech:
                if self._candidate is None:
                    self._candidate = start
                    self._burst_samples = 0
                self._burst_samples += end - start
                if self._burst_samples >= self._min_speech:
                    edges.append(self._start(self._candidate, end))
        elif end - self._speech_end >= self._min_silence:
            self._candidate = None
        if self._in_speech:
            reason = self._endpoint.update(
                Activity(end - self._utterance_start, self.silence_samples)
            )
            if reason == "max_length":
                self._utterance_start = end
                edges += [SegmentEnd(end, end, reason), SegmentStart(end, end)]
            elif reason is not None:
                edges.append(self._end(end, reason))
        return edges

    def _start(self, burst_start: int, known_at: int) -> SegmentStart:
        at = max(burst_start - self._pre_roll, self._earliest_start)
        self._candidate = None
        self._in_speech = True
        self._utterance_start = at
        return SegmentStart(at, known_at)

    def _end(self, known_at: int, reason: FinalReason) -> SegmentEnd:
        at = max(self._speech_end, self._utterance_start)
        self._in_speech = False
        self._earliest_start = at
        return SegmentEnd(at, known_at, reason)
