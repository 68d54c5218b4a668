from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from sinks.terminal import TerminalSink
from streaming.events import AudioDropped, Committed, Event, Final, Notice, Partial, SessionStarted
from streaming.protocols import Sink

SEQUENCE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


class Screen:
    """What a terminal of this size shows: rows, scrollback, and which cells are dim."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.rows: list[list[tuple[str, bool]]] = [[]]
        self.row = self.column = 0
        self.dim = False

    def feed(self, data: str) -> None:
        place = 0
        while place < len(data):
            if sequence := SEQUENCE.match(data, place):
                self._control(sequence[1], sequence[2])
                place = sequence.end()
                continue
            self._character(data[place])
            place += 1

    def text(self) -> list[str]:
        return ["".join(c for c, _ in row) for row in self.rows]

    def dim_text(self) -> str:
        return "".join(c for row in self.rows for c, dim in row if dim)

    def _character(self, c: str) -> None:
        if c == "\n":
            self.column = 0
            self._down()
        elif c == "\r":
            self.column = 0
        else:
            cells = cell_len(c)
            assert self.column + cells <= self.width, "the terminal would fold this row"
            row = self.rows[self.row]
            assert len("".join(x for x, _ in row)) == len(row)
            assert cell_len("".join(x for x, _ in row)) == self.column, "overwrites text"
            row.append((c, self.dim))
            self.column += cells

    def _control(self, number: str, code: str) -> None:
        if code == "A":
            self.row -= int(number or 1)
            top = max(len(self.rows) - self.height, 0)
            assert self.row >= top, "cannot go back above the screen"
        elif code == "K":
            assert number == "2"
            self.rows[self.row] = []
        elif code == "m":
            self.dim = number == "2"
        else:
            raise AssertionError(f"unknown sequence {code}")

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append([])


class Session:
    """A terminal sink on a screen."""

    def __init__(self, width: int = 20, height: int = 5) -> None:
        self.stream = io.StringIO()
        self.notices = io.StringIO()
        self.console = Console(
            file=self.stream,
            force_terminal=True,
            width=width,
            height=height,
            legacy_windows=False,
            _environ={"TERM": "xterm"},
        )
        self.sink = TerminalSink(notices=self.notices, console=self.console)
        self.screen = Screen(width, height)
        self._fed = 0

    async def write(self, *events: Event) -> list[str]:
        for event in events:
            await self.sink.write(event)
        return self.look()

    def look(self) -> list[str]:
        data = self.stream.getvalue()
        self.screen.feed(data[self._fed :])
        self._fed = len(data)
        return self.screen.text()


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
            assert session.screen.dim_text() == " word"
            shown = await session.write(Partial(committed=" Hello", tentative=" world of"))
            assert shown == ["Hello world of"]
            shown = await session.write(
                Committed(text=" world"), Partial(committed=" Hello world", tentative=" on")
            )
            assert (shown, session.screen.dim_text()) == (["Hello world on"], " on")
            shown = await session.write(Committed(text=" on."), Final(text=" Hello world on."))
            assert (shown, session.screen.dim_text()) == (["Hello world on.", ""], "")

    asyncio.run(main())


def test_full_committed_rows_are_printed_once_and_for_good() -> None:
    async def main() -> None:
        session = Session(width=12)
        async with session.sink:
            await session.write(Committed(text=" one two three four five"))
            assert session.screen.text() == ["one two", "three four", "five"]
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
        assert "".join("".join(session.look()).split()) == "".join(said.split())
        assert session.screen.dim_text() == ""

    asyncio.run(main())


def test_a_live_row_that_a_narrower_terminal_folded_is_removed_whole() -> None:
    async def main() -> None:
        session = Session(width=20)
        async with session.sink:
            await session.write(Partial(tentative=" eighteen cells wide"[:19]))
            assert session.screen.text() == ["eighteen cells wid"]
            before = len(session.stream.getvalue())
            session.console.width = 10
            await session.sink.write(Partial(tentative=" short"))
            added = session.stream.getvalue()[before:]
            assert added.startswith("\r\x1b[2K\x1b[1A\x1b[2K")
            assert added.count("\x1b[1A") == 1

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


def test_notices_go_to_their_stream_while_the_live_row_makes_room() -> None:
    async def main() -> None:
        session = Session(width=40)
        async with session.sink:
            await session.write(Committed(text=" Hello"), Partial(tentative=" wor"))
            before = len(session.stream.getvalue())
            shown = await session.write(
                Notice(level="warning", message="the source\nreconnects"),
                AudioDropped(start_s=1.0, end_s=2.5, reason="overflow"),
            )
            assert shown == ["Hello wor"]
            assert session.stream.getvalue()[before:].startswith("\r\x1b[2K")
        assert session.notices.getvalue() == (
            "warning: the source reconnects\nwarning: audio dropped from 1.0 to 2.5 s: overflow\n"
        )

    asyncio.run(main())


def test_the_model_and_its_backend_are_named_once() -> None:
    async def main() -> None:
        session = Session(width=40)
        async with session.sink:
            await session.write(
                SessionStarted(model="tiny.en", backend="ctranslate2"), Committed(text=" Hello")
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
    screen = Screen(40, 10)
    screen.feed(data.replace("\r\n", "\n"))
    assert screen.text() == ["Sous le Consulat.", ""]
