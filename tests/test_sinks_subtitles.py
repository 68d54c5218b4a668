from __future__ import annotations

import asyncio
import io
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from sinks.subtitles import SrtSink, WebVttSink
from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
    SessionEnded,
    SessionStarted,
    SpeechStarted,
    Word,
    text_of,
)
from streaming.protocols import Sink

CUE = re.compile(r"(\d\d):(\d\d):(\d\d)[,.](\d\d\d) --> (\d\d):(\d\d):(\d\d)[,.](\d\d\d)\n")


def write(make: type[SrtSink] | type[WebVttSink], *events: Event) -> str:
    stream = io.StringIO()

    async def main() -> None:
        async with make(stream) as sink:
            for event in events:
                await sink.write(event)

    asyncio.run(main())
    return stream.getvalue()


def committed(*words: tuple[str, float, float], utterance: int = 0) -> Committed:
    made = tuple(Word(text, start_s, end_s, 1.0) for text, start_s, end_s in words)
    return Committed(utterance=utterance, text=text_of(made), words=made)


def spread(text: str, start_s: float = 0.0, word_s: float = 0.25) -> Committed:
    words = re.findall(r" ?\S+", text)
    times = itertools.count(start_s, word_s)
    return committed(*((word, at_s, at_s + word_s) for word, at_s in zip(words, times)))  # noqa: B905


def parse(text: str) -> list[tuple[int, int, list[str]]]:
    """Start and end in milliseconds, and the rows, of every cue of an SRT or WebVTT file."""
    cues = []
    for block in text.removeprefix("WEBVTT\n\n").split("\n\n")[:-1]:
        body = re.sub(r"^\d+\n(?=\d\d:)", "", block)
        times = CUE.match(body)
        assert times is not None, block
        h, m, s, ms, h2, m2, s2, ms2 = map(int, times.groups())
        rows = body[times.end() :].split("\n")
        start, end = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000 + ms2
        cues.append((start, end, rows))
    return cues


def test_both_are_sinks() -> None:
    assert isinstance(SrtSink("-"), Sink)
    assert isinstance(WebVttSink("-"), Sink)


def test_an_srt_cue_looks_like_this() -> None:
    words = ((" Ask", 3599.5, 3600.0), (" not.", 3600.0, 3601.25))
    text = write(SrtSink, committed(*words), Final())
    assert text == "1\n00:59:59,500 --> 01:00:01,250\nAsk not.\n\n"


def test_a_webvtt_cue_looks_like_this_and_is_escaped() -> None:
    text = write(WebVttSink, committed((" R&D", 0.0, 1.0), (" <3 -->", 1.0, 2.0)), Final())
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nR&amp;D &lt;3 --&gt;\n\n"


@pytest.mark.parametrize("make", [SrtSink, WebVttSink])
def test_without_speech_the_file_is_still_valid(make: type[SrtSink] | type[WebVttSink]) -> None:
    assert write(make) == ("" if make is SrtSink else "WEBVTT\n\n")


def test_a_cue_is_written_as_soon_as_it_is_complete() -> None:
    async def main() -> None:
        stream = io.StringIO()
        async with SrtSink(stream) as sink:
            await sink.write(spread(" My fellow Americans, ask"))
            assert stream.getvalue() == ""
            await sink.write(spread(" not.", 1.0))
            assert stream.getvalue().endswith("My fellow Americans, ask not.\n\n")

    asyncio.run(main())


def test_long_speech_is_cut_at_words_into_two_rows_of_42_columns() -> None:
    text = " ".join(f"word{i}" for i in range(60))
    cues = parse(write(SrtSink, spread(" " + text, word_s=0.1), Final()))
    assert len(cues) > 2
    assert all(len(rows) <= 2 for _, _, rows in cues)
    assert all(len(row) <= 42 for _, _, rows in cues for row in rows)
    assert " ".join(row for _, _, rows in cues for row in rows) == text


def test_a_sentence_ends_a_cue_but_an_abbreviation_at_its_start_does_not() -> None:
    text = write(SrtSink, spread(" Mr. Smith went home. He slept well."), Final())
    assert [rows for _, _, rows in parse(text)] == [["Mr. Smith went home."], ["He slept well."]]


def test_a_pause_and_seven_seconds_end_a_cue() -> None:
    words = [(" a", 0.0, 1.0), (" b", 2.5, 3.0), *((" c", 3.0 + i, 4.0 + i) for i in range(8))]
    cues = parse(write(SrtSink, committed(*words), Final()))
    assert [rows for _, _, rows in cues] == [["a"], ["b c c c c c c"], ["c c"]]


def test_a_short_cue_stays_readable_and_pushes_the_next_one() -> None:
    text = write(
        SrtSink,
        committed((" Yes.", 1.0, 1.2)),
        Final(utterance=0),
        committed((" No", 1.5, 3.0), utterance=1),
        Final(utterance=1),
    )
    assert [(start, end) for start, end, _ in parse(text)] == [(1000, 1833), (1833, 3000)]


def test_languages_without_spaces_are_cut_at_characters() -> None:
    characters = [(c, i * 0.05, (i + 1) * 0.05) for i, c in enumerate("客観的実在の判断" * 8)]
    cues = parse(write(WebVttSink, committed(*characters), Final()))
    assert [[cell_len(row) for row in rows] for _, _, rows in cues] == [[42, 42], [42, 2]]


def test_a_word_wider_than_a_row_is_split_with_its_time() -> None:
    cues = parse(write(SrtSink, committed(("x" * 126, 0.0, 6.0)), Final()))
    assert cues == [(0, 4000, ["x" * 42, "x" * 42]), (4000, 6000, ["x" * 42])]


def test_what_was_committed_is_written_when_the_run_fails() -> None:
    stream = io.StringIO()

    async def main() -> None:
        async with SrtSink(stream) as sink:
            await sink.write(spread(" and so"))
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(main())
    assert "and so" in stream.getvalue()


def test_tentative_text_is_never_written() -> None:
    text = write(SrtSink, Partial(tentative=" maybe"), spread(" sure"), Final())
    assert "maybe" not in text


def test_labels_tell_the_sessions_apart() -> None:
    events = (
        SessionStarted(session="a", label="me"),
        SessionStarted(session="b", label="<you>"),
        Committed(session="a", text=" Hi", words=(Word(" Hi", 0.0, 1.0, 1.0),)),
        Committed(session="b", text=" Oh", words=(Word(" Oh", 0.5, 2.0, 1.0),)),
    )
    assert [rows for _, _, rows in parse(write(SrtSink, *events))] == [["me: Hi"], ["<you>: Oh"]]
    assert "<v me>Hi" in write(WebVttSink, *events)
    assert "<v &lt;you&gt;>Oh" in write(WebVttSink, *events)


def test_speakers_at_once_keep_their_own_cues_in_the_order_of_their_beginnings() -> None:
    a, b = SessionStarted(session="a", label="me"), SessionStarted(session="b", label="you")
    said = [
        replace(spread(" I was saying that", 0.0), session="a"),
        replace(spread(" Yes of course.", 0.5), session="b"),
        Final(session="b"),
        replace(spread(" it will rain.", 1.0), session="a"),
        Final(session="a"),
    ]
    cues = parse(write(SrtSink, a, b, *said))
    assert [rows for _, _, rows in cues] == [
        ["me: I was saying that it will rain."],
        ["you: Yes of course."],
    ]
    assert [(start, end) for start, end, _ in cues] == [(0, 1750), (500, 1333)]


def test_a_cue_waits_for_speech_that_began_before_it() -> None:
    sink = SrtSink(io.StringIO())
    told = [
        SessionStarted(session="a"),
        SessionStarted(session="b"),
        SpeechStarted(session="a", at_s=1.0),
        SpeechStarted(session="b", at_s=3.0),
        replace(spread("Yes of course.", 3.0), session="b"),
        Final(session="b", start_s=3.0, end_s=4.0),
    ]
    assert "".join(map(sink.format, told)) == ""
    late = replace(spread("I said that before.", 1.0), session="a")
    assert [start for start, _, _ in parse(sink.format(late))] == [1000]
    more = Final(session="a", end_s=2.5, reason="max_length")  # and speaks on
    assert [start for start, _, _ in parse(sink.format(more))] == []
    last = Final(session="a", utterance=1, end_s=2.5)  # nothing more was said
    assert [start for start, _, _ in parse(sink.format(last))] == [3000]


def test_sessions_that_run_at_different_speeds_keep_the_times_of_their_cues() -> None:
    sink = SrtSink(io.StringIO())

    def say(session: str, at_s: float) -> str:
        said = replace(spread(f"{session} at {at_s:g}.", at_s), session=session)
        final = Final(session=session, start_s=at_s, end_s=at_s + 0.75)
        return sink.format(said) + sink.format(final)

    text = ""
    for session in "ab":
        text += sink.format(SessionStarted(session=session, options={"pace": "fast"}))
    text += "".join(say("a", at_s) for at_s in (0, 30, 60))
    assert [start for start, _, _ in parse(text)] == [0]
    text += "".join(say("b", at_s) for at_s in (10, 20, 40))
    assert [start for start, _, _ in parse(text)] == [0, 10_000, 20_000, 30_000, 40_000]
    text += sink.format(SessionEnded(session="b"))
    assert [rows for _, _, rows in parse(text)][-1] == ["a at 60."]


def test_cues_that_were_made_longer_hold_back_no_other_cue_of_a_fast_session() -> None:
    sink = SrtSink(io.StringIO())
    sink.format(SessionStarted(options={"pace": "fast"}))
    for word in ("Ah.", "Oh."):
        at_s = 0.2 if word == "Oh." else 0.0
        text = sink.format(committed((word, at_s, at_s + 0.1)))
        text += sink.format(Final(start_s=at_s, end_s=at_s + 0.1))
        assert word in text


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.floats(0, 3), st.booleans()),
        max_size=30,
    )
)
def test_two_sessions_however_they_interleave_make_one_file_in_order(
    steps: list[tuple[str, int, float, bool]],
) -> None:
    events: list[Event] = [
        SessionStarted(session="a", label="left"),
        SessionStarted(session="b", label="right"),
    ]
    at_s = {"a": 0.0, "b": 0.0}
    words = {"a": 0, "b": 0}
    for session, n_words, pause_s, ends in steps:
        at_s[session] += pause_s
        text = "".join(f" {session}{words[session] + i}" for i in range(n_words))
        words[session] += n_words
        events.append(replace(spread(text, at_s[session]), session=session))
        at_s[session] += 0.25 * n_words
        if ends:
            events.append(Final(session=session))
    events.append(SessionEnded(session="a"))
    cues = parse(write(SrtSink, *events))
    starts = [start for start, _, _ in cues]
    assert starts == sorted(starts)
    for session, label in (("a", "left"), ("b", "right")):
        own = [rows for _, _, rows in cues if rows[0].startswith(f"{label}: ")]
        text = " ".join(" ".join(rows).removeprefix(f"{label}: ") for rows in own)
        assert text.split() == [f"{session}{i}" for i in range(words[session])]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("ab. 日?&\n-", min_size=1, max_size=60),
            st.floats(0, 3),
            st.floats(0, 2),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_any_words_give_a_valid_file_that_says_them_all(
    steps: list[tuple[str, float, float, bool]],
) -> None:
    events: list[Event] = []
    now_s = 0.0
    for text, gap_s, length_s, final in steps:
        now_s += gap_s
        events.append(committed((" " + text, now_s, now_s + length_s)))
        if final:
            events.append(Final())
    cues = parse(write(SrtSink, *events))
    times = [at for start, end, _ in cues for at in (start, end)]
    assert times == sorted(times)
    assert all(end > start for start, end, _ in cues)
    assert all(1 <= len(rows) <= 2 for _, _, rows in cues)
    assert all(0 < cell_len(row) <= 42 for _, _, rows in cues for row in rows)
    said = "".join(row for _, _, rows in cues for row in rows)
    assert "".join(said.split()) == "".join("".join(text for text, *_ in steps).split())
