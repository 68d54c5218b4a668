from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from fakes import Noise, Script, ScriptedBackend, chunks_of, say
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.audio import SAMPLE_RATE, AudioChunk, seconds
from streaming.errors import BackendError
from streaming.events import (
    Committed,
    Event,
    Final,
    FinalReason,
    Notice,
    Refined,
    SpeechStarted,
    Word,
    text_of,
)
from streaming.options import TranscriberOptions
from streaming.protocols import Hypothesis, Window
from streaming.refiner import Refiner

SCRIPT = say(5, 3, 12)
OK = Word(" ok", 0.0, 1.0, 0.5)


def make(*, drops: bool = False, **options: Any) -> Refiner:
    return Refiner(TranscriberOptions(**options), live_model="small one", drops=drops)


def silence(start_s: float, end_s: float) -> AudioChunk:
    start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
    return AudioChunk(np.zeros(end - start, np.float32), start)


def final(
    number: int,
    start_s: float,
    end_s: float,
    *,
    words: tuple[Word, ...] = (OK,),
    reason: FinalReason = "silence",
    language: str = "en",
) -> Final:
    return Final(
        utterance=number,
        text=text_of(words),
        words=words,
        start_s=start_s,
        end_s=end_s,
        reason=reason,
        language=language,
    )


def finals_of(script: Script) -> list[Final]:
    """One for each run of words without a pause."""
    runs: list[list[Word]] = []
    for word in script.words:
        if not runs or word.start_s - runs[-1][-1].end_s > 0.5:
            runs.append([])
        runs[-1].append(word)
    return [
        final(i, run[0].start_s - 0.3, run[-1].end_s, words=tuple(run))
        for i, run in enumerate(runs)
    ]


def hear(refiner: Refiner, backend: ScriptedBackend) -> list[Event]:
    """Let a model hear everything that waits."""
    events: list[Event] = []
    while not refiner.idle:
        window = refiner.next_window(backend)
        events += refiner.complete(backend.decode(window), backend.model)
    return events


@dataclass
class Answers(ScriptedBackend):
    """Says what it is told to say, window after window."""

    answers: Iterable[Hypothesis] = ()

    def decode(self, window: Window) -> Hypothesis:
        super().decode(window)
        answers = list(self.answers)
        return answers[min(self.passes, len(answers)) - 1]


def answering(*answers: Hypothesis) -> Answers:
    return Answers(SCRIPT, answers=answers)


def heard(*texts: str, looped: bool = False, start_s: float = 0.0) -> Hypothesis:
    words = (Word(text, start_s + i, start_s + i + 1.0, 0.9) for i, text in enumerate(texts))
    return Hypothesis(words=tuple(words), looped=looped)


def has_room(refiner: Refiner) -> bool:
    return refiner.has_room


def refined(events: Iterable[Event]) -> list[tuple[int, str, str]]:
    return [(e.utterance, e.text, e.model) for e in events if isinstance(e, Refined)]


# -- what is heard again --------------------------------------------------------------------------


def test_an_utterance_is_heard_with_a_margin_and_with_what_the_larger_model_wants() -> None:
    refiner = make(prompt="about ships", hotwords=("Bering",), candidates=("en", "de"))
    for chunk in chunks_of(SCRIPT.audio()):
        assert refiner.feed(chunk) == []
    assert refiner.push(final(7, 1.0, 2.0, language="de")) == []
    backend = ScriptedBackend(SCRIPT, n_mels=128)
    assert not refiner.idle
    window = refiner.next_window(backend)
    assert window.mel.shape == (128, 140)
    assert seconds(window.start_sample) == 0.8
    assert (window.prompt, window.language) == ("Bering, about ships", "de")
    assert (window.candidates, window.task) == (("en", "de"), "transcribe")
    assert (window.careful, window.context) == (False, "")


def test_what_the_larger_model_heard_becomes_the_text() -> None:
    refiner = make()
    for chunk in chunks_of(SCRIPT.audio()):
        refiner.feed(chunk)
    for said in finals_of(SCRIPT):
        assert refiner.push(replace(said, text=" what", words=(OK,))) == []
    events = hear(refiner, ScriptedBackend(SCRIPT, model="large one"))
    assert refined(events) == [
        (said.utterance, said.text, "large one") for said in finals_of(SCRIPT)
    ]
    assert [e.language for e in events if isinstance(e, Refined)] == ["en"] * 3
    for event in events:
        assert isinstance(event, Refined)
        assert text_of(event.words) == event.text


def test_only_finals_with_words_count() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 9.0))
    for event in (SpeechStarted(), Committed(words=(OK,)), final(0, 1.0, 2.0, words=())):
        assert refiner.push(event) == []
    assert refiner.idle


def test_a_long_utterance_is_cut_into_windows_where_it_is_quiet() -> None:
    script = say(200, gap_s=0.06)
    refiner = make(max_utterance_s=100.0)
    for chunk in chunks_of(script.audio()):
        refiner.feed(chunk)
    (whole,) = finals_of(script)
    refiner.push(replace(whole, text=" what", words=(OK,)))
    backend = ScriptedBackend(script)
    assert refined(hear(refiner, backend)) == [(0, whole.text, "script")]
    windows = backend.windows
    assert len(windows) == 3
    assert all(window.n_frames <= 2800 for window in windows)
    for before, after in itertools.pairwise(windows):
        assert after.start_sample - before.end_sample < 160  # less than a frame is left over
        assert before.n_frames >= 1800


def test_words_on_either_side_of_a_cut_come_once() -> None:
    script = say(40, gap_s=0.02)
    refiner = make()
    for chunk in chunks_of(script.audio()):
        refiner.feed(chunk)
    cuts = [0.2, script.words[9].end_s, script.words[24].end_s, script.duration_s - 0.5]
    for i, (start_s, end_s) in enumerate(itertools.pairwise(cuts)):
        reason: FinalReason = "silence" if i == 2 else ("max_length" if i else "flush")
        refiner.push(final(i, start_s, end_s, reason=reason))
    events = hear(refiner, ScriptedBackend(script, Noise(jitter_s=0.08)))
    assert [len(text.split()) for _, text, _ in refined(events)] == [10, 15, 15]
    said = "".join(text for _, text, _ in refined(events))
    assert said == text_of(script.words)


def test_a_first_word_that_seems_to_begin_with_the_window_is_kept() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 20.0))
    refiner.push(final(0, 1.0, 2.0))
    refiner.push(final(1, 5.0, 9.0))  # after a pause: nothing in front can be somebody else's
    early = heard(" Ask", " not", start_s=4.05)
    assert refined(hear(refiner, answering(heard(" So"), early)))[1][1] == " Ask not"


# -- context --------------------------------------------------------------------------------------


def test_the_refined_text_before_is_context() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 90.0))
    backend = answering(heard(" My", " fellow"), heard(" Americans", start_s=5.0), heard(" Ask"))
    refiner.push(final(0, 1.0, 4.0))
    refiner.push(final(1, 5.0, 9.0))
    refiner.push(final(2, 60.0, 64.0))
    hear(refiner, backend)
    assert [window.context for window in backend.windows] == ["", " My fellow", ""]


def test_text_in_another_language_is_no_context() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 20.0))
    backend = answering(heard(" My", " fellow"))
    refiner.push(final(0, 1.0, 4.0))
    refiner.push(final(1, 5.0, 9.0, language="de"))
    hear(refiner, backend)
    assert [window.context for window in backend.windows] == ["", ""]


def test_a_model_that_repeats_its_context_hears_again_without_it() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 20.0))
    first = heard(" Ask", " not", " what", " your")
    backend = answering(first, heard(" not", " what", " your"), heard(" country"))
    refiner.push(final(0, 1.0, 4.0))
    refiner.push(final(1, 5.0, 9.0))
    assert refined(hear(refiner, backend))[1] == (1, " country", "script")
    assert [(w.context, w.careful) for w in backend.windows] == [
        ("", False),
        (" Ask not what your", False),
        ("", True),
    ]


# -- where the committed words stay ---------------------------------------------------------------


def test_a_loop_gets_a_second_try_and_then_the_committed_words_stay() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 20.0))
    loop = heard(" la", looped=True)
    backend = answering(loop, heard(" la", " la"), loop, loop)
    refiner.push(final(0, 1.0, 4.0))
    refiner.push(final(1, 5.0, 9.0))
    assert refined(hear(refiner, backend)) == [(0, " la la", "script"), (1, " ok", "small one")]
    assert [window.careful for window in backend.windows] == [False, True, False, True]


def test_where_the_larger_model_hears_nothing_the_committed_words_stay() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 20.0))
    refiner.push(final(3, 1.0, 4.0))
    assert refined(hear(refiner, answering(heard()))) == [(3, " ok", "small one")]


def test_one_piece_that_loops_keeps_all_committed_words_of_a_long_utterance() -> None:
    refiner = make(max_utterance_s=60.0)
    refiner.feed(silence(0.0, 60.0))
    refiner.push(final(0, 0.0, 50.0))
    backend = answering(heard(" a"), heard(" b", looped=True))
    assert refined(hear(refiner, backend)) == [(0, " ok", "small one")]


# -- bounds ---------------------------------------------------------------------------------------


def test_live_too_many_that_wait_are_told_and_keep_their_words() -> None:
    refiner = make(drops=True)
    refiner.feed(silence(0.0, 30.0))
    refiner.push(final(0, 0.0, 1.0))
    refiner.next_window(ScriptedBackend(SCRIPT))  # that one is being heard
    for i in range(1, 9):
        assert refiner.push(final(i, i, i + 1.0)) == []
        assert refiner.has_room  # nobody waits for the larger model
    notice, kept = refiner.push(final(9, 9.0, 10.0))
    assert isinstance(notice, Notice)
    assert (notice.level, notice.code) == ("warning", "not_refined")
    assert notice.message == "utterance 9 was not refined: 8 others wait for the final model"
    assert refined([kept]) == [(9, " ok", "small one")]
    assert [number for number, _, _ in refined(hear(refiner, answering(heard(" a"))))] == [
        *range(9)
    ]


def test_live_audio_that_makes_room_is_told() -> None:
    refiner = make(drops=True, max_utterance_s=10.0)
    refiner.feed(silence(0.0, 10.0))
    refiner.push(final(0, 0.0, 1.0))
    refiner.push(final(1, 5.0, 6.0))
    assert refiner.feed(silence(10.0, 130.0)) == []
    notice, kept = refiner.feed(silence(130.0, 131.0))
    assert isinstance(notice, Notice)
    assert notice.message == "utterance 0 was not refined: it had to wait for too long"
    assert refined([kept]) == [(0, " ok", "small one")]
    assert refined(hear(refiner, answering(heard(" a", start_s=5.0)))) == [(1, " a", "script")]


def test_a_file_waits_before_anything_is_lost() -> None:
    refiner = make(max_utterance_s=10.0)
    refiner.feed(silence(0.0, 10.0))
    for i in range(8):
        assert has_room(refiner)
        refiner.push(final(i, i, i + 1.0))
    assert not has_room(refiner)
    assert refiner.push(final(8, 8.0, 9.0)) == []  # its passes were under way
    hear(refiner, answering(heard(" a")))
    assert has_room(refiner)
    refiner.push(final(9, 9.0, 10.0))
    at_s = 10.0
    while has_room(refiner):
        assert refiner.feed(silence(at_s, at_s + 0.1)) == []
        at_s += 0.1
    assert at_s == pytest.approx(137.0, abs=0.2)
    assert not refiner.idle


def test_an_utterance_longer_than_what_is_kept_is_told() -> None:
    refiner = make(max_utterance_s=10.0)
    refiner.feed(silence(0.0, 140.0))
    notice, kept = refiner.push(final(0, 0.0, 140.0))
    assert isinstance(notice, Notice)
    assert "longer than the audio that is kept" in notice.message
    assert refined([kept]) == [(0, " ok", "small one")]
    assert refiner.idle


def test_a_gap_keeps_everything_in_its_place() -> None:
    refiner = make()
    samples = np.full(SAMPLE_RATE, 0.25, np.float32)
    refiner.feed(AudioChunk(samples, 0))
    refiner.feed(AudioChunk(samples, 5 * SAMPLE_RATE))
    refiner.push(final(0, 4.5, 6.0))
    window = refiner.next_window(ScriptedBackend(SCRIPT))
    assert seconds(window.start_sample) == 4.3
    loudest = window.mel.max(axis=0)
    quiet = window.mel.min()
    assert np.all(loudest[:65] == quiet)  # 4.3 to 5.0 s, but for the edge
    assert np.all(loudest[75:165] > quiet)


def test_an_hour_that_is_missing_costs_no_memory_and_tells_what_waited() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 2.0))
    refiner.push(final(0, 0.0, 1.0))
    events = refiner.feed(silence(3600.0, 3601.0))
    assert [event.type for event in events] == ["notice", "refined"]
    assert refiner.push(final(1, 3600.0, 3600.5)) == []


# -- the end --------------------------------------------------------------------------------------


def test_at_the_end_what_still_waits_keeps_its_words_and_is_told_in_one_line() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 9.0))
    for i in range(3):
        refiner.push(final(i, i, i + 1.0))
    refiner.next_window(ScriptedBackend(SCRIPT))
    notice, *kept = refiner.stop()
    assert isinstance(notice, Notice)
    assert (notice.code, notice.message) == (
        "not_refined",
        "not refined before the end: utterance 0, 1, 2",
    )
    assert refined(kept) == [(i, " ok", "small one") for i in range(3)]
    assert refiner.idle
    assert refined(refiner.push(final(3, 3.0, 4.0))) == [(3, " ok", "small one")]
    assert refiner.stop() == []


def test_a_model_that_fails_is_told_once_and_all_words_stay() -> None:
    refiner = make()
    refiner.feed(silence(0.0, 9.0))
    refiner.push(final(0, 0.0, 1.0))
    notice, kept = refiner.fail(BackendError("no memory"))
    assert isinstance(notice, Notice)
    assert (notice.level, notice.code, notice.message) == (
        "error",
        "final_model_error",
        "no memory",
    )
    assert refined([kept]) == [(0, " ok", "small one")]
    assert str(refiner.error) == "no memory"
    assert [e.type for e in refiner.push(final(1, 1.0, 2.0))] == ["refined"]
    assert refiner.stop() == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    drops=st.booleans(),
    slow=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    noise=st.sampled_from([Noise(), Noise(loops=0.6), Noise(deaf=0.5, missed=0.3)]),
)
def test_every_final_with_words_is_refined_exactly_once_whatever_happens(
    seed: int, drops: bool, slow: float, noise: Noise
) -> None:
    rng = random.Random(seed)
    script = say(*[rng.randint(1, 9) for _ in range(30)], pause_s=0.9)
    refiner = make(drops=drops, max_utterance_s=2.0)
    backend = ScriptedBackend(script, noise, seed)
    finals = finals_of(script)
    due, events = list(finals), list[Event]()
    out: Window | None = None
    for chunk in chunks_of(script.audio(), [1600, 5000, 16_000]):
        if rng.random() < 0.02:
            continue  # lost
        while not refiner.has_room:
            out = out or refiner.next_window(backend)
            events += refiner.complete(backend.decode(out), "large")
            out = None
        events += refiner.feed(chunk)
        while due and due[0].end_s < seconds(chunk.end_sample):
            events += refiner.push(due.pop(0))
        if rng.random() >= slow and not refiner.idle:
            out = out or refiner.next_window(backend)
            if rng.random() >= slow:
                events += refiner.complete(backend.decode(out), "large")
                out = None
    for said in due:
        events += refiner.push(said)
    events += refiner.stop()
    assert sorted(number for number, _, _ in refined(events)) == [f.utterance for f in finals]
    assert refiner.idle
    for event in events:
        if isinstance(event, Refined) and event.model == "small one":
            assert event.text == finals[event.utterance].text
