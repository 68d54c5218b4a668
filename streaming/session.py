"""One stream from audio to events: ring buffer, mel, segmenter and transcriber in one.

Pure, like its parts: whoever drives it tells it the time, feeds it audio, runs the passes
it asks for wherever it likes and hands back what they heard. The drivers (`live`,
`simulated`) differ only in where time comes from.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .audio import (
    SAMPLE_RATE,
    AudioChunk,
    Flush,
    Samples,
    quietest_point,
    samples_from_seconds,
    seconds,
)
from .errors import SinkError, SourceError, StreamingError
from .events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    FinalReason,
    Flushed,
    Notice,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
)
from .mel import IncrementalMel
from .metrics import SessionMetrics
from .options import Configure, TranscriberOptions, VadOptions
from .pass_log import Cost, PassLog
from .protocols import (
    Activity,
    CommitPolicy,
    EndpointPolicy,
    Hypothesis,
    SourceItem,
    Status,
    TrimPolicy,
    VoiceActivityDetector,
    Window,
)
from .recovery import Quiet, Recovered
from .refiner import Refiner
from .replacements import Replacements, Rewriter
from .ring_buffer import RingBuffer
from .segmenter import SegmentEnd, Segmenter, SegmentStart
from .timeline import frame_of_sample, sample_of_frame
from .transcriber import TAIL_SAMPLES, Pass, Transcriber

__all__ = ["PIECE_SAMPLES", "Session", "SessionParts", "pieces"]

PIECE_SAMPLES = SAMPLE_RATE // 10
"""Most audio fed at once, so that decisions fall where they would with small chunks."""
_BACKLOG_S = 30.0
"""Audio that may wait for passes beyond what a window holds."""
_ZERO_FILL_SAMPLES = SAMPLE_RATE
"""Gaps up to this are filled with silence; longer ones end the utterance."""
_LONGEST_PAUSE_SAMPLES = samples_from_seconds(15.0)
"""A pause this long ends an utterance in any case; its audio has to be kept meanwhile."""
_REFINED_SAMPLES = samples_from_seconds(0.25)
"""Audio behind an utterance that the final model hears as well, and a bit."""
_MAX_CLOSED = 8
"""Finished utterances that may wait for their last pass."""


@dataclass(frozen=True, kw_only=True)
class SessionParts:
    """The choices that make a session: options, detector and policies.

    ``vad`` belongs to the session from then on; the rest may be shared.
    """

    vad: VoiceActivityDetector
    commit_policy: CommitPolicy
    trim_policy: TrimPolicy
    endpoint_policy: EndpointPolicy
    options: TranscriberOptions = field(default_factory=TranscriberOptions)
    vad_options: VadOptions = field(default_factory=VadOptions)
    label: str = ""
    replacements: Replacements | None = None
    """Words that nobody gets to see as they are heard."""
    trace: bool = False
    """Say of every pass what it covered, cost and decided: `PassDone`."""
    described: dict[str, Any] = field(default_factory=dict)
    """Options as the ``session_started`` event shows them."""


def pieces(item: SourceItem) -> Iterator[SourceItem]:
    """Cut audio into pieces of at most `PIECE_SAMPLES`; anything else is one piece."""
    if not isinstance(item, AudioChunk):
        yield item
        return
    chunk = item
    for at in range(0, len(chunk.samples), PIECE_SAMPLES):
        yield AudioChunk(
            chunk.samples[at : at + PIECE_SAMPLES],
            chunk.start_sample + at,
            chunk.gap_reason if at == 0 else "",
        )


class _Stretch:
    """A contiguous run of audio and its mel, kept while passes may need it."""

    def __init__(self, number: int, start_sample: int, n_mels: int, capacity_s: float) -> None:
        self.number = number
        self.start_sample = start_sample
        self.ring = RingBuffer(samples_from_seconds(capacity_s), start_sample)
        self.mel = IncrementalMel(n_mels, int(capacity_s * 100), start_sample)

    def push(self, samples: Samples) -> None:
        self.ring.write(samples)
        self.mel.push(samples)

    @property
    def decodable_until(self) -> int:
        return sample_of_frame(self.mel.end_frame, self.mel.origin_sample)

    def level_db(self, n_samples: int) -> float:
        """Peak of the newest audio, in decibels of full scale."""
        end = self.ring.end_sample
        newest = self.ring.read(max(self.ring.start_sample, end - n_samples), end)
        peak = float(np.abs(newest).max(initial=0.0))
        return 20 * math.log10(peak) if peak > 0 else -math.inf

    def quietest_point(self, low: int, high: int) -> int:
        """Middle of the quietest 0.2 s between two samples."""
        low = max(low, self.ring.start_sample)
        high = max(min(high, self.ring.end_sample), low)
        return low + quietest_point(self.ring.read(low, high))


class _Bounded:
    """An endpoint policy inside the limits that keep a session's memory bounded."""

    def __init__(self, policy: EndpointPolicy, max_utterance_s: float) -> None:
        self._policy = policy
        self._longest_samples = samples_from_seconds(max_utterance_s)

    def update(self, activity: Activity) -> FinalReason | None:
        reason = self._policy.update(activity)
        if reason is None and activity.silence_samples >= _LONGEST_PAUSE_SAMPLES:
            return "silence"
        if reason is None and activity.utterance_samples >= self._longest_samples:
            return "max_length"
        return reason


class Session:
    """Turns audio into events, asking for passes in between.

    Args:
        parts: options, detector and policies.
        n_mels: mel bands of the model.
        started: the first event, without stamps; its ``session`` names the session.
        refiner: has utterances heard again; it is told of all audio and of every event.
        timed: False where the clock is not that of the audio, and no delay means anything.
        restored: what a former run of this session told before it was stopped; this one goes on
            from there, with the audio from ``needed_from`` on and its marks. ``started`` is that
            run's.
    """

    def __init__(
        self,
        parts: SessionParts,
        *,
        n_mels: int,
        started: SessionStarted,
        refiner: Refiner | None = None,
        timed: bool = True,
        restored: Recovered | None = None,
    ) -> None:
        self._started = started
        self.refiner = refiner
        self._n_mels = n_mels
        self._transcriber = Transcriber(
            parts.options, parts.commit_policy, parts.trim_policy, self._quietest_point
        )
        endpoint = _Bounded(parts.endpoint_policy, parts.options.max_utterance_s)
        self._frame_samples = parts.vad.frame_samples
        self._segmenter = Segmenter(parts.vad, parts.vad_options, endpoint)
        self._capacity_s = seconds(self._transcriber.limit_samples) + _BACKLOG_S
        first = 0 if restored is None else restored.needed_from
        self._stretch = _Stretch(0, first, n_mels, self._capacity_s)
        self._stretches = {0: self._stretch}
        self._rewriter = None if parts.replacements is None else Rewriter(parts.replacements)
        self._pass_log = PassLog(started.session, traced=parts.trace)
        self._seq = 0
        self._heard_until = 0
        self._overloaded = False
        self._decoding = False
        self._finished = False
        self.ended = False
        """The last event has been said."""
        self._noted: list[Notice] = []
        """Notices that wait for the next event."""
        self._clock_s = 0.0
        self._clock_from_s = 0.0
        self._told: set[tuple[int, int]] = set()
        """Gaps that a former run told of, and flushes as gaps without length."""
        self._told_until = 0
        """Audio that a former run told of; there may be less of it now."""
        self._told_edge = 0
        """Where it told of speech last; even if that audio is lost, it cannot end before."""
        self._unrefined: deque[Final] = deque()
        """Finals of a former run whose audio the refiner is still to be given."""
        self.metrics = SessionMetrics(timed=timed)
        self._restored = restored
        if restored is not None:
            self._restore(restored)

    # -- audio in ---------------------------------------------------------------------------

    def start(self, clock_s: float = 0.0) -> list[Event]:
        """Open the session; call once, first."""
        if self._restored is None:
            return self._stamp([self._started], clock_s)
        at_s, self._restored = seconds(self._restored.told_until), None
        message = f"the session goes on from {at_s:.1f} s"
        return self._stamp([Notice(code="resumed", message=message)], clock_s)

    def take(self, item: SourceItem, clock_s: float) -> list[Event]:
        """Take a piece of what the source yields, as `feed`, `flush` and `configure` do."""
        if isinstance(item, AudioChunk):
            return self.feed(item, clock_s)
        if isinstance(item, Flush):
            return self.flush(clock_s)
        if isinstance(item, Configure):
            return self.configure(item.options, clock_s)
        return self.say([item], clock_s)

    def feed(self, chunk: AudioChunk, clock_s: float) -> list[Event]:
        """Take the next piece of audio, at most `PIECE_SAMPLES` of it.

        Raises:
            ValueError: the chunk overlaps audio that was fed before; `InputCheck` lets none pass.
        """
        events = self._close_gap(chunk)
        self._push(chunk.samples, events)
        if self.refiner is not None:
            events += self.refiner.feed(chunk)
            events += self._refine_told(chunk.end_sample - _REFINED_SAMPLES)
        return self._stamp(events, clock_s)

    def flush(self, clock_s: float, reason: FinalReason = "flush") -> list[Event]:
        """Close the running utterance now. Audio may go on."""
        events: list[Event] = []
        if reason == "flush":
            events.append(Flushed(at_s=seconds(self.audio_end), at_sample=self.audio_end))
        self._end_stretch(events, reason)
        self._begin_stretch(self.audio_end)
        return self._stamp(events, clock_s)

    def configure(self, options: TranscriberOptions, clock_s: float) -> list[Event]:
        """Hear what follows in another way: see `Configure`. Closes the running utterance."""
        events = self.flush(clock_s)
        self._transcriber.configure(options, self.audio_end)
        return events

    def finish(self, clock_s: float) -> list[Event]:
        """The input has ended. Passes may still be due; then comes `end`."""
        self._finished = True
        events = self._refine_told(math.inf)
        if self.audio_end < self._told_until:
            events.append(
                AudioDropped(
                    start_s=seconds(self.audio_end),
                    end_s=seconds(self._told_until),
                    reason="lost",
                    start_sample=self.audio_end,
                    end_sample=self._told_until,
                )
            )
        return self._stamp(events, clock_s) + self.flush(clock_s, "end_of_stream")

    def end(self, clock_s: float, error: StreamingError | None = None) -> list[Event]:
        """Close the session: what went wrong, totals, and the last event."""
        events: list[Event] = [] if self.refiner is None else self.refiner.stop()
        events += self._transcriber.give_up()
        reason = "end_of_stream"
        if error is not None:
            reason = (
                "source_error" if isinstance(error, SourceError | SinkError) else "backend_error"
            )
            events.append(Notice(level="error", code=reason, message=str(error)))
        said = self._stamp(events, clock_s)  # may commit, which the totals count
        ended = SessionEnded(audio_s=seconds(self.audio_end), reason=reason)
        self.ended = True
        return said + self._stamp([self.metrics.stats(), ended], clock_s)

    def tell(self, notice: Notice) -> None:
        """Put a notice before the next event; there is one until the session has `ended`."""
        self._noted.append(notice)

    def say(self, events: list[Event], clock_s: float) -> list[Event]:
        """Put a driver's events in order among the session's."""
        return self._stamp(events, clock_s)

    @property
    def audio_end(self) -> int:
        """Absolute sample one past the newest audio."""
        return self._stretch.ring.end_sample

    @property
    def quiet(self) -> Quiet | None:
        """What a session that goes on from here can do without; None while anything goes on."""
        first = self._segmenter.quiet_from
        if first is None or not (self.idle and self.refined) or self._unrefined:
            return None
        return Quiet(next_seq=self._seq, from_sample=first)

    @property
    def has_room(self) -> bool:
        """False while feeding more would overwrite audio that a pass still needs."""
        if self._transcriber.n_closed >= _MAX_CLOSED:
            return False
        if self.refiner is not None and not self.refiner.has_room:
            return False
        oldest = self._transcriber.oldest_sample(self._stretch.number)
        if oldest is None:
            return True
        capacity = self._stretch.ring.capacity - 2 * PIECE_SAMPLES - _ZERO_FILL_SAMPLES
        return self.audio_end - oldest < capacity

    # -- passes -------------------------------------------------------------------------------

    def next_pass(self) -> Pass | None:
        """The pass to run now, if one is due; then `complete` or `abandon` it."""
        due = self._transcriber.next_pass(
            self._stretch.decodable_until, speech_end=self._segmenter.pause_start
        )
        self._decoding = due is not None
        if due is not None:
            self._pass_log.asked(self._clock_s)
        return due

    def window(self, due: Pass) -> Window:
        """What the backend decodes for a pass."""
        mel = self._stretches[due.stretch].mel
        origin = mel.origin_sample
        first = frame_of_sample(due.start_sample, origin)
        end = min(frame_of_sample(due.end_sample, origin), mel.end_frame)
        return Window(
            start_sample=sample_of_frame(first, origin),
            mel=mel.window(first, max(end, first)),
            prompt=due.options.whole_prompt,
            context=due.context,
            prefix=due.prefix,
            language=due.language,
            candidates=due.options.candidates,
            fallback_language=due.fallback_language,
            task=due.options.task,
            careful=due.careful,
        )

    def complete(
        self,
        done: Pass,
        hypothesis: Hypothesis,
        compute_s: float,
        clock_s: float,
        *,
        queue_s: float = 0.0,
    ) -> list[Event]:
        """Take what a pass heard, what it cost, and how long it waited for other sessions'."""
        self._decoding = False
        utterance = self._transcriber.number_out
        events, cut = self._transcriber.complete(done, hypothesis)
        if cut is not None:
            self._segmenter.cut(cut)
        # The last pass of an utterance may end before audio that another one has heard.
        self._heard_until = max(self._heard_until, done.end_sample)
        backlog = 0 if self._finished else max(0, self.audio_end - self._heard_until)
        self.metrics.pass_done(compute_s, backlog_s=seconds(backlog), queue_s=queue_s)
        cost = Cost(compute_s, queue_s, clock_s)
        events += self._pass_log.done(done, hypothesis, events, utterance, cost)
        if not self._finished:
            events += self._watch_load(backlog)
        self._forget_stretches()
        return self._stamp(events, clock_s)

    def abandon(self, done: Pass) -> None:
        """A pass will not be completed."""
        self._decoding = False
        self._transcriber.abandon(done)

    @property
    def idle(self) -> bool:
        """True if no utterance is open or waits for its last pass."""
        return not self._transcriber.stretches

    def status(self) -> Status:
        """What the session is doing, at the time it was told last."""
        behind = 0 if self.idle else max(0, self.audio_end - self._heard_until)
        return Status(
            clock_s=self._clock_s,
            audio_s=seconds(self.audio_end),
            level_db=self._stretch.level_db(PIECE_SAMPLES),
            speaking=not self.idle,
            decoding=self._decoding,
            behind_s=seconds(behind),
            delay_s=self.metrics.recent_delay_s,
            real_time_factor=self.metrics.real_time_factor,
            heard_s=seconds(self.metrics.audio_samples),
            compute_s=self.metrics.compute_s,
        )

    def hurry(self) -> None:
        """The input was asked to end: let no audio wait for the larger model any more."""
        if self.refiner is not None:
            self.refiner.drops = True

    @property
    def refined(self) -> bool:
        """True if no utterance waits to be heard again."""
        return self.refiner is None or self.refiner.idle

    # -- inside ---------------------------------------------------------------------------------

    def _restore(self, state: Recovered) -> None:
        as_heard = self._rewriter is None
        self._transcriber.restore(state, as_heard=as_heard)
        self._segmenter.reset(state.needed_from)
        self._segmenter.restore(state.edges, state.told_until, state.silent_from)
        if self._rewriter is not None:
            self._rewriter.restore(state.said, state.unrefined)
        self._told = set(map(_span, state.marks))
        self._told_edge = max((edge.at_sample for edge in state.edges), default=0)
        if self.refiner is not None:
            # Without words it only tells where it ended.
            self.refiner.push(Final(end_s=state.refined_until_s))
            self._unrefined.extend(state.unrefined)
        self._seq = state.next_seq
        self._clock_from_s = state.clock_s
        self._heard_until = self._told_until = state.heard_until
        self._overloaded = state.overloaded

    def _refine_told(self, until_sample: float) -> list[Event]:
        """Give the refiner what a former run left to it, once their audio is there."""
        events: list[Event] = []
        while self._unrefined and samples_from_seconds(self._unrefined[0].end_s) <= until_sample:
            assert self.refiner is not None
            events += self.refiner.push(self._unrefined.popleft())
        return events

    def _close_gap(self, chunk: AudioChunk) -> list[Event]:
        missing = chunk.start_sample - self.audio_end
        if missing < 0:
            raise ValueError(f"audio goes back by {-missing} samples")
        if missing == 0:
            return []
        events: list[Event] = [
            AudioDropped(
                start_s=seconds(self.audio_end),
                end_s=seconds(chunk.start_sample),
                reason=chunk.gap_reason or "gap",
                start_sample=self.audio_end,
                end_sample=chunk.start_sample,
            )
        ]
        if missing <= _ZERO_FILL_SAMPLES:
            self._push(np.zeros(missing, dtype=np.float32), events)
        else:
            self._end_stretch(events, "flush")
            self._begin_stretch(chunk.start_sample)
        return events

    def _push(self, samples: Samples, events: list[Event]) -> None:
        self._stretch.push(samples)
        self.metrics.audio_samples += len(samples)
        # Frame by frame: a split moves the start of the utterance that the next frame belongs to.
        for at in range(0, len(samples), self._frame_samples):
            frame = samples[at : at + self._frame_samples]
            self._follow(self._segmenter.push(frame), events)

    def _follow(self, marks: Iterable[SegmentStart | SegmentEnd], events: list[Event]) -> None:
        """Tell the transcriber what the segmenter found."""
        goes_on = False
        for mark in marks:
            if isinstance(mark, SegmentStart):
                if not goes_on:  # after a split the transcriber has the next utterance already
                    if not mark.told:
                        events.append(SpeechStarted(at_s=seconds(mark.at_sample)))
                    self._heard_until = max(self._heard_until, mark.at_sample)
                    stretch = self._stretch
                    self._transcriber.open(mark.at_sample, stretch.number, stretch.start_sample)
                goes_on = False
            elif mark.reason == "max_length":
                cut, more = self._transcriber.split(mark.at_sample)
                self._segmenter.cut(cut)
                events.extend(more)
                goes_on = True
            else:
                if not mark.told:
                    at_sample = max(mark.at_sample, self._told_edge)
                    events.append(SpeechEnded(at_s=seconds(at_sample)))
                until = min(mark.at_sample + TAIL_SAMPLES, self._stretch.decodable_until)
                events.extend(self._transcriber.close(mark.at_sample, until, mark.reason))

    def _end_stretch(self, events: list[Event], reason: FinalReason) -> None:
        self._stretch.mel.flush()
        self._follow(self._segmenter.finish(reason), events)

    def _begin_stretch(self, start_sample: int) -> None:
        number = self._stretch.number + 1
        self._stretch = _Stretch(number, start_sample, self._n_mels, self._capacity_s)
        self._stretches[number] = self._stretch
        self._segmenter.reset(start_sample)
        self._forget_stretches()

    def _forget_stretches(self) -> None:
        needed = self._transcriber.stretches | {self._stretch.number}
        for number in [n for n in self._stretches if n not in needed]:
            del self._stretches[number]

    def _quietest_point(self, stretch: int, low: int, high: int) -> int:
        return self._stretches[stretch].quietest_point(low, high)

    def _watch_load(self, backlog: int) -> list[Event]:
        cadence = self._transcriber.cadence
        cadence.observe(backlog)
        if cadence.overloaded == self._overloaded:
            return []
        self._overloaded = cadence.overloaded
        if not self._overloaded:
            return [Notice(level="info", code="keeping_up", message="passes keep up again")]
        message = f"passes do not keep up: {seconds(backlog):.1f} s of audio wait"
        return [Notice(level="warning", code="overload", message=message)]

    def _stamp(self, events: list[Event], clock_s: float) -> list[Event]:
        if self._noted:
            events, self._noted = [*self._noted, *events], []
        if self.refiner is not None:
            events = [each for event in events for each in (event, *self.refiner.push(event))]
        if self._told:
            events = [
                event
                for event in events
                if not (isinstance(event, Flushed | AudioDropped) and _span(event) in self._told)
            ]
        if self._rewriter is not None:  # last: the model and its refiner know what was heard
            events = [each for event in events for each in self._rewriter.push(event)]
        self._clock_s = clock_s = clock_s + self._clock_from_s
        stamped = []
        for event in events:
            if isinstance(event, Committed):
                for word in event.words:
                    self.metrics.committed(clock_s - word.end_s)
            stamped.append(
                replace(event, seq=self._seq, session=self._started.session, clock_s=clock_s)
            )
            self._seq += 1
        return stamped


def _span(mark: Flushed | AudioDropped) -> tuple[int, int]:
    if isinstance(mark, Flushed):
        return mark.at_sample, mark.at_sample
    return mark.start_sample, mark.end_sample
