from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass

from sinks.text import TextSink
from streaming.events import Committed, Event, Final, Notice, Partial, SessionEnded, SessionStarted
from streaming.protocols import Sink


@dataclass(frozen=True, slots=True, kw_only=True)
class Unheard(Event):
    """An event of a later version."""


def write(*events: Event) -> str:
    stream = io.StringIO()

    async def main() -> None:
        async with TextSink(stream) as sink:
            for event in events:
                await sink.write(event)

    asyncio.run(main())
    return stream.getvalue()


def test_it_is_a_sink() -> None:
    assert isinstance(TextSink("-"), Sink)


def test_an_utterance_is_a_line_without_its_leading_space() -> None:
    text = write(
        Committed(utterance=0, text=" Hello"),
        Partial(utterance=0, committed=" Hello", tentative=" word"),
        Committed(utterance=0, text=" world."),
        Final(utterance=0, text=" Hello world."),
        Committed(utterance=1, text=" Again."),
        Final(utterance=1, text=" Again."),
    )
    assert text == "Hello world.\nAgain.\n"


def test_words_are_there_as_soon_as_they_are_committed() -> None:
    async def main() -> None:
        stream = io.StringIO()
        async with TextSink(stream) as sink:
            await sink.write(Committed(utterance=0, text=" Hello"))
            assert stream.getvalue() == "Hello"

    asyncio.run(main())


def test_a_run_that_stops_inside_an_utterance_ends_its_line() -> None:
    assert write(Committed(utterance=0, text=" Hello")) == "Hello\n"


def test_an_utterance_without_words_leaves_no_line() -> None:
    text = write(
        Final(utterance=0),
        Committed(utterance=1, text=" "),
        Final(utterance=1),
        Committed(utterance=2, text=" a"),
    )
    assert text == "a\n"


def test_sessions_that_interleave_get_lines_of_their_own() -> None:
    text = write(
        SessionStarted(session="a", label="me"),
        SessionStarted(session="b", label="you"),
        Committed(session="a", utterance=0, text=" How"),
        Committed(session="b", utterance=0, text=" Well"),
        Final(session="a", utterance=0),
        Committed(session="b", utterance=0, text=" I"),
        Final(session="b", utterance=0),
        SessionEnded(session="b"),
    )
    assert text == "me: How\nyou: Well I\n"


def test_control_characters_and_unknown_events_do_no_harm() -> None:
    assert write(Unheard(), Notice(message="x"), Committed(text=" a\x1b[2J\nb")) == "a [2J b\n"


def test_a_line_that_one_has_begun_is_not_broken_by_another() -> None:
    said: list[Event] = [
        SessionStarted(session="a", label="me"),
        SessionStarted(session="b", label="you"),
        Committed(session="a", utterance=0, text=" How"),
        Committed(session="b", utterance=0, text=" Well"),
        Final(session="b", utterance=0),
        Committed(session="b", utterance=1, text=" And"),
        Committed(session="a", utterance=0, text=" are you?"),
    ]
    assert write(*said[:4]).startswith("me: How")
    assert write(*said) == "me: How are you?\nyou: Well\nyou: And\n"
    ended = [*said, SessionEnded(session="a"), Committed(session="b", utterance=1, text=" so")]
    assert write(*ended) == "me: How are you?\nyou: Well\nyou: And so\n"
