from __future__ import annotations

import pytest

from streaming.evaluation.delays import (
    CommittedWord,
    Distribution,
    committed_words,
    distribution,
    endpoint_to_final,
    length_adaptive_average_lagging,
    speech_to_text,
    stop_to_final,
    utterance_laal,
)
from streaming.events import Committed, Final, Partial, SpeechEnded, SpeechStarted, Word


def word(text: str, end_s: float = 0.0) -> Word:
    return Word(" " + text, max(end_s - 0.5, 0.0), end_s, 1.0)


def partial(clock_s: float, *texts: str, utterance: int = 0) -> Partial:
    return Partial(clock_s=clock_s, utterance=utterance, words=tuple(map(word, texts)))


def committed(clock_s: float, *texts: str, utterance: int = 0) -> Committed:
    return Committed(clock_s=clock_s, utterance=utterance, words=tuple(map(word, texts)))


def test_percentiles_interpolate_linearly() -> None:
    assert distribution([]) is None
    assert distribution([8.0, 0.0, 4.0]) == Distribution(p50=4.0, p95=7.6, max=8.0)


def test_a_word_is_shown_when_it_first_stands_at_its_place() -> None:
    events = [
        partial(1.0, "Ask", "knot"),
        committed(2.0, "ask"),
        partial(2.0, "not", "what"),
        partial(3.0, "nut"),
        committed(4.0, "not,", "what", "your"),
    ]
    items = committed_words(events)
    assert [item.committed_s for item in items] == [2.0, 4.0, 4.0, 4.0]
    assert [item.shown_s for item in items] == [1.0, 2.0, 2.0, 4.0]


def test_words_that_move_on_to_the_next_utterance_keep_their_place() -> None:
    events = [
        committed(1.0, "a"),
        partial(1.0, "b"),
        Final(clock_s=2.0, utterance=0, reason="max_length"),
        committed(3.0, "b", utterance=1),
    ]
    assert committed_words(events)[1] == CommittedWord(word("b"), 1, 3.0, 1.0)


OFFLINE = [word("a", 1.0), word("b", 2.0), word("c", 4.0), word("d", 5.0)]
ITEMS = [
    CommittedWord(word("a"), 0, 2.0, 2.0),
    CommittedWord(word("b"), 0, 3.5, 3.5),
    CommittedWord(word("c"), 1, 5.5, 5.5),
    CommittedWord(word("x"), 1, 6.5, 6.5),
]


def test_the_first_text_counts_from_the_start_of_the_first_word() -> None:
    offline = [word("ask", 1.5), word("not", 2.0), word("what", 9.0)]
    events = [
        SpeechStarted(at_s=0.7, clock_s=0.8),
        Partial(clock_s=1.1, tentative=""),
        Partial(clock_s=1.4, tentative=" ask"),
        Partial(clock_s=1.9, tentative=" ask not"),
        SpeechStarted(at_s=8.6, clock_s=8.7),
        Committed(clock_s=9.0, text=" what"),
        SpeechStarted(at_s=20.0, clock_s=20.1),
        Partial(clock_s=21.0, tentative=" noise"),
    ]
    assert speech_to_text(events, offline) == pytest.approx([0.4, 0.4])


def test_stop_to_final_counts_from_the_end_of_the_last_aligned_word() -> None:
    finals = [
        Final(utterance=0, clock_s=3.5),
        Final(utterance=1, clock_s=6.5, reason="end_of_stream"),
    ]
    assert stop_to_final(finals, ITEMS, [0, 1, 2, None], OFFLINE) == [1.5, 2.5]


def test_stop_to_final_leaves_out_speech_that_goes_on() -> None:
    finals = [
        Final(utterance=0, clock_s=3.5, reason="max_length"),
        Final(utterance=1, clock_s=6.5, reason="flush"),
        Final(utterance=2, clock_s=8.0),
    ]
    assert stop_to_final(finals, ITEMS, [0, 1, 2, 3], OFFLINE) == []


def test_endpoint_to_final_counts_from_when_a_pause_was_known_to_be_one() -> None:
    events = [
        SpeechEnded(at_s=2.0, clock_s=2.6),
        Final(utterance=0, end_s=2.0, clock_s=2.75),
        SpeechEnded(at_s=5.0, clock_s=5.6),
        SpeechEnded(at_s=9.0, clock_s=9.5),
        Final(utterance=1, end_s=5.0, clock_s=9.6),
        Final(utterance=2, end_s=9.0, clock_s=9.75, reason="end_of_stream"),
        Final(utterance=3, end_s=9.9, clock_s=9.9),  # cut out of running speech
    ]
    assert endpoint_to_final(events) == pytest.approx([0.15, 4.0])


def test_laal_by_hand() -> None:
    # T = 4, n = 4: ideal emissions at 0, 1, 2, 3.
    assert length_adaptive_average_lagging([1.0, 2.0, 3.0, 4.0], 4.0, 4) == 1.0
    # The third word is the first at or after T: the fourth does not count.
    assert length_adaptive_average_lagging([1.0, 2.0, 5.0, 9.0], 4.0, 4) == pytest.approx(5 / 3)
    # More words than the reference: steps of T / 8 rather than T / 4.
    assert length_adaptive_average_lagging([1.0] * 8, 4.0, 4) == pytest.approx(1 - 0.5 * 3.5)
    # Fewer: steps of T / 4.
    assert length_adaptive_average_lagging([1.0, 2.0], 4.0, 4) == 1.0
    # All of it after the end: the first word alone counts.
    assert length_adaptive_average_lagging([6.0, 7.0], 4.0, 2) == 6.0


def test_utterances_are_segments_of_the_offline_pass() -> None:
    # Utterance 0: 0.5 to 2.0 s, two words; d = 1.5, which is T already.
    # Utterance 1: 3.5 to 4.0 s; d = 2.0 at once.
    assert utterance_laal(ITEMS, [0, 1, 2, None], OFFLINE) == [1.5, 2.0]
    # Utterance 1 now reaches to 5.0 s: T = 1.5, d = 2.0.
    assert utterance_laal(ITEMS, [None, None, 2, 3], OFFLINE) == [2.0]
    assert utterance_laal(ITEMS, [None] * 4, OFFLINE) == []
