"""What the log of a session tells about the session: enough to go on where it stopped.

Pure: events to a frozen state. What was told is binding: sequence numbers, committed words, and
where speech started, ended, was flushed or lost. What lay between, the hypotheses and the
detector's state, is found again from the audio.

Segments of speech are finished in order, each by one final or, where it was cut at the longest
length, by several. So what is unfinished follows from the marks and the finals alone, and of the
unfinished utterances only the oldest can have been shown, since passes go to the oldest first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from .audio import samples_from_seconds
from .events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Word,
)
from .segmenter import SegmentEdge, SegmentEnd, SegmentStart

__all__ = ["Quiet", "Recovered", "Recovery", "recover"]

_WINDOW_SAMPLES = samples_from_seconds(20.0)
"""The longest ``window_s`` that can be chosen: a session that goes on hears no more audio before
its last committed word again. A window grows beyond that only with what comes behind the word."""
_MARGIN_SAMPLES = samples_from_seconds(0.25)
"""Audio before what is needed and after what has ended: neighbours of the first frame, and what
a last pass covers."""
_ROUNDED_SAMPLES = 16
"""Times in a log are to the millisecond."""
_RECENT_WORDS = 400
"""As many as a transcriber remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What no event tells: that nothing was said for a while, however long it was."""

    next_seq: int
    """Nothing that the events before this one tell of is unfinished."""
    from_sample: int
    """Whatever came afterwards starts here or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A session as its log has left it."""

    started: SessionStarted
    """Its first event."""
    ended: bool = False
    """It was told that it had ended: nothing is left to do."""
    next_seq: int = 0
    clock_s: float = 0.0
    """Of the last event."""
    words: tuple[Word, ...] = ()
    """The last committed ones."""
    said: tuple[Word, ...] = ()
    """Those of the oldest unfinished utterance, all of them."""
    utterance: int = 0
    """Number of the oldest unfinished utterance, or of the next one."""
    shown: bool = False
    """Whether that one has been seen under this number."""
    language: str = ""
    """Of the newest text."""
    speech_start: int = 0
    """First sample of the speech that the oldest unfinished utterance is a part of."""
    edges: tuple[SegmentEdge, ...] = ()
    """Where the unfinished segments of speech start and end, as far as that was told."""
    told_until: int = 0
    """Where the audio begins about which the log says nothing. Within a running segment this is
    the end of the last committed word."""
    heard_until: int = 0
    """Audio that was told of, in words or marks, ends here."""
    silent_from: int = 0
    """The next segment cannot start before this sample."""
    needed_from: int = 0
    """First sample that is needed to go on."""
    marks: tuple[Flushed | AudioDropped, ...] = ()
    """Flushes and gaps from there on."""
    unrefined: tuple[Final, ...] = ()
    """Finals that the final model owes an answer."""
    refined_until_s: float = -1.0
    """End of the utterance before the first of these."""
    overloaded: bool = False
    """Whether overload was the last that was told of the load."""


class Recovery:
    """Follows the events of one session; what it keeps is bounded as the session's state is."""

    def __init__(self) -> None:
        self._started: SessionStarted | None = None
        self._ended = False
        self._next_seq = 0
        self._clock_s = 0.0
        self._words: deque[Word] = deque(maxlen=_RECENT_WORDS)
        self._said: list[Word] = []
        self._utterance = 0
        self._shown = False
        self._language = ""
        self._segments: deque[tuple[int, int | None]] = deque()
        self._speech_start = 0
        self._silent_from = 0
        self._stretch_start = 0
        self._heard_until = 0
        self._marks: deque[Flushed | AudioDropped] = deque()
        self._unrefined: dict[int, Final] = {}
        self._refined_until_s = -1.0
        self._final_end_s = -1.0
        self._overloaded = False
        self._quiet_from = 0

    @property
    def begun(self) -> bool:
        """Whether there was a first event."""
        return self._started is not None

    def push(self, event: Event) -> None:
        """Take the next event."""
        self._next_seq = event.seq + 1
        self._clock_s = event.clock_s
        if isinstance(event, SessionStarted):
            self._started = event
        elif isinstance(event, SpeechStarted):
            self._start(self._snapped(event.at_s))
        elif isinstance(event, SpeechEnded):
            self._end(self._snapped(event.at_s))
        elif isinstance(event, Flushed | AudioDropped):
            self._marks.append(event)
            self._stretch_start = _end_of(event)
            self._heard_until = max(self._heard_until, self._stretch_start)
        elif isinstance(event, Partial | Committed):
            self._show(event)
        elif isinstance(event, Final):
            self._finish(event)
        elif isinstance(event, Refined):
            final = self._unrefined.pop(event.utterance, None)
            if final is not None:
                self._refined_until_s = max(self._refined_until_s, final.end_s)
        elif isinstance(event, Notice) and event.code in ("overload", "keeping_up"):
            self._overloaded = event.code == "overload"
        elif isinstance(event, SessionEnded):
            self._ended = True
        self._forget_marks()

    def rest(self, quiet: Quiet) -> bool:
        """Take that nothing was said; False if it is about events that are not there (yet)."""
        if quiet.next_seq > self._next_seq:
            return False
        self._quiet_from = max(self._quiet_from, quiet.from_sample)
        self._forget_marks()
        return True

    @property
    def needed_from(self) -> int:
        """First sample that a session which goes on from here needs."""
        needed = max(self._silent_from, self._stretch_start, self._quiet_from)
        if self._segments:
            start = self._segments[0][0]
            newest = max(self._last_word_end, start)
            needed = max(self._speech_start, newest - _WINDOW_SAMPLES)
            if self._refines:  # the final model hears all of it
                needed = min(needed, start)
        for final in self._unrefined.values():
            needed = min(needed, samples_from_seconds(final.start_s))
        first = max(0, needed - _MARGIN_SAMPLES)
        for mark in self._marks:
            if isinstance(mark, AudioDropped) and mark.start_sample < first < mark.end_sample:
                first = mark.end_sample
        return first

    def state(self) -> Recovered | None:
        """All of it; None before the first event."""
        if self._started is None:
            return None
        return Recovered(
            started=self._started,
            ended=self._ended,
            next_seq=self._next_seq,
            clock_s=self._clock_s,
            words=tuple(self._words),
            said=tuple(self._said),
            utterance=self._utterance,
            shown=self._shown,
            language=self._language,
            speech_start=self._speech_start,
            edges=tuple(self._edges()),
            told_until=self._told_until,
            heard_until=self._heard_until,
            silent_from=self._silent_from,
            needed_from=self.needed_from,
            marks=tuple(self._marks),
            unrefined=tuple(self._unrefined.values()),
            refined_until_s=self._refined_until_s,
            overloaded=self._overloaded,
        )

    # -- inside -------------------------------------------------------------------------------

    @property
    def _refines(self) -> bool:
        return self._started is not None and "final_model" in self._started.options

    @property
    def _last_word_end(self) -> int:
        return samples_from_seconds(self._words[-1].end_s) if self._words else 0

    @property
    def _told_until(self) -> int:
        if not self._segments:
            return max(self._silent_from, self._stretch_start, self._quiet_from)
        start, end = self._segments[-1]
        if end is not None:
            return max(end + _MARGIN_SAMPLES, self._stretch_start)
        return max(start, self._last_word_end)

    def _forget_marks(self) -> None:
        while self._marks and _end_of(self._marks[0]) < self.needed_from:
            self._marks.popleft()

    def _edges(self) -> Iterable[SegmentEdge]:
        for start, end in self._segments:
            yield SegmentStart(start, start, told=True)
            if end is not None:
                yield SegmentEnd(end, end + _MARGIN_SAMPLES, "silence", told=True)

    def _start(self, at_sample: int) -> None:
        if not self._segments:
            self._speech_start = at_sample
        self._segments.append((at_sample, None))
        self._hear(at_sample)

    def _end(self, at_sample: int) -> None:
        self._silent_from = at_sample
        self._hear(at_sample)
        if self._segments:
            start, _ = self._segments.pop()
            self._segments.append((start, at_sample))

    def _show(self, event: Partial | Committed) -> None:
        self._utterance, self._shown = event.utterance, True
        self._language = event.language or self._language
        if isinstance(event, Committed):
            self._words.extend(event.words)
            self._said.extend(event.words)
            self._hear(self._last_word_end)

    def _hear(self, until_sample: int) -> None:
        # There may be that little less audio than a rounded time says.
        self._heard_until = max(self._heard_until, until_sample - _ROUNDED_SAMPLES)

    def _snapped(self, at_s: float) -> int:
        """The sample of a rounded time: where it is the edge of a mark, exactly that one."""
        at_sample = samples_from_seconds(at_s)
        for mark in reversed(self._marks):
            for edge in (_start_of(mark), _end_of(mark)):
                if abs(at_sample - edge) < _ROUNDED_SAMPLES:
                    return edge
        return at_sample

    def _finish(self, final: Final) -> None:
        self._utterance, self._shown = final.utterance + 1, False
        self._language = final.language or self._language
        self._said = []
        if self._segments:
            _, end = self._segments.popleft()
            if final.reason == "max_length":
                self._segments.appendleft((samples_from_seconds(final.end_s), end))
            elif self._segments:
                self._speech_start = self._segments[0][0]
            if end is None and final.reason != "max_length":  # given up in the middle
                self._silent_from = samples_from_seconds(final.end_s)
        if self._refines and not self._unrefined:
            self._refined_until_s = self._final_end_s
        self._final_end_s = final.end_s
        if self._refines and final.words:
            self._unrefined[final.utterance] = final


def recover(events: Iterable[Event]) -> Recovered | None:
    """The state that the events of one session have left; None where there are none."""
    recovery = Recovery()
    for event in events:
        recovery.push(event)
    return recovery.state()


def _start_of(mark: Flushed | AudioDropped) -> int:
    return mark.at_sample if isinstance(mark, Flushed) else mark.start_sample


def _end_of(mark: Flushed | AudioDropped) -> int:
    return mark.at_sample if isinstance(mark, Flushed) else mark.end_sample
