from __future__ import annotations

import asyncio
import io

import pytest
from terminal_screen import TerminalScreen

from sinks.progress import ProgressSink
from streaming.events import Committed, Notice, SessionStarted
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
    sink = ProgressSink(stream)
    sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
    async with sink:
        await sink.write(SessionStarted(options={"pace": pace}))
        await sink.write(Committed(text=" Hello"))
        await sink.write(Notice(message="others tell it"))
        await asyncio.sleep(0.3)
        return rows(stream)


def test_it_is_a_sink() -> None:
    assert isinstance(ProgressSink(io.StringIO()), Sink)


@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_a_run_that_does_not_wait_has_a_bar_that_is_gone_in_the_end(pace: str) -> None:
    stream = Tty()
    (row,) = asyncio.run(run(stream, pace))
    assert row.startswith("━")
    assert " 25%" in row
    assert "Hello" not in row
    assert rows(stream) == [""]


def test_a_live_run_has_none() -> None:
    assert asyncio.run(run(Tty(), "realtime")) == [""]


def test_without_a_terminal_nothing_is_written() -> None:
    stream = io.StringIO()
    asyncio.run(run(stream, "fast"))
    assert stream.getvalue() == ""


def test_a_terminal_that_fails_ends_the_progress_and_not_the_run() -> None:
    stream = Tty()

    async def main() -> None:
        sink = ProgressSink(stream)
        sink.follow(lambda: Status(audio_s=15.0, duration_s=60.0))
        async with sink:
            await sink.write(SessionStarted(options={"pace": "fast"}))
            stream.close()
            await asyncio.sleep(0.3)
            await sink.write(Committed(text=" Hello"))
            await sink.write(Committed(text=" world"))

    asyncio.run(main())
