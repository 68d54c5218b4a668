from __future__ import annotations

import dataclasses
import json

import pytest

from streaming.errors import ConfigurationError
from streaming.evaluation import Evaluation, check_events, evaluate, format_table, measure
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Stats,
    Word,
)

ASK, NOT, WHAT = Word(" Ask", 0.5, 1.0, 0.9), Word(" not,", 1.0, 1.5, 0.9), Word(" what", 1.5, 2, 1)
OFFLINE = (
    Word(" Ask", 0.5, 1.1, 0.9),
    Word(" not", 1.1, 1.6, 0.9),
    Word(" what", 1.6, 2.0, 0.9),
    Word(" you.", 2.0, 2.5, 0.9),
)


def log(pace: str = "simulated") -> list[Event]:
    knot = Word(" knot", 1.0, 1.5, 0.5)
    events: list[Event] = [
        SessionStarted(model="tiny.en", backend="whisper.cpp", options={"pace": pace}),
        SpeechStarted(clock_s=0.7, at_s=0.4),
        Partial(clock_s=1.2, tentative=" Ask knot", words=(ASK, knot)),
        Committed(clock_s=1.8, text=" Ask", words=(ASK,)),
        Partial(clock_s=1.8, committed=" Ask", tentative=" not,", words=(NOT,)),
        Committed(clock_s=2.6, text=" not, what", words=(NOT, WHAT)),
        AudioDropped(clock_s=2.6, start_s=2.5, end_s=2.75),
        SpeechEnded(clock_s=2.75, at_s=2.1),
        Final(
            clock_s=3.0,
            text=" Ask not, what",
            words=(ASK, NOT, WHAT),
            start_s=0.4,
            end_s=2.1,
            language="en",
        ),
        Stats(clock_s=4.0, audio_s=4.0, compute_s=1.0, real_time_factor=0.25, passes=3),
        SessionEnded(clock_s=4.0, audio_s=4.0),
    ]
    return [dataclasses.replace(event, seq=i) for i, event in enumerate(events)]


def test_one_clip_by_hand() -> None:
    assert check_events(log()) == []
    result = evaluate([measure(log(), OFFLINE, reference="Ask not what you", name="jfk")])
    body = json.loads(result.to_json())
    # Delays: 1.8 - 1.1, 2.6 - 1.6, 2.6 - 2.0; first shown at 1.2, 1.8 and 2.6.
    assert body["commit_delay_s"] == {"p50": 0.7, "p95": 0.97, "max": 1.0}
    assert body["partial_delay_s"] == 0.2  # of 0.1, 0.2 and 0.6
    assert body["partial_delay_p95_s"] == 0.56
    assert body["stop_to_final_s"] == 1.0  # 3.0 - 2.0
    assert body["endpoint_to_final_s"] == body["endpoint_to_final_p95_s"] == 0.25  # 3.0 - 2.75
    assert (body["wer"], body["offline_wer"], body["wer_lost"]) == (0.25, 0.0, 0.25)
    assert body["erasure"] == 0.3333  # "knot", of three words
    assert (body["real_time_factor"], body["audio_s"], body["passes"]) == (0.25, 4.0, 3)
    # Segment 0.5 to 2.0 s, three words: d = 1.3, 2.1 (past the end), so (1.3 + 2.1 - 0.5) / 2.
    assert body["laal_s"] == 1.45
    assert body["punctuation_f1"] == 0.0  # a comma of ours alone; "you." is not aligned
    assert body["casing_f1"] == 1.0
    assert body["audio_dropped_s"] == 0.25
    assert (body["words"], body["aligned_words"]) == (3, 3)
    assert body["word_times"].startswith("one offline pass over the whole file")
    assert (body["name"], body["model"], body["backend"]) == ("jfk", "tiny.en", "whisper.cpp")
    assert body["machine"]["cores"] >= 1
    assert "numpy" in body["versions"]
    assert body["cer"] is None
    assert "clips" not in body


def test_without_reference_or_words_there_is_no_number() -> None:
    empty = [event for event in log() if not isinstance(event, Partial | Committed | Final)]
    body = json.loads(evaluate([measure(empty, OFFLINE)]).to_json())
    nothing = ("wer", "wer_lost", "commit_delay_s", "partial_delay_s", "erasure", "laal_s")
    assert [body[key] for key in (*nothing, "stop_to_final_s", "casing_f1")] == [None] * 8


def test_a_set_pools_words_and_delays() -> None:
    good = measure(log(), OFFLINE, reference="Ask not what", name="good")
    bad = measure(log(), OFFLINE, reference="a b c d e", name="bad")
    result = evaluate([good, bad])
    assert result.wer == 5 / 8
    # 0.6, 0.6, 0.7, 0.7, 1.0, 1.0: more of the long ones than in one clip.
    assert result.commit_delay_s is not None
    assert (result.commit_delay_s.p50, result.commit_delay_s.p95) == pytest.approx((0.7, 1.0))
    assert (result.audio_s, result.real_time_factor) == (8.0, 0.25)
    body = json.loads(result.to_json())
    assert [(clip["name"], clip["wer"]) for clip in body["clips"]] == [("good", 0.0), ("bad", 1.0)]
    assert "machine" not in body["clips"][0]


def test_refined_text_is_counted_apart() -> None:
    events = log()
    options = {"pace": "simulated", "final_model": "base"}
    events[0] = dataclasses.replace(events[0], options=options)  # type: ignore[call-arg]
    words = (ASK, NOT, WHAT, Word(" you", 2.0, 2.5, 0.9))
    refined = Refined(clock_s=3.5, text=" Ask not, what you", words=words, model="base")
    events[9:] = [dataclasses.replace(e, seq=9 + i) for i, e in enumerate([refined, *events[9:]])]
    assert check_events(events) == []
    one = measure(events, OFFLINE, reference="Ask not what you")
    result = evaluate([one, measure(events, OFFLINE, reference="Ask not what he said")])
    assert (result.clips[0].wer, result.clips[0].refined_wer) == (0.25, 0.0)
    assert result.refined_wer == 2 / 9
    assert " ".join(format_table(result).split()).count("WER of the refined text 22.2 %") == 1
    without = evaluate([measure(log(), OFFLINE, reference="Ask not what you")])
    assert without.refined_wer is None
    assert "refined" not in format_table(without)


def test_languages_without_spaces_count_characters_apart() -> None:
    english = measure(log(), OFFLINE, reference="Ask not what")
    japanese = measure(log(), OFFLINE, reference="asknotwhe", language="ja")
    alone = evaluate([japanese])
    assert (alone.error_unit, alone.wer, alone.cer) == ("character", 2 / 9, 2 / 9)
    both = evaluate([english, japanese])
    assert (both.error_unit, both.wer, both.cer) == ("word", 0.0, 2 / 9)


def test_the_language_is_what_the_finals_say() -> None:
    events = log()
    events[8] = dataclasses.replace(events[8], language="zh")  # type: ignore[call-arg]
    assert measure(events, OFFLINE).language == "zh"
    assert measure(events, OFFLINE, language="en").language == "en"


def test_a_log_that_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--pace simulated"):
        measure(log(pace="fast"), OFFLINE)
    with pytest.raises(ConfigurationError, match="does not begin with session_started"):
        measure(log()[1:], OFFLINE)
    with pytest.raises(ConfigurationError, match="no stats"):
        measure(log()[:-2], OFFLINE)
    other = dataclasses.replace(log()[-1], session="other")
    with pytest.raises(ConfigurationError, match="several sessions"):
        measure([*log(), other], OFFLINE)


def test_the_table_says_the_numbers_and_where_they_come_from() -> None:
    one = measure(log(), OFFLINE, reference="Ask not what you", name="jfk")
    text = format_table(evaluate([one]))
    for line in (
        ("WER", "25.0 %"),
        ("WER", "lost", "to", "streaming", "25.0 %"),
        ("commit", "delay", "p50", "0.70 s"),
        ("real-time", "factor", "0.25"),
        ("audio", "dropped", "0.2 s"),
    ):
        assert any(" ".join(row.split()) == " ".join(line) for row in text.splitlines()), line
    assert "Word end times for the delays come from one offline pass over the whole file" in text
    assert "3 of 3 committed words" in text
    assert "tiny.en on whisper.cpp" in text
    assert "cores" in text
    assert "\x1b" not in text


def test_the_table_of_a_set_has_a_row_for_every_clip() -> None:
    japanese = measure(log(), OFFLINE, reference="asknotwhat", language="ja", name="kyakkan")
    text = format_table(evaluate([measure(log(), OFFLINE, name="noise"), japanese]))
    rows = {row.split()[0]: row.split()[1:] for row in text.splitlines() if row.strip()}
    assert rows["noise"] == ["4.0", "-", "-", "0.70", "0.97", "1.00", "1.00", "0.33", "0.25"]
    assert rows["kyakkan"][:4] == ["4.0", "0.0", "%", "(CER)"]


def test_every_field_is_in_the_json() -> None:
    body = json.loads(evaluate([measure(log(), OFFLINE)]).to_json())
    assert set(body) == {field.name for field in dataclasses.fields(Evaluation)} - {"clips"}
