from __future__ import annotations

from dataclasses import replace

import pytest

from streaming.evaluation.invariants import check_events
from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Word,
    event_from_json,
    event_to_json,
)

A, B, C = (Word(f" {text}", i, i + 0.5, 0.9) for i, text in enumerate("abc"))


def log() -> list[Event]:
    events: list[Event] = [
        SessionStarted(),
        SpeechStarted(),
        Partial(utterance=0, tentative=" a b", words=(A, B)),
        Committed(utterance=0, text=" a", words=(A,)),
        Partial(utterance=0, committed=" a", tentative=" b", words=(B,)),
        Committed(utterance=0, text=" b", words=(B,)),
        Final(utterance=0, text=" a b", words=(A, B)),
        Refined(utterance=0, text=" b", words=(B,)),
        Committed(utterance=2, text=" c", words=(C,)),
        Final(utterance=2, text=" c", words=(C,)),
        SessionEnded(),
    ]
    return [replace(event, seq=i, clock_s=i / 3) for i, event in enumerate(events)]


def renumbered(events: list[Event]) -> list[Event]:
    return [replace(event, seq=i) for i, event in enumerate(events)]


def test_a_good_log_breaks_nothing() -> None:
    assert check_events(log()) == []


def test_a_good_log_is_still_good_when_read_back() -> None:
    lines = [event_to_json(event) for event in log()]
    assert check_events(event for line in lines if (event := event_from_json(line))) == []


def test_interleaved_sessions_are_checked_apart() -> None:
    mixed = [replace(event, session=name) for event in log() for name in ("left", "right")]
    assert check_events(mixed) == []
    assert check_events(mixed[:-1]) == [
        "session 'right': the last event is not session_ended",
    ]


@pytest.mark.parametrize(
    ("place", "change", "problem"),
    [
        (3, {"seq": 9}, "committed with seq 9: seq should be 3"),
        (4, {"clock_s": 0.5}, "clock_s fell from 1.000 to 0.500"),
        (4, {"committed": " A"}, "committed is ' A', should be ' a'"),
        (4, {"tentative": " x"}, "tentative is ' x', should be ' b'"),
        (5, {"text": "b"}, "text is 'b', should be ' b'"),
        (5, {"text": "", "words": ()}, "commits nothing"),
        (5, {"text": " b", "words": (replace(B, start_s=-1.0),)}, "starts before the word in"),
        (5, {"text": " b", "words": (replace(B, end_s=0.5),)}, "' b' ends before it starts"),
        (5, {"utterance": 1}, "utterance 0 has no final yet"),
        (6, {"text": " a"}, "text is ' a', should be ' a b'"),
        (6, {"words": (A, C)}, "its words are not the committed ones"),
        (7, {"text": " c"}, "text is ' c', should be ' b'"),
        (7, {"utterance": 2}, "utterance 2 has no final that waits for it"),
        (8, {"utterance": 0}, "utterance 0 is over"),
    ],
)
def test_a_broken_promise_is_told(place: int, change: dict[str, object], problem: str) -> None:
    events = log()
    events[place] = replace(events[place], **change)  # type: ignore[arg-type]
    assert any(problem in told for told in check_events(events)), check_events(events)


def test_every_utterance_has_one_final() -> None:
    events = log()
    twice = renumbered([*events[:7], events[6], *events[7:]])
    assert any("utterance 0 is over" in told for told in check_events(twice))
    never = renumbered([*events[:9], events[10]])
    assert check_events(never) == ["utterance 2 has no final"]


def test_speech_starts_and_ends_in_turn_and_never_goes_back_in_time() -> None:
    def problems(*edges: Event) -> list[str]:
        return check_events(renumbered([SessionStarted(), *edges, SessionEnded()]))

    first = SpeechStarted(at_s=1.0), SpeechEnded(at_s=2.0)
    assert problems(*first, SpeechStarted(at_s=2.0)) == []
    assert "speech has ended already" in problems(first[1])[0]
    assert "speech has started already" in problems(first[0], first[0])[0]
    assert "speech has ended already" in problems(*first, first[1])[0]
    assert "speech went back from 2.000 to 1.999" in problems(*first, SpeechStarted(at_s=1.999))[0]
    assert "speech went back from 1.000 to 0.500" in problems(first[0], SpeechEnded(at_s=0.5))[0]


def test_an_utterance_is_refined_once_at_most() -> None:
    events = log()
    twice = renumbered([*events[:8], events[7], *events[8:]])
    assert any("has no final that waits" in told for told in check_events(twice))
    late = renumbered([*events[:7], *events[8:10], events[7], events[10]])
    assert not [told for told in check_events(late) if "clock_s" not in told]


def test_with_a_final_model_every_final_with_words_is_refined() -> None:
    events = log()
    events[0] = SessionStarted(options={"final_model": "base"})
    assert check_events(events) == ["never refined: utterance 2"]
    events[8:10] = [Final(utterance=2, clock_s=3.0)]  # nothing was said
    assert check_events(renumbered(events)) == []


def test_sessions_start_and_end() -> None:
    events = log()
    assert any("session_started must be" in told for told in check_events(events[1:]))
    assert check_events(events[:-1]) == ["the last event is not session_ended"]
    again = renumbered([*events, events[1]])
    assert any("follows session_ended" in told for told in check_events(again))
