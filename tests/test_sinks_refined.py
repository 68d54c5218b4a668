from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from sinks._output import OutputSink
from sinks._refined import RefinedLog
from sinks.jsonl import JsonlSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink
from streaming.events import (
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    Word,
)
from streaming.protocols import Sink

STARTED = SessionStarted(session="s", options={"final_model": "base"})


def words(text: str, utterance: int) -> tuple[Word, ...]:
    return tuple(
        Word(f" {word}", 10.0 * utterance + i, 10.0 * utterance + i + 1.0, 0.9)
        for i, word in enumerate(text.split())
    )


def said(utterance: int, text: str = "small", session: str = "s") -> list[Event]:
    spoken: dict[str, Any] = {"text": f" {text}", "words": words(text, utterance)}
    return [
        Partial(session=session, utterance=utterance, tentative=f" {text}"),
        Committed(session=session, utterance=utterance, **spoken),
        Final(session=session, utterance=utterance, **spoken),
    ]


def refined(utterance: int, text: str = "large", session: str = "s") -> Refined:
    return Refined(
        session=session, utterance=utterance, text=f" {text}", words=words(text, utterance)
    )


def write(make: Callable[[io.StringIO], Sink], *events: Event) -> list[str]:
    """What is written after each event, and after the end."""
    stream = io.StringIO()
    written: list[str] = []

    async def main() -> None:
        async with make(stream) as sink:
            for event in events:
                await sink.write(event)
                written.append(stream.getvalue())

    asyncio.run(main())
    return [*written, stream.getvalue()]


def test_an_utterance_is_written_when_it_is_refined() -> None:
    *_, before, after, end = write(TextSink, STARTED, *said(0), refined(0, "larger words"))
    assert (before, after, end) == ("", "larger words\n", "larger words\n")


def test_utterances_come_in_order_whatever_comes_first() -> None:
    events = [STARTED, *said(0), *said(1), *said(2), refined(1, "b"), refined(0, "a")]
    *_, first, second, end = write(TextSink, *events)
    assert (first, second) == ("", "a\nb\n")
    assert end == "a\nb\nsmall\n"


def test_where_a_run_breaks_off_what_was_committed_is_written() -> None:
    events = [STARTED, *said(0), *said(1, "two words"), *said(2)[:2]]
    assert write(TextSink, *events)[-1] == "small\ntwo words\nsmall\n"
    assert write(TextSink, *events, SessionEnded(session="s"))[-2] == "small\ntwo words\nsmall\n"


def test_without_a_final_model_or_raw_words_are_written_as_they_are_committed() -> None:
    def raw(stream: io.StringIO) -> Sink:
        return TextSink(stream, raw=True)

    for make, started in ((raw, STARTED), (TextSink, SessionStarted(session="s"))):
        written = write(make, started, *said(0), refined(0))
        assert written[2:] == ["small", "small\n", "small\n", "small\n"]


def test_an_utterance_without_words_holds_nothing_up() -> None:
    events = [STARTED, Final(session="s", utterance=0), *said(1), refined(1)]
    assert write(TextSink, *events)[-2] == "large\n"


def test_sessions_wait_each_for_its_own() -> None:
    other = SessionStarted(session="t", options={"final_model": "base"})
    plain = SessionStarted(session="u")
    written = write(
        TextSink,
        *(STARTED, other, plain, *said(0), *said(0, "other", "t"), *said(0, "plain", "u")),
        *(refined(0, "more", "t"), SessionEnded(session="s"), *said(1, "late", "t")),
    )
    assert written[-1] == "plain\nmore\nsmall\nlate\n"


def test_what_is_held_has_a_bound() -> None:
    events = [STARTED, *(event for number in range(1000) for event in said(number, f"u{number}"))]
    log = RefinedLog(raw=False)
    held = 0
    for event in events:
        held += isinstance(event, Final)
        for shown in log.push(event):
            held -= isinstance(shown, Final)
        assert held <= 64
    assert held == 64
    assert [shown.utterance for shown in log.close() if isinstance(shown, Final)] == [
        *range(936, 1000)
    ]


def test_an_answer_that_nobody_waits_for_any_more_changes_nothing() -> None:
    log = RefinedLog(raw=False)
    events = [STARTED, *said(0), refined(0), refined(0, "again"), refined(7, "never said")]
    shown = [shown for event in events for shown in log.push(event)]
    assert [event.text for event in shown if isinstance(event, Committed)] == [" large"]


def test_everything_else_passes() -> None:
    log = RefinedLog(raw=False)
    notice = Notice(session="s", message="x")
    assert [*log.push(STARTED), *log.push(notice), *log.push(said(0)[0])] == [STARTED, notice]


@pytest.mark.parametrize("make", [SrtSink, WebVttSink])
def test_subtitles_have_the_refined_words_at_their_times(make: type[OutputSink]) -> None:
    *_, before, after, end = write(make, STARTED, *said(1), refined(1, "larger words"))
    assert "-->" not in before
    assert after == end
    assert "00:00:10" in after
    assert "00:00:12" in after
    assert "larger words" in after
    assert "small" not in after


@pytest.mark.parametrize("make", [SrtSink, WebVttSink])
def test_raw_subtitles_have_the_committed_words(make: Any) -> None:
    events = [STARTED, *said(1), refined(1, "larger words")]
    text = write(lambda stream: make(stream, raw=True), *events)[-1]
    assert "small" in text
    assert "larger" not in text
    broken_off = write(make, STARTED, *said(1))[-1]
    assert "small" in broken_off


def test_jsonl_has_every_event_at_once() -> None:
    events = [STARTED, *said(0), refined(0)]
    assert [text.count("\n") for text in write(JsonlSink, *events)] == [1, 2, 3, 4, 5, 5]


def test_a_terminal_shows_what_is_committed_and_never_takes_it_back() -> None:
    def terminal(stream: io.StringIO) -> Sink:
        return TerminalSink(console=Console(file=stream, force_terminal=True, width=60))

    *_, before, after, end = write(terminal, STARTED, *said(0), refined(0))
    assert "small" in before
    assert after == before
    assert "large" not in end


def test_where_stdout_is_no_terminal_the_text_is_the_refined_one() -> None:
    def plain(stream: io.StringIO) -> Sink:
        return TerminalSink(stream)

    def raw(stream: io.StringIO) -> Sink:
        return TerminalSink(stream, raw=True)

    events = [STARTED, *said(0), refined(0), *said(1)]
    assert write(plain, *events)[-1] == "large\nsmall\n"
    assert write(raw, *events)[-1] == "small\nsmall\n"
