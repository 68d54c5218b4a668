"""When to decode which audio, what to commit, and what to let go.

Pure: it is told how much audio there is and what was heard, and answers with passes and
events. It never sees audio nor a clock.

One utterance is open at a time; closed ones wait in order for their last pass. At most one
pass is out at any moment, so work that does not keep up coalesces by itself: the next pass
simply covers more audio. A pass never covers more than `Transcriber.limit_samples`,
whatever the model does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .audio import samples_from_seconds, seconds
from .cadence import Cadence
from .context import CONTEXT_GAP_S, context_of, parrots
from .events import Committed, Event, Final, FinalReason, Partial, Word, text_of
from .options import TranscriberOptions
from .protocols import Commit, CommitPolicy, Hypothesis, TrimPolicy
from .recovery import Recovered
from .seam import seam
from .words import ends_sentence

__all__ = ["TAIL_SAMPLES", "Pass", "QuietestPoint", "Transcriber"]

TAIL_SAMPLES = samples_from_seconds(0.2)
"""Audio after the end of speech that the last pass of an utterance also covers."""
_FRESH_SAMPLES = samples_from_seconds(0.2)
"""A hypothesis counts only with this much more audio than the one before: decoding is
deterministic, so a pass without new audio agrees with itself."""
_CERTAIN_SAMPLES = samples_from_seconds(1.0)
"""On a window shorter than this the model guesses, often twice the same: it counts for nothing."""
_EARLY_SAMPLES = samples_from_seconds(0.5)
"""New audio that at most makes a pass due while nothing of an utterance is heard yet, so that
its first words show soon with long chunks, too. Less than this is mostly heard as nothing."""
_SHORTEST_SAMPLES = samples_from_seconds(0.1)
"""Less audio than this cannot hold a word."""
_UNHEARD_S = 0.5
"""Voice that the last pass of an utterance may leave without a word; more than a breath."""
_LIMIT_FACTOR = 1.5
"""A window may outgrow ``window_s`` this far while there is no committed word to cut at."""
_PROGRESS_SAMPLES = samples_from_seconds(1.0)
"""A cut that frees less than this would be needed again at once."""
_DETECT_SAMPLES = samples_from_seconds(3.0)
"""Audio that the detection of a language needs; on less, Whisper is often sure and wrong."""
_SOON_S = 0.1
"""Patience of a pass while nothing of the utterance is shown yet, and of a second try."""
_RECENT_WORDS = 400
"""Committed words remembered for the seam and the context; more than a window holds."""

QuietestPoint = Callable[[int, int, int], int]
"""Finds the middle of the quietest 0.2 s between two samples of a stretch."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Audio to decode for one utterance, and the text that goes with it."""

    stretch: int
    """Which contiguous run of audio the samples belong to."""
    start_sample: int
    end_sample: int
    context: str
    """Committed text whose audio lies before the window."""
    prefix: tuple[Word, ...]
    """Committed words whose audio lies inside the window."""
    options: TranscriberOptions
    """Those of the utterance."""
    language: str | None
    fallback_language: str | None
    careful: bool
    """The pass before looped; this one is the second try."""
    patience_s: float
    """How long after it was asked for the answer still comes in time."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """A hypothesis, as far as it is needed later."""

    start_s: float
    end_sample: int
    words: tuple[Word, ...]
    new_from: int | None
    """Index of its first word that was not committed before it; None where the backend does
    not tell."""
    n_committed: int
    """Words that the session had committed before it."""


@dataclass(slots=True, eq=False)
class _Utterance:
    stretch: int
    start_sample: int
    window_start: int
    options: TranscriberOptions
    """As they were when it began."""
    language: str | None
    number: int = -1
    """Given when it first shows, so that numbers rise with time."""
    end_sample: int | None = None
    """None while speech goes on."""
    cover_until: int = 0
    """Once closed: where its last pass must reach."""
    reason: FinalReason = "silence"
    ends_at_commit: bool = False
    """It needs no last pass: the audio after its last word belongs to the next one."""
    words: list[Word] = field(default_factory=list)
    """Everything committed; bounded, as an utterance has a longest length."""
    heard: deque[_Heard] = field(default_factory=deque)
    """The last hypotheses that count, for the policy."""
    latest: _Heard | None = None
    """The newest hypothesis, whether it counts or not."""
    aligned: bool = True
    """False if the newest words have interpolated times."""
    overdue: bool = False
    """A word waits that had ended a chunk before the newest pass did, and the policy disputes."""
    looped: bool = False
    """The newest pass looped and a careful one is due."""
    known_until: int = 0
    """A former run has committed what was said up to here."""

    @property
    def heard_until(self) -> int:
        return self.latest.end_sample if self.latest else max(self.start_sample, self.known_until)

    @property
    def covered(self) -> bool:
        """A pass has heard the speech to its end, so nothing in it is stale."""
        return self.latest is not None and self.latest.end_sample >= self.cover_until


class Transcriber:
    """Turns speech segments and hypotheses into passes and events.

    Args:
        options: windows, cadence and language.
        commit_policy: decides which words are certain.
        trim_policy: decides which audio may leave the window.
        quietest_point: where to cut speech in which nothing was committed.
    """

    def __init__(
        self,
        options: TranscriberOptions,
        commit_policy: CommitPolicy,
        trim_policy: TrimPolicy,
        quietest_point: QuietestPoint,
    ) -> None:
        self._options = options
        self._commit_policy = commit_policy
        self._trim_policy = trim_policy
        self._quietest_point = quietest_point
        self.limit_samples = samples_from_seconds(options.window_s * _LIMIT_FACTOR)
        """The most audio that a pass ever covers."""
        self.cadence = Cadence(samples_from_seconds(options.chunk_s))
        self._open: _Utterance | None = None
        self._closed: deque[_Utterance] = deque()
        self._out: tuple[Pass, _Utterance | None] | None = None
        self._numbers = 0
        self._language = options.language
        self._recent: deque[Word] = deque(maxlen=_RECENT_WORDS)
        self._n_committed = 0
        self._context_from_s = 0.0
        self._unforced_until_s = 0.0
        """Committed words before this are as they were seen, not as they were heard: they are
        found again in a hypothesis, but not forced on it."""
        self._restored: Recovered | None = None
        """Awaits the utterance that a former run has begun."""

    # -- a former run ---------------------------------------------------------------------

    def restore(self, state: Recovered, *, as_heard: bool) -> None:
        """Go on where a former run of the session was stopped; before anything else.

        What it has committed of the utterance that opens next stays, and the new words come
        behind it.

        Args:
            state: what it told.
            as_heard: whether the words it told are those that the model heard; not where they
                were replaced.
        """
        self._recent.extend(state.words)
        self._numbers = state.utterance
        self._language = self._options.language or state.language or None
        if state.words and not as_heard:
            self._unforced_until_s = self._context_from_s = state.words[-1].end_s
        if state.edges:
            self._restored = state

    def _go_on(self, utterance: _Utterance, state: Recovered, first_sample: int) -> None:
        """Make a fresh utterance the one that a former run has begun."""
        if state.shown:
            utterance.number = self._number(utterance)
            utterance.words.extend(state.said)
        if state.said:
            utterance.language = state.language or utterance.language
        # Speech may have gone on from the utterance before, whose last words are context.
        words = [w for w in state.words if samples_from_seconds(w.start_s) >= state.speech_start]
        known = samples_from_seconds(words[-1].end_s) if words else 0
        utterance.known_until = max(utterance.start_sample, known)
        if words:
            start_s, until_s = seconds(state.speech_start), seconds(utterance.known_until)
            if until_s - start_s > self._options.window_s:  # it would have been trimmed
                keep_from_s = until_s - self._options.left_context_s
                start_s = next((w.start_s for w in words if w.start_s >= keep_from_s), until_s)
            utterance.window_start = samples_from_seconds(start_s)
        utterance.window_start = max(utterance.window_start, first_sample)

    # -- what the segmenter found ---------------------------------------------------------

    def open(self, at_sample: int, stretch: int, first_sample: int = 0) -> None:
        """Speech starts, in a stretch of audio that begins with ``first_sample``."""
        at_s = seconds(at_sample)
        if self._recent and at_s - self._recent[-1].end_s > CONTEXT_GAP_S:
            self._context_from_s = at_s
        self._open = _Utterance(
            stretch, at_sample, at_sample, self._options, self._options.language
        )
        if self._restored is not None:
            self._go_on(self._open, self._restored, first_sample)
            self._restored = None

    def configure(self, options: TranscriberOptions, at_sample: int) -> None:
        """Hear utterances after ``at_sample`` in another way; see `Configure`. None may be open."""
        changed = (options.language, options.task) != (self._options.language, self._options.task)
        self._options = replace(
            self._options,
            language=options.language,
            candidates=options.candidates,
            task=options.task,
            prompt=options.prompt,
            hotwords=options.hotwords,
        )
        if changed:
            self._language = options.language
            self._context_from_s = seconds(at_sample)

    def close(self, at_sample: int, cover_until: int, reason: FinalReason) -> list[Event]:
        """Speech ended at ``at_sample``; the last pass must reach ``cover_until``."""
        utterance, self._open = self._open, None
        if utterance is None:
            return []
        utterance.end_sample = max(at_sample, utterance.start_sample)
        utterance.cover_until = max(cover_until, utterance.end_sample)
        utterance.reason = reason
        self._closed.append(utterance)
        return self._finish_covered()

    def split(self, at_sample: int) -> tuple[int, list[Event]]:
        """The utterance is as long as it may be at ``at_sample``, and speech goes on.

        It ends at its last committed word and the audio after that moves on to the next
        utterance; if nothing was committed, it ends where the audio is quietest.

        Returns:
            The sample at which the next utterance starts, and events.
        """
        utterance = self._open
        if utterance is None:
            return at_sample, []
        if not utterance.words:
            return self._split_at_quiet(utterance, at_sample)
        cut = min(samples_from_seconds(utterance.words[-1].end_s), at_sample)
        cut = max(cut, utterance.start_sample)  # its window reaches back to words of the one before
        self._open = _Utterance(
            utterance.stretch, cut, utterance.window_start, utterance.options, utterance.language
        )
        self._open.looped = utterance.looped
        if self._out is not None and self._out[1] is utterance:
            self._out = (self._out[0], self._open)  # the window lives on, and so does its pass
        utterance.end_sample, utterance.reason = cut, "max_length"
        utterance.ends_at_commit = True
        self._closed.append(utterance)
        return cut, self._finish_covered()

    # -- passes -----------------------------------------------------------------------------

    def next_pass(self, audio_end: int, *, speech_end: int | None) -> Pass | None:
        """The pass to run now, if any.

        Args:
            audio_end: end of the audio that can be decoded in the running stretch.
            speech_end: where speech paused; None while it is heard.
        """
        if self._out is not None:
            return None
        if self._closed:
            return self._issue(self._closed[0], self._closed[0].cover_until)
        utterance = self._open
        if utterance is None:
            return None
        if not self._options.partials and audio_end - utterance.window_start < self.limit_samples:
            return None
        if (
            not self._language_of(utterance)
            and audio_end - utterance.window_start < _DETECT_SAMPLES
        ):
            return None  # words in a guessed language would only be taken back
        if speech_end is None:
            due = audio_end - utterance.heard_until >= self._chunk_of(utterance)
        else:
            # The early final: what the last pass would hear is heard as soon as it is there, so
            # that its words wait for the endpoint and not for a pass after it. If speech goes
            # on, it was a pass like others. One before it would only keep it waiting.
            covered = speech_end + TAIL_SAMPLES
            due = utterance.heard_until < covered <= audio_end
        if audio_end - utterance.window_start < _SHORTEST_SAMPLES:
            return None
        return self._issue(utterance, audio_end) if due or utterance.looped else None

    def complete(self, done: Pass, hypothesis: Hypothesis) -> tuple[list[Event], int | None]:
        """Take what a pass heard.

        Returns:
            Events, and the sample at which the running utterance starts now if it had to be
            split.
        """
        if self._out is None or self._out[0] is not done:
            raise ValueError("not the pass that is out")
        utterance, self._out = self._out[1], None
        if utterance is None:
            return [], None
        self._learn_language(utterance, done, hypothesis)
        looped = hypothesis.looped or parrots(hypothesis.words, done.context)
        if looped and done.careful:
            self._context_from_s = seconds(done.end_sample)
        last = utterance.end_sample is not None and done.end_sample >= utterance.cover_until
        stopped = last and hypothesis.unheard_s >= _UNHEARD_S
        # One second try, as a pass of its own: it hears what was said meanwhile.
        utterance.looped = (looped or stopped) and not done.careful
        if utterance.looped:
            return [], None
        heard = _Heard(
            seconds(done.start_sample),
            done.end_sample,
            hypothesis.words,
            hypothesis.n_forced if self._forces(done.start_sample) else None,
            self._n_committed,
        )
        fresh = (
            not utterance.heard
            or heard.end_sample >= utterance.heard[-1].end_sample + _FRESH_SAMPLES
        )
        utterance.latest = heard
        utterance.aligned = hypothesis.timing == "aligned"
        events: list[Event] = []
        if utterance.end_sample is None or not utterance.covered:
            if fresh and done.end_sample - done.start_sample < _CERTAIN_SAMPLES:
                utterance.overdue = False
                events += self._show(utterance, Commit((), self._after_seam(heard)))
            elif fresh:
                utterance.heard.append(heard)
                while len(utterance.heard) > self._commit_policy.history:
                    utterance.heard.popleft()
                events += self._agree(utterance, heard)
            events_of_cut, cut = self._make_room(utterance, done, stuck=hypothesis.looped)
            return events + events_of_cut + self._finish_covered(), cut
        return self._finish_covered(), None

    def abandon(self, done: Pass) -> None:
        """Forget a pass that will not be completed."""
        if self._out is not None and self._out[0] is done:
            self._out = None

    def give_up(self) -> list[Event]:
        """No pass will follow: end what has been shown with what is committed of it."""
        shown = [utterance for utterance in self._utterances if utterance.number >= 0]
        for utterance in shown:
            if utterance.end_sample is None:
                utterance.end_sample = utterance.heard_until
                utterance.reason = "end_of_stream"
        self._open, self._out = None, None
        self._closed.clear()
        return [self._final(utterance) for utterance in shown]

    def oldest_sample(self, stretch: int) -> int | None:
        """First sample of a stretch that a pass may still need; None if there is none."""
        starts = [u.window_start for u in self._utterances if u.stretch == stretch]
        return min(starts, default=None)

    @property
    def stretches(self) -> set[int]:
        """Stretches of audio that utterances still refer to."""
        return {utterance.stretch for utterance in self._utterances}

    @property
    def n_closed(self) -> int:
        """Utterances that wait for their last pass."""
        return len(self._closed)

    @property
    def number_out(self) -> int:
        """Number of the utterance whose pass is out; -1 while nothing of it has been shown."""
        utterance = None if self._out is None else self._out[1]
        return -1 if utterance is None else utterance.number

    # -- inside -------------------------------------------------------------------------------

    @property
    def _utterances(self) -> list[_Utterance]:
        return [*self._closed, *([self._open] if self._open else [])]

    def _chunk_of(self, utterance: _Utterance) -> int:
        """New audio that makes a pass due while speech goes on."""
        chunk = self.cadence.chunk_samples
        if utterance.overdue:  # not so early that the pass would not count
            chunk = min(chunk, max(self.cadence.hasty_samples, _FRESH_SAMPLES))
        heard = utterance.words or (utterance.latest and utterance.latest.words)
        return chunk if heard or self.cadence.overloaded else min(chunk, _EARLY_SAMPLES)

    def _issue(self, utterance: _Utterance, wanted_end: int) -> Pass:
        start = utterance.window_start
        end = min(wanted_end, start + self.limit_samples)
        before = [
            w
            for w in self._recent
            if w.start_s >= self._context_from_s and _middle_s(w) <= seconds(start)
        ]
        if utterance.looped:
            before = []  # the context may be what it looped over
        detect = utterance.language is None and end - start >= _DETECT_SAMPLES
        issued = Pass(
            stretch=utterance.stretch,
            start_sample=start,
            end_sample=end,
            context=context_of(before, end - start),
            prefix=self._inside(seconds(start)) if self._forces(start) else (),
            options=utterance.options,
            language=utterance.language or (None if detect else self._language),
            fallback_language=self._language,
            careful=utterance.looped,
            patience_s=self._patience_s(utterance),
        )
        self._out = (issued, utterance)
        return issued

    def _patience_s(self, utterance: _Utterance) -> float:
        if utterance.end_sample is not None:
            return 0.0  # its final waits for this pass
        if utterance.latest is None or utterance.looped:
            return _SOON_S
        return seconds(self.cadence.chunk_samples)  # then the next pass is due

    def _forces(self, start_sample: int) -> bool:
        """Whether a window that starts there has only words in it that were heard like that."""
        return seconds(start_sample) >= self._unforced_until_s

    def _inside(self, start_s: float) -> tuple[Word, ...]:
        """Committed words whose audio is in a window that starts at ``start_s``."""
        # A word whose middle lies before the cut is more out than in.
        return tuple(w for w in self._recent if _middle_s(w) > start_s)

    def _after_seam(self, heard: _Heard) -> tuple[Word, ...]:
        """Its words that are not committed yet."""
        if heard.new_from is not None:
            # What was committed since then was a prefix of the words that were new, or stands
            # in their place.
            return heard.words[heard.new_from + self._n_committed - heard.n_committed :]
        return heard.words[seam(self._inside(heard.start_s), heard.words) :]

    def _agree(self, utterance: _Utterance, newest: _Heard) -> list[Event]:
        """Let the policy commit what it will of the newest hypothesis."""
        commit = self._commit_policy.update(
            [self._after_seam(heard) for heard in utterance.heard],
            self._inside(newest.start_s),
            seconds(newest.end_sample),
        )
        before_chunk_s = seconds(newest.end_sample - self.cadence.chunk_samples)
        utterance.overdue = commit.disputed and commit.tentative[0].end_s < before_chunk_s
        return self._show(utterance, commit)

    def _show(self, utterance: _Utterance, commit: Commit) -> list[Event]:
        """Commit words and show the tentative rest."""
        words, tentative = commit.words, commit.tentative
        if not self._language_of(utterance):
            words, tentative = (), (*words, *tentative)  # nothing is certain in no language
        if words and not tentative and ends_sentence(words[-1].text):
            # Models put full stops where the audio happens to end.
            words, tentative = words[:-1], words[-1:]
        events = self._commit(utterance, words)
        if self.cadence.shows_partials:
            events.append(
                Partial(
                    utterance=self._number(utterance),
                    committed=text_of(utterance.words),
                    tentative=text_of(tentative),
                    words=tentative,
                    language=self._language_of(utterance),
                )
            )
        return events

    def _commit(self, utterance: _Utterance, words: tuple[Word, ...]) -> list[Event]:
        if not words:
            return []
        # Word times of different passes differ a little; those of the log never go back.
        floor_s = self._recent[-1].start_s if self._recent else 0.0
        ordered = []
        for word in words:
            floor_s = max(floor_s, word.start_s)
            ordered.append(Word(word.text, floor_s, max(floor_s, word.end_s), word.probability))
        utterance.words.extend(ordered)
        self._recent.extend(ordered)
        self._n_committed += len(ordered)
        return [
            Committed(
                utterance=self._number(utterance),
                text=text_of(ordered),
                words=tuple(ordered),
                language=self._language_of(utterance),
            )
        ]

    def _finish_covered(self) -> list[Event]:
        """Finish the utterances at the head of the queue whose speech a pass has covered."""
        events: list[Event] = []
        while self._closed and (self._out is None or self._out[1] is not self._closed[0]):
            utterance = self._closed[0]
            too_short = utterance.cover_until - utterance.window_start < _SHORTEST_SAMPLES
            if utterance.covered and utterance.latest and not utterance.ends_at_commit:
                events += self._commit(utterance, self._after_seam(utterance.latest))
            elif not (utterance.ends_at_commit or too_short):
                break
            self._closed.popleft()
            events.append(self._final(utterance))
        return events

    def _final(self, utterance: _Utterance) -> Final:
        end_sample = utterance.end_sample
        assert end_sample is not None
        return Final(
            utterance=self._number(utterance),
            text=text_of(utterance.words),
            words=tuple(utterance.words),
            start_s=seconds(utterance.start_sample),
            end_s=seconds(end_sample),
            language=self._language_of(utterance),
            reason=utterance.reason,
        )

    def _make_room(
        self, utterance: _Utterance, done: Pass, *, stuck: bool
    ) -> tuple[list[Event], int | None]:
        """Trim the window; split the utterance where there is no other way.

        That is where the window has reached its limit, and where the second try at it has
        looped, too: longer, it would only loop longer.
        """
        start_s = seconds(done.start_sample)
        inside = self._inside(start_s)
        trimmed_s = (
            self._trim_policy.trim(start_s, seconds(done.end_sample), inside)
            if utterance.aligned
            else None
        )
        if trimmed_s is not None:
            trimmed = min(samples_from_seconds(trimmed_s), done.end_sample)
            utterance.window_start = max(utterance.window_start, trimmed)
        freed = utterance.window_start - done.start_sample
        most = min(4 * _PROGRESS_SAMPLES, self.limit_samples) if stuck else self.limit_samples
        if done.end_sample - done.start_sample < most or freed >= _PROGRESS_SAMPLES:
            return [], None
        committed_end = samples_from_seconds(inside[-1].end_s) if inside else 0
        if committed_end - utterance.window_start >= _PROGRESS_SAMPLES:
            utterance.window_start = min(committed_end, done.end_sample)
            return [], None
        was_open = utterance.end_sample is None
        cut, events = self._split_at_quiet(utterance, done.end_sample)
        return events, cut if was_open else None

    def _split_at_quiet(self, utterance: _Utterance, until: int) -> tuple[int, list[Event]]:
        """End an utterance that offers no committed word to cut at where it is quietest."""
        start = max(utterance.window_start, utterance.start_sample)
        end = until if utterance.end_sample is None else min(until, utterance.end_sample)
        low = max(utterance.window_start + _PROGRESS_SAMPLES, (start + end) // 2)
        cut = self._quietest_point(utterance.stretch, min(low, end), end)
        rest = _Utterance(utterance.stretch, cut, cut, utterance.options, utterance.language)
        if utterance.end_sample is None:
            self._open = rest
            self._closed.append(utterance)
        else:
            rest.end_sample, rest.cover_until = utterance.end_sample, utterance.cover_until
            rest.reason = utterance.reason
            self._closed.insert(1, rest)
        utterance.end_sample, utterance.reason = cut, "max_length"
        utterance.cover_until = min(cut + TAIL_SAMPLES // 2, until)
        # What was heard reaches past the cut; a last pass up to there is due.
        utterance.latest = None
        if self._out is not None and self._out[1] is utterance:
            self._out = (self._out[0], None)
        return cut, self._finish_covered()

    def _learn_language(self, utterance: _Utterance, done: Pass, hypothesis: Hypothesis) -> None:
        """Settle the language of an utterance, once: a pass was asked to detect it."""
        if utterance.language is not None or done.language is not None:
            return
        closing = utterance.end_sample is not None
        if not (closing or hypothesis.language_detected or self._language):
            return
        if self._language not in (None, hypothesis.language):
            self._context_from_s = seconds(utterance.start_sample)
            utterance.heard.clear()  # what was heard in the other language agrees with nothing
        utterance.language = hypothesis.language
        if hypothesis.language_detected and utterance.options is self._options:
            self._language = hypothesis.language

    def _language_of(self, utterance: _Utterance) -> str:
        return utterance.language or self._language or ""

    def _number(self, utterance: _Utterance) -> int:
        if utterance.number < 0:
            utterance.number = self._numbers
            self._numbers += 1
        return utterance.number


def _middle_s(word: Word) -> float:
    return (word.start_s + word.end_s) / 2
