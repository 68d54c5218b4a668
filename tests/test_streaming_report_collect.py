from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes import Noise, ScriptedBackend, chunks_of, make_parts, say, simulate
from report_logs import at, by_hand, stamped, word

from streaming.errors import ConfigurationError
from streaming.evaluation.delays import committed_words
from streaming.evaluation.erasure import withdrawn_words
from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
    PassDone,
    Refined,
    SessionEnded,
    SessionStarted,
    Stats,
    Word,
)
from streaming.report import collect, require_sound, sessions_of
from streaming.report.model import (
    Dropped,
    Mark,
    Region,
    ReportedPass,
    ReportedUtterance,
    ReportedWord,
)


def test_a_log_becomes_what_is_drawn() -> None:
    report = collect(by_hand())
    good = ReportedWord(" Good", 0, 1.0, 1.3, 0.5, 1.6, 2.6)
    day = ReportedWord(" day", 0, 1.4, 1.7, 0.5, 2.6, 2.9)  # shown at 1.6, but taken back
    bye = ReportedWord(" Bye.", 1, 4.0, 4.5, 0.5, 5.2, 5.2)
    assert report.utterances == (
        ReportedUtterance(0, 0.9, 1.8, " Good day", "silence", 2.9, "en", None, (good, day)),
        ReportedUtterance(1, 3.9, 5.0, " Bye.", "silence", 5.2, "", None, (bye,)),
    )
    assert report.words == (good, day, bye)
    assert report.speech == (Region(0.9, 1.8), Region(3.9, 5.0))
    assert report.passes[2] == ReportedPass(
        0.9, 2.3, 2.3, 2.6, 0.1, 0.2, 0, 2, 1, 1, looped=False, careful=False
    )
    assert report.updates_s == (1.6, 2.1, 2.6, 2.9, 5.2)
    assert [(w.clock_s, w.words[0].text, w.instead[0].text) for w in report.withdrawals] == [
        (2.1, " day", " night"),
        (2.6, " night", " day"),
    ]
    assert report.n_withdrawn == 2
    assert report.dropped == (Dropped(2.5, 3.0, "overflow"),)
    assert report.notices == (Mark(3.1, "warning", "overload", "passes do not keep up"),)
    assert report.flushes_s == (5.0,)
    assert (report.model, report.label, report.n_passes) == ("tiny.en", "desk", 3)
    assert (report.timed, report.traced, report.end_reason) == (True, True, "end_of_stream")
    assert (report.audio_s, report.length_s, report.dropped_s) == (6.0, 6.0, 0.5)
    assert report.real_time_factor == pytest.approx(0.05)


def test_delays_count_from_the_end_of_each_word() -> None:
    report = collect(by_hand())
    assert [each.commit_delay_s for each in report.words] == pytest.approx([1.3, 1.2, 0.7])
    assert [each.shown_delay_s for each in report.words] == pytest.approx([0.3, 0.9, 0.7])
    assert report.commit_delay is not None
    assert report.commit_delay.p50 == pytest.approx(1.2)
    assert report.commit_delay.max == pytest.approx(1.3)
    assert report.shown_delay is not None
    assert report.shown_delay.p50 == pytest.approx(0.7)


def test_a_word_that_is_shown_before_its_end_has_no_delay() -> None:
    early = ReportedWord("a", 0, 1.0, 2.0, 1.0, 1.5, 1.8)
    assert early.shown_delay_s == early.commit_delay_s == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_what_is_reported_agrees_with_what_is_evaluated(seed: int) -> None:
    script = say(8, 6, 9)
    backend = ScriptedBackend(script, noise=Noise(unsure=0.4, respelled=0.2), seed=seed)
    events = simulate(chunks_of(script.audio()), backend, replace(make_parts(), trace=True))
    report = collect(events)
    evaluated = committed_words(events)
    assert [each.text for each in report.words] == [each.word.text for each in evaluated]
    for mine, theirs in zip(report.words, evaluated, strict=True):
        assert mine.committed_s == theirs.committed_s
        assert theirs.shown_s <= mine.shown_s <= mine.committed_s
    if not report.n_withdrawn:
        assert [each.shown_s for each in report.words] == [each.shown_s for each in evaluated]
    assert report.n_withdrawn == withdrawn_words(events)
    (stats,) = [event for event in events if isinstance(event, Stats)]
    assert len(report.passes) == report.n_passes == stats.passes
    assert report.compute_s == stats.compute_s
    assert len(report.utterances) == sum(isinstance(event, Final) for event in events)


def test_a_respelled_word_was_shown_when_it_first_was() -> None:
    log = [
        SessionStarted(),
        at(1.0, Partial(words=(word(" hello", 0.0, 0.5),))),
        at(2.0, Committed(words=(word(" Hello,", 0.0, 0.5),))),
    ]
    (heard,) = collect(stamped(log)).words
    assert (heard.text, heard.shown_s, heard.committed_s) == (" Hello,", 1.0, 2.0)


def test_a_log_that_breaks_off_is_reported_up_to_there() -> None:
    report = collect(by_hand()[:8])
    assert report.end_reason is None
    (utterance,) = report.utterances
    assert (utterance.text, utterance.reason, utterance.final_s) == (" Good", "", None)
    assert (utterance.start_s, utterance.end_s) == (1.0, 1.3)
    assert report.speech == (Region(0.9, 2.0),)  # it goes on; a pass has heard that much
    assert (report.audio_s, report.length_s) == (2.0, 2.6)
    assert report.n_passes == 2
    assert report.compute_s == pytest.approx(0.2)


def test_a_log_of_one_event_is_a_report() -> None:
    report = collect(by_hand()[:1])
    assert (report.utterances, report.length_s, report.n_passes) == ((), 0.0, None)
    assert report.commit_delay is None
    assert report.real_time_factor is None


def test_at_pace_fast_there_are_no_delays() -> None:
    report = collect(by_hand(pace="fast"))
    assert not report.timed
    assert report.commit_delay is report.shown_delay is None
    assert report.length_s == report.audio_s == 6.0


def test_without_trace_the_totals_count_the_passes() -> None:
    report = collect(by_hand(trace=False))
    assert not report.traced
    assert (report.passes, report.n_passes, report.compute_s) == ((), 3, 0.3)


def test_refined_text_stands_beside_what_was_committed() -> None:
    log = [*by_hand(), at(7.0, Refined(utterance=1, text=" Goodbye."))]
    assert [each.refined for each in collect(stamped(log)).utterances] == [None, " Goodbye."]


def test_the_sessions_of_a_log_are_told_apart() -> None:
    one, two = stamped(by_hand(), "one"), stamped(by_hand(label="phone"), "two")
    mixed: list[Event] = [event for pair in zip(one, two, strict=True) for event in pair]
    assert sessions_of(mixed) == [one, two]


def test_sessions_of_the_same_name_follow_each_other() -> None:
    log = by_hand()
    assert sessions_of([*log, *log]) == [log, log]


@pytest.mark.parametrize(
    ("log", "says"),
    [([], "no event in it"), (by_hand()[1:], "the beginning of session 'one' is missing")],
)
def test_a_log_without_a_beginning_is_refused(log: list[Event], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        sessions_of(log)


@pytest.mark.parametrize(
    "damaged",
    [
        Partial(clock_s="soon"),  # type: ignore[arg-type]
        Partial(clock_s=math.nan),
        Partial(clock_s=1e300),
        Partial(committed=None),  # type: ignore[arg-type]
        Partial(words=(Word(" a", math.inf, 1.0, 1.0),)),
        Partial(words=(Word(7, 1.0, 1.0, 1.0),)),  # type: ignore[arg-type]
        PassDone(n_words=10**400),
        PassDone(n_words=1.5),  # type: ignore[arg-type]
        PassDone(looped="no"),  # type: ignore[arg-type]
        SessionStarted(options=[]),  # type: ignore[arg-type]
        SessionStarted(language={}),  # type: ignore[arg-type]
        Stats(delay_p50_s=[]),  # type: ignore[arg-type]
        SessionEnded(seq="x"),  # type: ignore[arg-type]
    ],
)
def test_fields_that_cannot_be_are_refused_by_name(damaged: Event) -> None:
    with pytest.raises(ConfigurationError, match="damaged: ") as told:
        require_sound([*by_hand(), damaged])
    assert damaged.type in str(told.value)
    assert "\n" not in str(told.value)


def test_what_a_session_writes_is_sound() -> None:
    require_sound([*by_hand(), Stats(delay_p50_s=None), Stats(delay_p50_s=1), Partial(clock_s=3)])
