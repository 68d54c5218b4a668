from __future__ import annotations

import asyncio
import io
import os
import pty
import sys
import threading
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console, ConsoleDimensions
from terminal_screen import TerminalScreen

from sinks.terminal import TerminalSink
from streaming.events import AudioDropped, Committed, Event, Final, Notice, Partial, SessionStarted
from streaming.protocols import Sink, Status


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Session:
    """A terminal sink on a screen."""

    def __init__(
        self, width: int = 20, height: int = 5, notices: io.StringIO | None = None
    ) -> None:
        self.stream = io.StringIO()
        self.notices = notices or io.StringIO()
        self.console = Console(
            file=self.stream,
            force_terminal=True,
            width=width,
            height=height,
            legacy_windows=False,
            _environ={"TERM": "xterm"},
        )
        self.sink = TerminalSink(notices=self.notices, console=self.console)
        self.screen = TerminalScreen(width, height)
        self._fed = 0

    async def write(self, *events: Event) -> list[str]:
        for event in events:
            await self.sink.write(event)
        return self.look()

    def look(self) -> list[str]:
        data = self.stream.getvalue()
        self.screen.feed(data[self._fed :])
        self._fed = len(data)
        return self.screen.rows


def test_it_is_a_sink() -> None:
    assert isinstance(TerminalSink(), Sink)


def test_tentative_text_is_dim_and_replaced_in_place() -> None:
    async def main() -> None:
        session = Session()
        async with session.sink:
            shown = await session.write(
                Committed(text=" Hello"), Partial(committed=" Hello", tentative=" word")
            )
            assert shown == ["Hello word"]
            assert session.screen.dim == "word"
            shown = await session.write(Partial(committed=" Hello", tentative=" world of"))
            assert shown == ["Hello world of"]
            shown = await session.write(
                Committed(text=" world"), Partial(committed=" Hello world", tentative=" on")
            )
            assert (shown, session.screen.dim) == (["Hello world on"], "on")
            shown = await session.write(Committed(text=" on."), Final(text=" Hello world on."))
            assert (shown, session.screen.dim) == (["Hello world on.", ""], "")

    asyncio.run(main())


def test_full_committed_rows_are_printed_once_and_for_good() -> None:
    async def main() -> None:
        session = Session(width=12)
        async with session.sink:
            await session.write(Committed(text=" one two three four five"))
            assert session.screen.rows == ["one two", "three four", "five"]
            await session.write(Partial(tentative=" six"), Partial(tentative=" sick"))
        data = session.stream.getvalue()
        assert data.count("one two") == data.count("three four") == 1
        assert session.look() == ["one two", "three four", "five", ""]

    asyncio.run(main())


def test_an_utterance_taller_than_the_screen_loses_nothing() -> None:
    words = [f" word{i}" for i in range(60)]

    async def main() -> None:
        session = Session(width=16, height=4)
        committed = ""
        async with session.sink:
            for i, word in enumerate(words):
                await session.write(
                    Committed(text=word),
                    Partial(committed=committed, tentative="".join(words[i + 1 : i + 13])),
                )
                committed += word
            await session.write(Final(text=committed))
        assert " ".join(session.look()).split() == [word.strip() for word in words]

    asyncio.run(main())


def test_wide_characters_count_two_cells() -> None:
    async def main() -> None:
        session = Session(width=11)
        async with session.sink:
            shown = await session.write(
                Committed(text="客観的実在の"), Partial(tentative="判断的知識が")
            )
        assert shown == ["客観的実在", "の判断的知", "識が"]

    asyncio.run(main())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("ab 日\u0301e\x1b", max_size=30),
            st.text("ab 日\u0301e", max_size=60),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.integers(4, 30),
    st.integers(2, 6),
)
def test_what_was_committed_is_what_remains(
    steps: list[tuple[str, str, bool]], width: int, height: int
) -> None:
    async def main() -> None:
        session = Session(width, height)
        async with session.sink:
            for i, (committed, tentative, final) in enumerate(steps):
                await session.write(
                    Committed(utterance=0, text=committed),
                    Partial(utterance=0, tentative=tentative),
                )
                if final:
                    await session.write(Final(utterance=0), Notice(message=str(i)))
        said = "".join(text for text, _, _ in steps).replace("\x1b", " ")
        assert letters(session.look()) == letters([said])
        assert session.screen.dim == ""

    asyncio.run(main())


def letters(rows: list[str]) -> str:
    """Without spaces, and without combining characters, which terminals compose."""
    text = unicodedata.normalize("NFD", "".join(rows)).replace("\u0301", "")
    return "".join(text.split())


def test_a_resize_in_the_middle_disturbs_nothing() -> None:
    words = [f" word{i}" for i in range(30)]

    async def main() -> None:
        session = Session(width=24, height=6)
        session.sink.follow(lambda: Status(speaking=True))
        async with session.sink:
            for number, word in enumerate(words):
                if number in (8, 16, 24):
                    width, height = {8: (14, 9), 16: (40, 5), 24: (12, 8)}[number]
                    session.look()
                    session.console.size = ConsoleDimensions(width, height)
                    session.screen.resize(width, height)
                await session.write(Committed(text=word), Partial(tentative=" or so" * 4))
        assert letters(session.look()) == letters(words)  # what was said, folded here and there
        assert session.screen.left_as_found

    asyncio.run(main())


def test_a_resize_that_pushes_live_rows_off_the_screen_loses_nothing() -> None:
    async def main() -> None:
        session = Session(width=60, height=6)
        async with session.sink:
            await session.write(Committed(text=" one two three"), Partial(tentative=" or so" * 30))
            session.console.size = ConsoleDimensions(10, 4)
            session.screen.resize(10, 4)
            await session.write(Committed(text=" four"))
        words = " ".join(session.look()).split()
        assert words[-4:] == ["one", "two", "three", "four"]
        assert len(session.look()) <= 6 * 6 + 3  # what was live, folded, and the new rows

    asyncio.run(main())


def test_a_run_that_is_cancelled_keeps_the_committed_text_only() -> None:
    session = Session()

    async def main() -> None:
        async with session.sink:
            await session.write(Committed(text=" Hello"), Partial(tentative=" world"))
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert session.look() == ["Hello", ""]


def test_notices_go_to_their_stream_where_that_is_no_terminal() -> None:
    async def main() -> None:
        session = Session(width=40)
        async with session.sink:
            await session.write(Committed(text=" Hello"), Partial(tentative=" wor"))
            shown = await session.write(
                Notice(level="warning", message="the source\nreconnects"),
                AudioDropped(start_s=1.0, end_s=2.5, reason="overflow"),
            )
            assert shown == ["Hello wor"]
        assert session.notices.getvalue() == (
            "warning: the source reconnects\nwarning: audio dropped from 1.0 to 2.5 s: overflow\n"
        )

    asyncio.run(main())


def test_notices_stand_in_the_transcript_where_their_stream_is_a_terminal_too() -> None:
    async def main() -> None:
        session = Session(width=40, notices=Tty())
        async with session.sink:
            await session.write(
                SessionStarted(model="tiny.en", backend="ctranslate2"),
                Committed(text=" Hello"),
                Partial(tentative=" wor"),
            )
            shown = await session.write(Notice(level="warning", message="the source reconnects"))
            assert shown == [
                "tiny.en on ctranslate2",
                "warning: the source reconnects",
                "Hello wor",
            ]
        assert session.notices.getvalue() == ""

    asyncio.run(main())


def test_the_model_and_its_backend_are_named_once() -> None:
    async def main() -> None:
        session = Session(width=40)
        async with session.sink:
            await session.write(
                SessionStarted(session="a", model="tiny.en", backend="ctranslate2"),
                SessionStarted(session="b", model="tiny.en", backend="ctranslate2"),
                Committed(text=" Hello"),
            )
        assert session.notices.getvalue() == "tiny.en on ctranslate2\n"
        assert session.look()[0] == "Hello"

    asyncio.run(main())


def test_notices_that_nobody_takes_do_not_end_the_transcript() -> None:
    async def main() -> None:
        session = Session()
        session.notices.close()
        async with session.sink:
            await session.write(Notice(message="x"), Notice(message="y"), Committed(text=" Hello"))
        assert session.look() == ["Hello", ""]

    asyncio.run(main())


def test_labels_stand_before_their_sessions_lines() -> None:
    async def main() -> None:
        session = Session(width=40)
        async with session.sink:
            shown = await session.write(
                SessionStarted(session="a", label="me"),
                SessionStarted(session="b", label="you"),
                Partial(session="a", tentative=" How"),
            )
            assert shown == ["me: How"]
            shown = await session.write(
                Committed(session="a", text=" How"),
                Partial(session="b", tentative=" We"),
                Committed(session="b", text=" Well"),
            )
            assert shown == ["me: How", "you: Well"]

    asyncio.run(main())


def test_without_a_terminal_committed_text_flows_plainly() -> None:
    async def main() -> None:
        stream = io.StringIO()
        async with TerminalSink(stream, notices=io.StringIO()) as sink:
            await sink.write(Partial(tentative=" Hel"))
            await sink.write(Committed(text=" Hello"))
            assert stream.getvalue() == "Hello"
            await sink.write(Notice(message="x"))
            await sink.write(Final(text=" Hello"))
            assert stream.getvalue() == "Hello\n"

    asyncio.run(main())


def test_force_color_does_not_make_a_pipe_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()

    async def main() -> None:
        async with TerminalSink(stream, notices=io.StringIO()) as sink:
            await sink.write(Partial(tentative=" Hel"))

    asyncio.run(main())
    assert stream.getvalue() == ""


def test_a_real_terminal_shows_it_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.delenv("NO_COLOR", raising=False)
    master, slave = pty.openpty()
    got = bytearray()

    def read() -> None:
        while True:
            try:
                got.extend(os.read(master, 4096))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()

    async def main() -> None:
        async with TerminalSink(notices=io.StringIO()) as sink:
            await sink.write(Committed(text=" Sous le"))
            await sink.write(Partial(committed=" Sous le", tentative=" Consulat, été"))
            await sink.write(Committed(text=" Consulat."))
            await sink.write(Final(text=" Sous le Consulat."))

    with open(slave, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        asyncio.run(main())
        monkeypatch.undo()
    reader.join(10)
    os.close(master)
    data = got.decode()
    assert "\x1b[2m Consulat, été\x1b[0m" in data
    screen = TerminalScreen(40, 10)
    screen.feed(data)
    assert screen.rows == ["Sous le Consulat.", ""]


def test_a_status_line_is_drawn_by_itself_and_leaves_nothing_behind() -> None:
    async def main() -> None:
        session = Session(width=40)
        session.sink.follow(lambda: Status(audio_s=62.0, level_db=-30.0, speaking=True))
        async with session.sink:
            await session.write(Committed(text=" Hello"))
            await asyncio.sleep(0.3)
            assert session.look() == ["Hello", "■■■···  ● speech  1:02"]
        assert session.look() == ["Hello", ""]
        assert session.screen.left_as_found

    asyncio.run(main())


def test_two_labelled_sessions_stand_side_by_side_on_a_wide_terminal() -> None:
    async def main() -> None:
        session = Session(width=72, height=8)
        async with session.sink:
            await session.write(
                SessionStarted(session="a", label="me"),
                SessionStarted(session="b", label="them"),
                Committed(session="a", text=" How are you?"),
                Final(session="a"),
                Committed(session="b", text=" Fine"),
                Partial(session="b", tentative=" thanks"),
            )
            shown = [row.split("│") for row in session.look()]
            assert [row[0].strip() for row in shown if len(row) > 1] == ["me", "How are you?", ""]
            assert [row[1].strip() for row in shown if len(row) > 1] == ["them", "", "Fine thanks"]
        assert session.look()[-2].endswith("│ Fine")

    asyncio.run(main())


def progressing(notices: io.StringIO) -> tuple[io.StringIO, TerminalSink]:
    stream = io.StringIO()
    sink = TerminalSink(stream, notices=notices)
    sink.follow(lambda: Status(audio_s=30.0, duration_s=60.0))
    return stream, sink


def test_without_a_terminal_progress_goes_to_the_notices_if_they_have_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")

    async def main() -> None:
        notices = Tty()
        stream, sink = progressing(notices)
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            await sink.write(Committed(text=" Hello"))
            await sink.write(Notice(message="x"))
            await asyncio.sleep(0.3)
            screen = TerminalScreen(40, 10)
            screen.feed(notices.getvalue())
            assert screen.rows[0] == "info: x"
            assert " 50%" in screen.rows[1]
        assert stream.getvalue() == "Hello\n"
        screen = TerminalScreen(40, 10)
        screen.feed(notices.getvalue())
        assert screen.rows == ["info: x", ""]
        assert screen.left_as_found

    asyncio.run(main())


def test_without_any_terminal_there_is_no_progress() -> None:
    async def main() -> None:
        notices = io.StringIO()
        stream, sink = progressing(notices)
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            await sink.write(Committed(text=" Hello"))
            await asyncio.sleep(0.3)
        assert (stream.getvalue(), notices.getvalue()) == ("Hello\n", "")

    asyncio.run(main())
