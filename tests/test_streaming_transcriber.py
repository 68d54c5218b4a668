from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.local_agreement import LocalAgreement
from policies.trimming import TrimAtWord
from streaming.audio import samples_from_seconds, seconds
from streaming.events import Committed, Event, Final, Partial, Word
from streaming.options import TranscriberOptions
from streaming.protocols import Commit, Hypothesis
from streaming.transcriber import Pass, QuietestPoint, Transcriber


def at(time_s: float) -> int:
    return samples_from_seconds(time_s)


def words(text: str, start_s: float = 0.0, step_s: float = 0.5) -> tuple[Word, ...]:
    """Words of so many seconds each, one after the other."""
    return tuple(
        Word(" " + word, start_s + i * step_s, start_s + (i + 1) * step_s, 0.9)
        for i, word in enumerate(text.split())
    )


def make(agreement: int = 2, quiet: int | None = None, **options: Any) -> Transcriber:
    chosen = TranscriberOptions(**{"language": "en", **options})
    return Transcriber(
        chosen,
        LocalAgreement(agreement),
        TrimAtWord(chosen.window_s, chosen.left_context_s),
        lambda stretch, low, high: quiet if quiet is not None else (low + high) // 2,
    )


def first_asked() -> tuple[list[tuple[int, int]], QuietestPoint]:
    """Finds every range quietest where it begins, and keeps the ranges it was asked for."""
    asked: list[tuple[int, int]] = []

    def quietest(stretch: int, low: int, high: int) -> int:
        asked.append((low, high))
        return low

    return asked, quietest


def hear(
    transcriber: Transcriber,
    until_s: float,
    heard: tuple[Word, ...],
    *,
    speech_end_s: float | None = None,
    **hypothesis: Any,
) -> list[Event]:
    due = transcriber.next_pass(
        at(until_s), speech_end=None if speech_end_s is None else at(speech_end_s)
    )
    assert due is not None
    events, _ = transcriber.complete(due, Hypothesis(words=heard, **hypothesis))
    return events


def committed(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Committed))


def finals(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_a_pass_is_due_after_each_chunk_of_new_audio_and_not_before() -> None:
    transcriber = make(chunk_s=0.5)
    assert transcriber.next_pass(at(9.0), speech_end=None) is None
    transcriber.open(at(1.0), 0)
    hear(transcriber, 1.5, words("one", start_s=1.0))
    assert transcriber.next_pass(at(1.99), speech_end=None) is None
    due = transcriber.next_pass(at(2.3), speech_end=None)
    assert due is not None
    assert (due.start_sample, due.end_sample) == (at(1.0), at(2.3))


def test_the_first_words_are_looked_for_sooner_unless_passes_do_not_keep_up() -> None:
    transcriber = make(chunk_s=2.0)
    transcriber.open(at(1.0), 0)
    assert transcriber.next_pass(at(1.49), speech_end=None) is None
    hear(transcriber, 1.5, ())
    assert transcriber.next_pass(at(1.99), speech_end=None) is None
    hear(transcriber, 2.0, words("one", start_s=1.0))
    assert transcriber.next_pass(at(3.99), speech_end=None) is None
    hear(transcriber, 4.0, words("one two", start_s=1.0))
    for _ in range(2):
        transcriber.cadence.observe(at(5.0))
    transcriber.close(at(4.0), at(4.0), "flush")
    transcriber.open(at(5.0), 0)
    assert transcriber.next_pass(at(7.99), speech_end=None) is None
    hear(transcriber, 8.0, ())


def test_without_partials_an_utterance_is_heard_once_it_is_over_and_only_then() -> None:
    transcriber = make(partials=False)
    transcriber.open(0, 0)
    assert transcriber.next_pass(at(5.0), speech_end=None) is None
    assert transcriber.next_pass(at(5.5), speech_end=at(5.0)) is None
    assert not transcriber.close(at(5.0), at(5.2), "silence")
    due = transcriber.next_pass(at(6.0), speech_end=None)
    assert due is not None
    assert (due.start_sample, due.end_sample) == (0, at(5.2))
    events, _ = transcriber.complete(due, Hypothesis(words=words("one two three")))
    assert committed(events) == " one two three"
    assert [final.text for final in finals(events)] == [" one two three"]
    assert not any(isinstance(event, Partial) for event in events)


def test_without_partials_speech_that_fills_a_window_is_heard_all_the_same() -> None:
    transcriber = make(partials=False, window_s=4.0, left_context_s=1.0)
    transcriber.open(0, 0)
    assert transcriber.next_pass(at(5.9), speech_end=None) is None
    due = transcriber.next_pass(at(6.0), speech_end=None)
    assert due is not None
    assert due.end_sample == at(6.0)


def test_only_one_pass_is_out_and_only_it_can_be_completed() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    due = transcriber.next_pass(at(1.0), speech_end=None)
    assert due is not None
    assert transcriber.next_pass(at(9.0), speech_end=None) is None
    other = Pass(
        **{name: getattr(due, name) for name in Pass.__slots__ if name != "start_sample"},
        start_sample=5,
    )
    with pytest.raises(ValueError, match="not the pass that is out"):
        transcriber.complete(other, Hypothesis(words=()))
    transcriber.complete(due, Hypothesis(words=()))
    with pytest.raises(ValueError, match="not the pass that is out"):
        transcriber.complete(due, Hypothesis(words=()))


def patience_s(transcriber: Transcriber, until_s: float, **hypothesis: Any) -> float:
    """Of the pass that is due, which then hears nothing."""
    due = transcriber.next_pass(at(until_s), speech_end=None)
    assert due is not None
    transcriber.complete(due, Hypothesis(words=(), **hypothesis))
    return due.patience_s


def test_running_speech_has_until_its_next_chunk_and_who_sees_nothing_yet_has_less() -> None:
    transcriber = make(chunk_s=0.7)
    transcriber.open(0, 0)
    first = patience_s(transcriber, 1.0)
    assert 0.0 < first < 0.2
    assert patience_s(transcriber, 2.0, looped=True) == pytest.approx(0.7)
    assert patience_s(transcriber, 2.1, looped=True) == first  # the careful second try
    assert patience_s(transcriber, 3.0) == pytest.approx(0.7)


def test_a_final_that_waits_for_its_pass_has_no_patience() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("and so"))
    transcriber.close(at(1.5), at(1.7), "silence")
    transcriber.open(at(3.0), 0)
    assert patience_s(transcriber, 4.0) == 0.0
    assert patience_s(transcriber, 4.0) > 0.0  # of the next utterance


def test_under_load_a_session_asks_for_less_haste() -> None:
    transcriber = make(chunk_s=0.5)
    transcriber.open(0, 0)
    patience_s(transcriber, 1.0)
    for _ in range(10):
        transcriber.cadence.observe(at(60.0))
    assert patience_s(transcriber, 5.0) == seconds(transcriber.cadence.chunk_samples) > 0.5


def test_an_abandoned_pass_makes_room_for_the_next() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    due = transcriber.next_pass(at(1.0), speech_end=None)
    assert due is not None
    transcriber.abandon(due)
    assert transcriber.next_pass(at(1.0), speech_end=None) is not None
    transcriber.abandon(due)  # a pass of long ago is no other pass
    assert transcriber.next_pass(at(9.0), speech_end=None) is None


def test_what_two_passes_agree_on_is_committed_and_the_rest_shown() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    first = hear(transcriber, 1.0, words("and so"))
    assert committed(first) == ""
    second = hear(transcriber, 1.5, words("And, so my"))
    assert committed(second) == " And, so"
    partial = second[-1]
    assert isinstance(partial, Partial)
    assert (partial.committed, partial.tentative) == (" And, so", " my")
    assert partial.language == "en"


def test_a_pass_with_hardly_any_new_audio_is_no_second_opinion() -> None:
    transcriber = make(chunk_s=0.1)
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("and so"))
    assert hear(transcriber, 1.15, words("and so")) == []
    assert committed(hear(transcriber, 1.3, words("and so"))) == " and so"


def test_a_word_that_waits_long_gets_its_pass_early_where_passes_are_quick() -> None:
    transcriber = make(chunk_s=0.5)
    transcriber.open(0, 0)
    hear(transcriber, 1.5, words("ask not"))
    hear(transcriber, 2.0, words("ask nut what"))  # "nut" ended a second ago
    assert transcriber.next_pass(at(2.4), speech_end=None) is None
    transcriber.cadence.observe(0)
    assert transcriber.next_pass(at(2.29), speech_end=None) is None
    hear(transcriber, 2.3, words("ask not what"))
    hear(transcriber, 2.6, words("ask not what"))  # nothing waits that could be certain
    assert transcriber.next_pass(at(3.0), speech_end=None) is None
    assert transcriber.next_pass(at(3.1), speech_end=None) is not None


def test_a_last_word_with_a_full_stop_waits_for_a_word_after_it() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("we go."))
    assert committed(hear(transcriber, 1.5, words("we go."))) == " we"
    assert committed(hear(transcriber, 2.0, words("we go. Then"))) == " go."


def test_a_full_stop_at_the_end_of_an_utterance_is_committed() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("we go."))
    transcriber.close(at(1.0), at(1.2), "silence")
    events = hear(transcriber, 1.6, words("we go."))
    assert committed(events) == " we go."


def test_in_a_pause_one_pass_reaches_past_the_speech_and_no_other_follows() -> None:
    transcriber = make(chunk_s=1.0)
    transcriber.open(0, 0)
    assert transcriber.next_pass(at(0.6), speech_end=at(0.5)) is None  # 0.2 s are not there yet
    hear(transcriber, 0.7, words("yes"), speech_end_s=0.5)
    assert transcriber.next_pass(at(5.0), speech_end=at(0.5)) is None
    events = transcriber.close(at(0.5), at(0.7), "silence")
    assert committed(events) == " yes"
    assert finals(events)[0].text == " yes"
    assert finals(events)[0].end_s == 0.5
    assert transcriber.stretches == set()


def test_no_other_pass_begins_in_a_pause_that_would_keep_the_last_one_waiting() -> None:
    transcriber = make(chunk_s=0.5)
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("well then"))
    assert transcriber.next_pass(at(1.55), speech_end=None) is not None  # a chunk is there
    transcriber = make(chunk_s=0.5)
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("well then"))
    assert transcriber.next_pass(at(1.55), speech_end=at(1.4)) is None
    due = transcriber.next_pass(at(1.6), speech_end=at(1.4))
    assert due is not None
    assert due.end_sample == at(1.6)


def test_what_was_heard_in_a_pause_is_not_final_if_speech_goes_on() -> None:
    transcriber = make(chunk_s=0.5)
    transcriber.open(0, 0)
    hear(transcriber, 1.2, words("turn the light"), speech_end_s=1.0)
    assert transcriber.next_pass(at(1.5), speech_end=at(1.0)) is None  # a last pass is done
    hear(transcriber, 2.2, words("turn the lights on"), speech_end_s=2.0)
    events = transcriber.close(at(2.0), at(2.2), "silence")
    assert finals(events)[0].text == " turn the lights on"


def test_words_of_an_older_pass_are_never_promoted_at_the_end() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("stale words"))
    assert transcriber.close(at(1.2), at(1.4), "silence") == []
    due = transcriber.next_pass(at(3.0), speech_end=None)
    assert due is not None
    assert due.end_sample == at(1.4)
    events, _ = transcriber.complete(due, Hypothesis(words=words("fresh")))
    assert finals(events)[0].text == " fresh"


def test_closed_utterances_are_finished_in_order_before_anything_else() -> None:
    transcriber = make()
    for i in range(3):
        transcriber.open(at(i * 2.0), 0)
        transcriber.close(at(i * 2.0 + 1.0), at(i * 2.0 + 1.2), "silence")
    transcriber.open(at(6.0), 0)
    assert transcriber.n_closed == 3
    got: list[Event] = []
    for i in range(3):
        got += hear(transcriber, 9.0, words(f"number {i}", i * 2.0))
    assert [(f.utterance, f.text) for f in finals(got)] == [
        (0, " number 0"),
        (1, " number 1"),
        (2, " number 2"),
    ]
    due = transcriber.next_pass(at(9.0), speech_end=None)
    assert due is not None
    assert due.start_sample == at(6.0)


def test_a_closed_utterance_waits_for_the_pass_that_is_out() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    due = transcriber.next_pass(at(1.0), speech_end=None)
    assert due is not None
    assert transcriber.close(at(0.5), at(0.7), "flush") == []
    events, cut = transcriber.complete(due, Hypothesis(words=words("yes")))
    assert cut is None
    assert finals(events)[0].text == " yes"
    assert finals(events)[0].reason == "flush"


def test_speech_too_short_for_a_word_is_finished_without_a_pass() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    events = transcriber.close(at(0.05), at(0.05), "flush")
    assert [f.text for f in finals(events)] == [""]
    assert transcriber.next_pass(at(1.0), speech_end=None) is None


def test_at_its_longest_an_utterance_ends_at_its_last_committed_word() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("one two"))
    hear(transcriber, 1.5, words("one two thr"))
    cut, events = transcriber.split(at(2.0))
    assert cut == at(1.0)
    assert (finals(events)[0].text, finals(events)[0].reason) == (" one two", "max_length")
    # The next one still has the audio, and hears no word twice.
    hear(transcriber, 2.5, words("one two three four"))
    events = hear(transcriber, 3.0, words("one two three four five"))
    assert committed(events) == " three four"
    assert all(e.utterance == 1 for e in events if isinstance(e, Committed))


def test_a_pass_that_is_out_at_a_split_counts_for_the_next_utterance() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("one two"))
    hear(transcriber, 1.5, words("one two thr"))
    due = transcriber.next_pass(at(2.0), speech_end=None)
    assert due is not None
    transcriber.split(at(2.1))
    events, _ = transcriber.complete(due, Hypothesis(words=words("one two three")))
    assert [e.tentative for e in events if isinstance(e, Partial)] == [" three"]
    assert [e.utterance for e in events if isinstance(e, Partial)] == [1]


def test_an_utterance_never_ends_before_it_starts_even_if_a_word_is_said_to() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("one two"))
    hear(transcriber, 1.5, words("one two thr"))
    transcriber.split(at(1.6))
    # The same word, now placed before the end of the utterance before it.
    early = (*words("one two"), Word(" three", 0.6, 0.9, 0.9))
    hear(transcriber, 2.5, early)
    hear(transcriber, 3.0, (*early, *words("four", 2.5)))
    _, events = transcriber.split(at(3.2))
    (final,) = finals(events)
    assert final.text == " three"
    assert final.start_s <= final.end_s


def test_speech_without_a_committed_word_is_cut_where_it_is_quietest() -> None:
    transcriber = make(quiet=at(4.5))
    transcriber.open(0, 0)
    hear(transcriber, 5.0, words("what"))
    cut, events = transcriber.split(at(6.0))
    assert (cut, events) == (at(4.5), [])
    due = transcriber.next_pass(at(6.0), speech_end=None)
    assert due is not None
    assert (due.start_sample, due.end_sample) == (0, at(4.6))
    events, _ = transcriber.complete(due, Hypothesis(words=words("what now")))
    assert finals(events)[0].text == " what now"
    due = transcriber.next_pass(at(6.0), speech_end=None)
    assert due is not None
    assert due.start_sample == at(4.5)


def test_the_quietest_point_is_looked_for_inside_the_utterance() -> None:
    asked, quietest = first_asked()
    transcriber = Transcriber(
        TranscriberOptions(), LocalAgreement(), TrimAtWord(), quietest_point=quietest
    )
    transcriber.open(0, 0)
    transcriber.split(at(0.4))  # by a policy with very short utterances
    assert all(0 <= low <= high <= at(0.4) for low, high in asked)


def test_a_cut_lies_inside_the_utterance_even_if_its_window_reaches_further_back() -> None:
    asked, quietest = first_asked()
    transcriber = Transcriber(
        TranscriberOptions(language="en"), LocalAgreement(), TrimAtWord(), quietest
    )
    transcriber.open(0, 0)
    said = words("one two three four five six seven eight")
    hear(transcriber, 4.0, said)
    hear(transcriber, 4.5, said)
    cut, _ = transcriber.split(at(4.5))
    assert cut == at(4.0)
    hear(transcriber, 6.5, said)  # nothing more is heard
    transcriber.split(at(6.5))
    assert asked == [(at(5.25), at(6.5))]


def test_what_is_heard_in_less_than_a_second_is_shown_and_not_committed() -> None:
    transcriber = make(chunk_s=0.4)
    transcriber.open(0, 0)
    guess, heard = words("a guess", step_s=0.2), words("it was", step_s=0.3)
    for until_s in (0.4, 0.8):
        (shown,) = hear(transcriber, until_s, guess)
        assert isinstance(shown, Partial)
        assert (shown.committed, shown.words) == ("", guess)
    assert committed(hear(transcriber, 1.2, heard)) == ""
    assert committed(hear(transcriber, 1.6, heard)) == " it was"


def test_a_long_window_is_trimmed_at_a_committed_word() -> None:
    transcriber = make(window_s=4.0, left_context_s=1.0)
    transcriber.open(0, 0)
    said = words("a b c d e f g h")
    hear(transcriber, 3.9, said[:7])
    hear(transcriber, 4.4, said)
    due = transcriber.next_pass(at(5.0), speech_end=None)
    assert due is not None
    assert due.start_sample == at(3.5)  # the end of " g", the last committed word
    assert due.prefix == ()


def test_audio_is_not_trimmed_at_times_that_are_a_guess() -> None:
    transcriber = make(window_s=4.0, left_context_s=1.0)
    transcriber.open(0, 0)
    said = words("a b c d e f g h")
    hear(transcriber, 3.9, said[:7], timing="interpolated")
    hear(transcriber, 4.4, said, timing="interpolated")
    due = transcriber.next_pass(at(5.0), speech_end=None)
    assert due is not None
    assert due.start_sample == 0
    assert len(due.prefix) >= 7


def test_committed_words_are_the_prefix_inside_the_window_and_the_context_before_it() -> None:
    transcriber = make(window_s=4.0, left_context_s=1.5)
    transcriber.open(0, 0)
    said = words("a b c d e f g h")
    hear(transcriber, 3.9, said[:7])
    hear(transcriber, 4.4, said)
    due = transcriber.next_pass(at(6.5), speech_end=None)
    assert due is not None
    assert due.start_sample == at(3.0)
    assert due.context == " a b c d e f"
    assert [word.text for word in due.prefix] == [" g"]


def test_a_loop_is_tried_again_once_and_takes_the_context_away() -> None:
    transcriber = make(window_s=4.0, left_context_s=1.5)
    transcriber.open(0, 0)
    said = words("a b c d e f g h")
    hear(transcriber, 3.9, said[:7])
    hear(transcriber, 4.4, said)
    assert hear(transcriber, 6.5, words("no", 6.0), looped=True) == []
    due = transcriber.next_pass(at(6.5), speech_end=None)
    assert due is not None
    assert due.careful
    transcriber.complete(due, Hypothesis(words=words("no", 6.0), looped=True))
    assert transcriber.next_pass(at(6.5), speech_end=None) is None
    due = transcriber.next_pass(at(7.5), speech_end=None)
    assert due is not None
    assert due.context == ""
    assert not due.careful


@pytest.mark.parametrize("window_s", [2.0, 4.0, 20.0])
def test_loops_without_end_do_not_hold_up_what_comes_after(window_s: float) -> None:
    transcriber = make(window_s=window_s, left_context_s=0.0)
    transcriber.open(0, 0)
    transcriber.close(at(25.0), at(25.2), "silence")
    got: list[Event] = []
    for _ in range(100):
        if transcriber.n_closed == 0:
            break
        start_s = (transcriber.oldest_sample(0) or 0) / 16_000
        got += hear(transcriber, 30.0, words("no", start_s), looped=True)
    assert transcriber.stretches == set()
    assert finals(got)[-1].end_s == 25.0


def test_half_a_minute_of_silence_takes_the_context_away() -> None:
    for pause_s, context in ((20.0, " one two"), (31.0, "")):
        transcriber = make()
        transcriber.open(0, 0)
        hear(transcriber, 1.2, words("one two"))
        transcriber.close(at(1.0), at(1.2), "silence")
        transcriber.open(at(1.0 + pause_s), 0)
        due = transcriber.next_pass(at(5.0 + pause_s), speech_end=None)
        assert due is not None
        assert due.context == context


def test_a_language_is_settled_on_enough_audio_and_stays_for_the_utterance() -> None:
    transcriber = make(language=None)
    transcriber.open(0, 0)
    assert transcriber.next_pass(at(2.5), speech_end=None) is None  # too little to detect one
    hear(transcriber, 3.1, words("ja gut"), language="nl")
    unsure = hear(transcriber, 3.6, words("ja gut"), language="nl")
    assert committed(unsure) == ""  # nothing is certain in a language that is not
    assert [e.language for e in unsure if isinstance(e, Partial)] == [""]
    events = hear(transcriber, 4.1, words("ja gut"), language="de", language_detected=True)
    assert [(e.text, e.language) for e in events if isinstance(e, Committed)] == [(" ja gut", "de")]
    due = transcriber.next_pass(at(5.0), speech_end=None)
    assert due is not None
    assert due.language == "de"


def test_the_language_of_the_stream_stands_in_until_an_utterance_has_its_own() -> None:
    transcriber = make(language=None)
    transcriber.open(0, 0)
    hear(transcriber, 3.2, words("ja gut"), language="de", language_detected=True)
    transcriber.close(at(3.0), at(3.2), "silence")
    transcriber.open(at(5.0), 0)
    short = transcriber.next_pass(at(6.0), speech_end=None)
    assert short is not None
    assert (short.language, short.fallback_language) == ("de", "de")
    transcriber.complete(short, Hypothesis(words=(), language="de"))
    longer = transcriber.next_pass(at(8.0), speech_end=None)
    assert longer is not None
    assert (longer.language, longer.fallback_language) == (None, "de")


def test_another_language_takes_the_context_away() -> None:
    transcriber = make(language=None)
    transcriber.open(0, 0)
    hear(transcriber, 3.2, words("ja gut"), language="de", language_detected=True)
    transcriber.close(at(3.0), at(3.2), "silence")
    for language, context in (("de", " ja gut"), ("en", "")):
        transcriber.open(at(5.0), 0)
        hear(transcriber, 9.0, (), language=language, language_detected=True)
        due = transcriber.next_pass(at(10.0), speech_end=None)
        assert due is not None
        assert due.context == context
        transcriber.complete(due, Hypothesis(words=(), language=language))
        transcriber.close(at(9.8), at(10.0), "silence")


def test_the_log_never_goes_back_in_time() -> None:
    transcriber = make(agreement=1)
    transcriber.open(0, 0)
    hear(transcriber, 1.0, (Word(" one", 0.2, 0.8, 1.0),))
    events = hear(transcriber, 2.0, (Word(" one", 0.2, 0.8, 1.0), Word(" two", 0.1, 0.15, 1.0)))
    (event,) = [e for e in events if isinstance(e, Committed)]
    assert event.words[0].start_s >= 0.2
    assert event.words[0].end_s >= event.words[0].start_s


def test_the_last_sliver_of_a_closed_utterance_needs_no_pass() -> None:
    # The window's limit falls just short of the end, at a committed word.
    transcriber = make(agreement=1, window_s=2.0, left_context_s=0.0, max_utterance_s=30.0)
    transcriber.open(0, 0)
    transcriber.close(at(2.9), at(3.0) + 100, "silence")
    events = hear(transcriber, 5.0, (Word(" long", 0.0, 3.0, 1.0), Word(" x", 3.0, 3.0, 1.0)))
    assert transcriber.next_pass(at(5.0), speech_end=None) is None
    assert finals(events)[0].text == " long x"


def test_no_pass_is_made_over_less_audio_than_a_word_needs() -> None:
    transcriber = make(agreement=1, window_s=2.0, left_context_s=0.0)
    transcriber.open(0, 0)
    hear(transcriber, 2.5, (Word(" long", 0.0, 2.5, 1.0), Word(" x", 2.5, 2.5, 1.0)))
    # Trimmed to 2.5 s, where the pass ended; the pause is covered a few samples later.
    due = transcriber.next_pass(at(2.5) + 80, speech_end=at(2.3) + 80)
    assert due is None


class Overreaching:
    """Trims more than there is."""

    def trim(self, start_s: float, end_s: float, committed: object) -> float:
        return end_s + 5.0


def test_a_trim_policy_cannot_move_the_window_past_the_audio() -> None:
    transcriber = Transcriber(
        TranscriberOptions(language="en"), LocalAgreement(1), Overreaching(), lambda s, lo, hi: lo
    )
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("one two"))
    due = transcriber.next_pass(at(2.0), speech_end=None)
    assert due is not None
    assert due.start_sample <= at(1.0)


class Never:
    """Commits nothing."""

    history = 1

    def update(self, history: Any, committed: Any, audio_end_s: float) -> Commit:
        return Commit((), tuple(history[-1]))


def test_what_is_cut_off_a_closed_utterance_starts_before_its_end() -> None:
    transcriber = Transcriber(
        TranscriberOptions(language="en", window_s=2.0, left_context_s=0.0),
        Never(),
        TrimAtWord(2.0, 0.0),
        lambda stretch, low, high: high,  # it is quiet after the end
    )
    transcriber.open(0, 0)
    transcriber.close(at(2.9), at(3.1), "silence")
    events = hear(transcriber, 3.1, ())
    while not finals(events)[1:]:
        events += hear(transcriber, 3.1, ())
    spans = [(final.start_s, final.end_s, final.reason) for final in finals(events)]
    assert spans == [(0.0, 2.9, "max_length"), (2.9, 2.9, "silence")]


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.floats(0.05, 60.0), min_size=1, max_size=30),
    window_s=st.floats(2.0, 20.0),
    commits=st.booleans(),
    quiet=st.floats(0.0, 1.0),
    closed=st.booleans(),
)
def test_a_pass_never_outgrows_the_limit_and_always_gets_further(
    steps: list[float], window_s: float, commits: bool, quiet: float, closed: bool
) -> None:
    transcriber = Transcriber(
        TranscriberOptions(window_s=window_s, left_context_s=0.0),
        LocalAgreement(1) if commits else Never(),
        TrimAtWord(window_s, 0.0),
        lambda stretch, low, high: low + round(quiet * (high - low)),
    )
    transcriber.open(0, 0)
    end_s = 0.0
    reached = -1
    for step_s in steps:
        end_s += step_s
        if closed:
            transcriber.close(at(end_s), at(end_s) + 3200, "silence")
            transcriber.open(at(end_s), 0)
        for _ in range(200):
            due = transcriber.next_pass(at(end_s) + 3200, speech_end=None)
            if due is None:
                break
            assert 0 < due.end_sample - due.start_sample <= transcriber.limit_samples
            assert (due.start_sample, due.end_sample) > (-1, reached) or due.end_sample > 0
            heard = words("um", due.start_sample / 16_000, 0.2)
            transcriber.complete(due, Hypothesis(words=heard))
        else:
            pytest.fail("passes without end")
    oldest = transcriber.oldest_sample(0)
    assert oldest is not None
    assert at(end_s) + 3200 - oldest <= transcriber.limit_samples + at(1.0)


def test_a_last_pass_that_stopped_before_the_voice_did_is_tried_once_more() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.5, words("go to"))
    transcriber.close(at(3.0), at(3.2), "silence")
    due = transcriber.next_pass(at(9.0), speech_end=at(3.0))
    assert due is not None
    early = Hypothesis(words=words("go to"), unheard_s=1.0)
    assert transcriber.complete(due, early) == ([], None)
    again = transcriber.next_pass(at(9.0), speech_end=at(3.0))
    assert again is not None
    assert again.careful
    events, _ = transcriber.complete(again, Hypothesis(words=words("go to vote"), unheard_s=1.0))
    assert finals(events)[0].text == " go to vote"


def test_words_after_a_forced_prefix_are_new_by_their_number() -> None:
    transcriber = make()
    transcriber.open(0, 0)
    hear(transcriber, 1.0, words("one two"))
    assert committed(hear(transcriber, 1.5, words("one two three"))) == " one two"
    due = transcriber.next_pass(at(2.0), speech_end=None)
    assert due is not None
    assert [word.text for word in due.prefix] == [" one", " two"]
    # The time-weighted seam would take a repetition at the same time for the same words.
    heard = (*due.prefix, *words("one two three", start_s=0.4))
    events, _ = transcriber.complete(due, Hypothesis(words=heard, n_forced=2))
    assert committed(events) == ""
    due = transcriber.next_pass(at(2.5), speech_end=None)
    assert due is not None
    events, _ = transcriber.complete(due, Hypothesis(words=heard, n_forced=2))
    assert committed(events) == " one two three"
