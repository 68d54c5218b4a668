from __future__ import annotations

import asyncio
import io
import sys

import pytest
from terminal_screen import TerminalScreen

from sinks._notices import notice_text
from sinks.notices import NoticesSink
from streaming.events import AudioDropped, Committed, Notice, SessionStarted, SpeechStarted
from streaming.protocols import Sink, Status


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")


def rows(stream: io.StringIO) -> list[str]:
    screen = TerminalScreen(60, 10)
    screen.feed(stream.getvalue())
    return screen.rows


async def run(stream: io.StringIO, pace: str) -> list[str]:
    """What is on the terminal while the session runs."""
    sink = NoticesSink(stream)
    sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
    async with sink:
        await sink.write(SessionStarted(options={"pace": pace}))
        await sink.write(Committed(text=" Hello"))
        await asyncio.sleep(0.3)
        return rows(stream)


def test_it_is_a_sink() -> None:
    assert isinstance(NoticesSink(io.StringIO()), Sink)


@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_a_run_that_does_not_wait_has_a_bar_that_is_gone_in_the_end(pace: str) -> None:
    stream = Tty()
    (row,) = asyncio.run(run(stream, pace))
    assert row.startswith("━")
    assert " 25%" in row
    assert "Hello" not in row
    assert rows(stream) == [""]


def test_a_second_session_is_told_as_well() -> None:
    stream = io.StringIO()

    async def main() -> None:
        sink = NoticesSink(stream)
        for message in ("first", "second"):
            async with sink:
                await sink.write(Notice(message=message))

    asyncio.run(main())
    assert stream.getvalue() == "info: first\ninfo: second\n"


def test_a_stream_that_is_broken_from_the_start_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken(io.StringIO):
        def flush(self) -> None:
            raise OSError(5, "gone")

    monkeypatch.setattr(sys, "stderr", Broken())

    async def main() -> None:
        async with NoticesSink() as sink:
            await sink.write(Notice(message="lost"))

    asyncio.run(main())


def test_a_notice_says_its_level_and_stays_on_its_line() -> None:
    lines = [
        notice_text(event)
        for event in (
            Notice(level="error", message="the\nsource"),
            AudioDropped(start_s=1.0, end_s=2.5, reason="overflow"),
            AudioDropped(start_s=1.0, end_s=2.5),
            SpeechStarted(),
        )
    ]
    assert [line and line.plain for line in lines] == [
        "error: the source",
        "warning: audio dropped from 1.0 to 2.5 s: overflow",
        "warning: audio dropped from 1.0 to 2.5 s",
        None,
    ]


def test_on_a_terminal_notices_stand_above_the_bar() -> None:
    async def main() -> list[str]:
        stream = Tty()
        sink = NoticesSink(stream)
        sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            await sink.write(Notice(level="warning", message="unplugged?"))
            await asyncio.sleep(0.3)
            return rows(stream)

    notice, bar = asyncio.run(main())
    assert notice == "warning: unplugged?"
    assert " 25%" in bar


def test_a_live_run_has_none() -> None:
    assert asyncio.run(run(Tty(), "realtime")) == [""]


def test_without_a_terminal_notices_are_lines_and_progress_is_not_told() -> None:
    stream = io.StringIO()

    async def main() -> None:
        sink = NoticesSink(stream)
        sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            await sink.write(Notice(level="warning", message="unplugged?"))
            await sink.write(AudioDropped(start_s=1.0, end_s=2.5, reason="reconnect"))
            await asyncio.sleep(0.3)

    asyncio.run(main())
    assert stream.getvalue().splitlines() == [
        "warning: unplugged?",
        "warning: audio dropped from 1.0 to 2.5 s: reconnect",
    ]


def test_a_terminal_that_fails_ends_the_progress_and_not_the_run() -> None:
    stream = Tty()

    async def main() -> None:
        sink = NoticesSink(stream)
        sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            stream.close()
            await asyncio.sleep(0.3)
            await sink.write(Committed(text=" Hello"))
            await sink.write(Committed(text=" world"))

    asyncio.run(main())
