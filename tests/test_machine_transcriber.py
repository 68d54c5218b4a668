"""The transcriber under any order of what may happen to it, and whatever is heard.

The machine stands where a session stands: it knows how much audio there is, what the segmenter
may say of it, and which pass is out. What it holds the transcriber to is the contract of its
events, which it keeps account of by itself.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

import pytest
from bounded import bounded
from fakes import name_of
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from policies.agreement_hold_back import AgreementHoldBack
from policies.endpoint_only import EndpointOnly
from policies.hold_back import HoldBack
from policies.local_agreement import LocalAgreement
from policies.trimming import TrimAtWord
from streaming.audio import SAMPLE_RATE, seconds
from streaming.events import Committed, Event, Final, FinalReason, Partial, Word, text_of
from streaming.options import TranscriberOptions
from streaming.protocols import CommitPolicy, Hypothesis
from streaming.transcriber import TAIL_SAMPLES, Pass, Transcriber

MOST_CLOSED = 8
TEXTS = (" a", " the", " The", " end.", " end?", " whisper", " whispers", " -", "字", " B,")
POLICIES: st.SearchStrategy[CommitPolicy] = st.one_of(
    st.builds(LocalAgreement, st.integers(1, 3)),
    st.builds(HoldBack, st.sampled_from([0.0, 0.5, 3.0])),
    st.builds(AgreementHoldBack, st.integers(1, 2), st.just(0.5)),
    st.builds(EndpointOnly),
)


SEEDS = st.integers(0, 1 << 30)


def hypothesis_of(done: Pass, told: list[Word], rng: random.Random) -> Hypothesis:
    """Anything that a backend may answer: what was said, something else, nothing, again."""
    start_s, end_s = seconds(done.start_sample), seconds(done.end_sample)
    kind = rng.choices(("said", "other", "nothing", "loop"), (12, 2, 1, 1))[0]
    shift_s = rng.choice((0.0, 0.0, 0.0, 0.04, -0.3, 2.0))
    words = [word for word in told if word.start_s >= start_s and word.end_s <= end_s]
    if kind == "nothing":
        words = []
    elif kind == "other":
        words = [replace(word, text=rng.choice(TEXTS)) for word in words]
    elif kind == "loop":
        words += words[-2:] * rng.randint(1, 4)
    forced = done.prefix if rng.random() < 0.3 and not done.careful else None
    at_s = start_s
    if forced:
        at_s = forced[-1].end_s
        words = [word for word in words if word.start_s >= at_s]
    timed = []
    for word in words:  # monotone, and clipped to the window
        begins_s = max(min(word.start_s + shift_s, end_s), at_s)
        at_s = max(min(word.end_s + shift_s, end_s), begins_s)
        timed.append(replace(word, start_s=begins_s, end_s=at_s))
    return Hypothesis(
        words=(*(forced or ()), *timed),
        language=done.language or rng.choice(("en", "en", "en", "de")),
        language_detected=rng.random() < 0.7,
        timing=rng.choice(("aligned", "aligned", "aligned", "interpolated")),
        looped=kind == "loop" or rng.random() < 0.05,
        unheard_s=rng.choice((0.0, 0.0, 0.0, 0.6)),
        n_forced=None if forced is None else len(forced),
    )


class TranscriberMachine(RuleBasedStateMachine):
    transcriber: Transcriber

    @initialize(
        policy=POLICIES,
        window_s=st.sampled_from([2.0, 4.0, 10.0]),
        left=st.sampled_from([0.0, 0.4]),
        chunk_s=st.sampled_from([0.2, 0.5, 1.0]),
        language=st.sampled_from(["en", None]),
        partials=st.sampled_from([True, True, True, False]),
        quiet=st.floats(0.0, 1.0),
    )
    def make(
        self,
        policy: CommitPolicy,
        window_s: float,
        left: float,
        chunk_s: float,
        language: str | None,
        partials: bool,
        quiet: float,
    ) -> None:
        self.options = TranscriberOptions(
            window_s=window_s,
            left_context_s=left * window_s,
            chunk_s=chunk_s,
            language=language,
            partials=partials,
        )

        def quietest(stretch: int, low: int, high: int) -> int:
            assert self.stretch_start(stretch) <= low <= high <= self.stretch_end(stretch)
            return low + round(quiet * (high - low))

        trimming = TrimAtWord(window_s, left * window_s)
        self.transcriber = Transcriber(self.options, policy, trimming, quietest)
        self.stretches = [(0, 0)]
        """Beginning and, once it is over, end of each."""
        self.end = 0
        self.earliest = 0
        """Where the next utterance may begin."""
        self.open_from: int | None = None
        self.out: Pass | None = None
        self.told: list[Word] = []
        self.given_up = False
        # What the events say.
        self.numbers: list[int] = []
        """Of finals."""
        self.texts: dict[int, list[Word]] = {}
        """Committed words of the utterances that have no final yet."""
        self.newest_s = 0.0
        """Start of the newest committed word."""
        self.last_final: Final | None = None
        self.opened: deque[float] = deque()
        self.closed: deque[tuple[float, FinalReason]] = deque()
        """Ends that were said and are to come back in finals, in order."""

    # -- the session's side -----------------------------------------------------------------------

    @property
    def stretch(self) -> int:
        return len(self.stretches) - 1

    def stretch_start(self, stretch: int) -> int:
        return self.stretches[stretch][0]

    def stretch_end(self, stretch: int) -> int:
        return self.end if stretch == self.stretch else self.stretches[stretch][1]

    @rule(n=st.sampled_from([160, 1_600, 16_000, 80_000]), seed=SEEDS)
    def hear_audio(self, n: int, seed: int) -> None:
        self.advance(n, random.Random(seed))

    @rule(steps=st.integers(1, 12), seed=SEEDS)
    def talk(self, steps: int, seed: int) -> None:
        """What happens most of the time, for a while."""
        rng = random.Random(seed)
        if self.open_from is None:
            if self.transcriber.n_closed >= MOST_CLOSED:
                return
            self.open(4_800)
        for _ in range(steps):
            self.advance(rng.choice((8_000, 16_000, 16_000, 48_000)), rng)
            self.ask_for_a_pass(None)
            if self.out is not None and rng.random() < 0.8:
                self.finish_pass(hypothesis_of(self.out, self.told, rng))

    def advance(self, n: int, rng: random.Random) -> None:
        """So much audio, with words in it while an utterance is open."""
        if self.open_from is not None:
            n = max(min(n, self.open_from + 40 * SAMPLE_RATE - self.end), 0)  # no room for more
            at = self.end
            while at + 8_000 <= self.end + n:
                length = rng.randint(2_000, 7_000)
                text = rng.choice(TEXTS) if rng.random() < 0.2 else name_of(len(self.told))
                self.told.append(Word(text, seconds(at), seconds(at + length), 0.9))
                at += length + rng.choice((300, 1_000))
        self.end += n

    @rule(pre_roll=st.sampled_from([0, 160, 4_800]))
    @precondition(lambda self: self.open_from is None and self.transcriber.n_closed < MOST_CLOSED)
    def open(self, pre_roll: int) -> None:
        at = max(self.end - pre_roll, self.earliest)
        self.transcriber.open(at, self.stretch)
        self.open_from = at
        self.opened.append(seconds(at))

    @rule(
        pause=st.sampled_from([0, 160, 1_600, 9_600]),
        reason=st.sampled_from(["silence", "silence", "flush", "end_of_stream"]),
    )
    @precondition(lambda self: self.open_from is not None)
    def close(self, pause: int, reason: FinalReason) -> None:
        assert self.open_from is not None
        at = max(self.end - pause, self.open_from)
        self.closed.append((seconds(at), reason))
        self.open_from = None
        self.earliest = at
        self.take(self.transcriber.close(at, min(at + TAIL_SAMPLES, self.end), reason))

    @rule()
    @precondition(lambda self: self.open_from is not None)
    def split(self) -> None:
        assert self.open_from is not None
        cut, events = self.transcriber.split(self.end)
        assert self.open_from <= cut <= self.end
        self.open_from = cut
        self.take(events)

    @rule(gap=st.sampled_from([0, 1_000, 50_000, 40 * SAMPLE_RATE]))
    @precondition(lambda self: self.open_from is None)
    def begin_another_stretch(self, gap: int) -> None:
        self.stretches[-1] = (self.stretches[-1][0], self.end)
        self.end += gap
        self.earliest = self.end
        self.stretches.append((self.end, self.end))

    @rule(language=st.sampled_from(["en", "de", None]), prompt=st.sampled_from(["", "Names"]))
    @precondition(lambda self: self.open_from is None)
    def configure(self, language: str | None, prompt: str) -> None:
        self.options = replace(self.options, language=language, prompt=prompt)
        self.transcriber.configure(self.options, self.end)

    # -- passes -----------------------------------------------------------------------------------

    @rule(pause=st.sampled_from([None, None, 0, 1_600, 8_000]))
    def ask_for_a_pass(self, pause: int | None) -> None:
        speech_end = None
        if pause is not None and self.open_from is not None:
            speech_end = max(self.end - pause, self.open_from)
        due = self.transcriber.next_pass(self.end, speech_end=speech_end)
        if self.out is not None:
            assert due is None, "two passes are out"
            return
        if due is not None:
            self.out = due
            assert due.end_sample - due.start_sample <= self.transcriber.limit_samples
            assert self.stretch_start(due.stretch) <= due.start_sample < due.end_sample
            assert due.end_sample <= self.stretch_end(due.stretch)
            oldest = self.transcriber.oldest_sample(due.stretch)
            assert oldest is not None
            assert oldest <= due.start_sample

    @rule(seed=SEEDS)
    @precondition(lambda self: self.out is not None)
    def complete(self, seed: int) -> None:
        assert self.out is not None
        self.finish_pass(hypothesis_of(self.out, self.told, random.Random(seed)))

    @rule(
        words=st.lists(
            st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from(TEXTS)), max_size=6
        )
    )
    @precondition(lambda self: self.out is not None)
    def complete_with_words_anywhere(self, words: list[tuple[float, float, str]]) -> None:
        assert self.out is not None
        start_s, end_s = seconds(self.out.start_sample), seconds(self.out.end_sample)
        times = sorted(t for a, b, _ in words for t in (a, b))
        self.finish_pass(
            Hypothesis(
                words=tuple(
                    Word(
                        text,
                        start_s + times[2 * i] * (end_s - start_s),
                        start_s + times[2 * i + 1] * (end_s - start_s),
                        0.5,
                    )
                    for i, (_, _, text) in enumerate(words)
                )
            )
        )

    def finish_pass(self, hypothesis: Hypothesis) -> None:
        assert self.out is not None
        done, self.out = self.out, None
        events, cut = self.transcriber.complete(done, hypothesis)
        if cut is not None:
            assert self.open_from is not None
            assert self.open_from <= cut <= self.end
            self.open_from = cut
        self.take(events)
        with pytest.raises(ValueError, match="not the pass that is out"):
            self.transcriber.complete(done, hypothesis)

    @rule()
    @precondition(lambda self: self.out is not None)
    def abandon(self) -> None:
        assert self.out is not None
        self.transcriber.abandon(self.out)
        self.out = None

    @rule(backlog=st.sampled_from([0, 4_000, 16_000, 160_000]))
    def change_the_load(self, backlog: int) -> None:
        self.transcriber.cadence.observe(backlog)

    # -- what the events say ----------------------------------------------------------------------

    def take(self, events: list[Event]) -> None:
        for event in events:
            assert isinstance(event, Partial | Committed | Final)
            assert event.utterance not in self.numbers, "it has its final"
            assert event.utterance == len(self.numbers), "utterances speak in turn"
            words = self.texts.setdefault(event.utterance, [])
            if isinstance(event, Committed):
                assert event.words
                assert event.text == text_of(event.words)
                for word in event.words:
                    assert self.newest_s <= word.start_s <= word.end_s
                    self.newest_s = word.start_s
                words += event.words
            elif isinstance(event, Partial):
                assert event.committed == text_of(words)
                assert event.tentative == text_of(event.words)
            else:
                self.take_final(event, words)

    def take_final(self, event: Final, words: list[Word]) -> None:
        assert list(event.words) == words
        assert event.text == text_of(words)
        assert event.start_s <= event.end_s
        del self.texts[event.utterance]
        self.numbers.append(event.utterance)
        # It begins where speech did, or where the one before was cut off.
        if self.last_final is not None and self.last_final.reason == "max_length":
            assert event.start_s == self.last_final.end_s
        else:
            assert event.start_s == self.opened.popleft()
        if event.reason != "max_length" and not self.given_up:
            assert (event.end_s, event.reason) == self.closed.popleft()
        self.last_final = event

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        held = self.transcriber
        assert len(held.stretches) <= held.n_closed + 1
        assert (self.open_from is None) or self.stretch in held.stretches

    # -- the end ----------------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "transcriber"):
            return
        if len(self.numbers) % 3 == 2:
            self.give_up()
        else:
            self.drain()
        assert self.transcriber.stretches == set()
        assert self.transcriber.next_pass(self.end, speech_end=None) is None
        assert self.texts == {}
        assert self.numbers == list(range(len(self.numbers)))

    def give_up(self) -> None:
        """Nobody will hear the rest: only what was shown has a final."""
        self.given_up = True
        shown = set(self.texts)
        events = self.transcriber.give_up()
        assert {event.utterance for event in events if isinstance(event, Final)} == shown
        for event in events:
            assert isinstance(event, Final)
            words = self.texts.pop(event.utterance)
            assert list(event.words) == words
            self.numbers.append(event.utterance)

    def drain(self) -> None:
        """Every utterance gets its final, after a few passes for each at most."""
        if self.open_from is not None:
            self.close(0, "end_of_stream")
        self.configure("en", "")
        for _ in range(100 * (MOST_CLOSED + 20)):
            if not self.transcriber.stretches:
                break
            self.ask_for_a_pass(None)
            assert self.out is not None, "it waits for a pass and asks for none"
            inside = [
                word
                for word in self.told
                if word.start_s >= seconds(self.out.start_sample)
                and word.end_s <= seconds(self.out.end_sample)
            ]
            self.finish_pass(Hypothesis(words=tuple(inside)))
        assert not self.closed, "an utterance has no final"
        assert not self.opened


TestTranscriber = TranscriberMachine.TestCase
TestTranscriber.settings = bounded(150, steps=25)
