from __future__ import annotations

import asyncio
import io
import threading
import time

import pytest
from rich.console import Console
from rich.text import Text
from terminal_screen import TerminalScreen

import sinks._painter
from sinks._painter import Painter, draws_in_place
from streaming.errors import SinkError


class Composed:
    """Rows to show, set by the test."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.live: list[str] = []
        self.composed = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.finished))

    def compose(self, width: int, height: int) -> tuple[list[Text], list[Text]]:
        self.composed += 1
        finished, self.finished = self.finished, []
        return [Text(row) for row in finished], [Text(row) for row in self.live]

    def close(self) -> None:
        self.live = []


class Terminal(io.StringIO):
    """Takes data only while it is not held, and fails on request."""

    def __init__(self) -> None:
        super().__init__()
        self.goes = threading.Event()
        self.goes.set()
        self.fails = False
        self.writes = 0

    def write(self, text: str) -> int:
        self.goes.wait()
        if self.fails:
            raise OSError(5, "Input/output error")
        self.writes += 1
        return super().write(text)

    @property
    def rows(self) -> list[str]:
        screen = TerminalScreen(40, 10)
        screen.feed(self.getvalue())
        return screen.rows


def painting() -> tuple[Painter, Composed, Terminal]:
    composed, terminal = Composed(), Terminal()
    console = Console(file=terminal, force_terminal=True, width=40, height=10, legacy_windows=False)
    return Painter(terminal, console, composed), composed, terminal


async def until_written(terminal: Terminal, n_writes: int) -> None:
    for _ in range(500):
        if terminal.writes >= n_writes:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{terminal.writes} writes")


def test_a_frame_is_one_write_and_none_if_nothing_changed() -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        composed.finished, composed.live = ["one"], ["two", "status"]
        await painter.draw()
        assert (terminal.writes, terminal.rows) == (1, ["one", "two", "status"])
        await painter.draw()
        assert terminal.writes == 1
        await painter.close()
        assert (terminal.writes, terminal.rows) == (2, ["one", ""])

    asyncio.run(main())


def test_what_changes_by_itself_is_drawn_a_few_times_a_second() -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        composed.live = ["0:01"]
        await until_written(terminal, 1)
        assert terminal.rows == ["0:01"]
        before = composed.composed
        await asyncio.sleep(1.0)
        assert 2 <= composed.composed - before <= 9
        await painter.close()

    asyncio.run(main())


def test_a_terminal_that_is_stopped_holds_nobody_up_and_then_shows_the_newest() -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        terminal.goes.clear()
        began_s = time.monotonic()
        for number in range(100):
            composed.finished.append(f"row {number}")
            composed.live = [f"frame {number}"]
            await painter.draw()
        assert time.monotonic() - began_s < 2.0
        await asyncio.sleep(0.3)  # some ticks
        assert composed.composed == 1  # the frame that is under way
        terminal.goes.set()
        await until_written(terminal, 2)
        assert terminal.rows == [*(f"row {number}" for number in range(100)), "frame 99"]
        assert terminal.writes == 2
        await painter.close()

    asyncio.run(main())


def test_too_much_that_waits_to_be_seen_makes_events_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks._painter, "_MOST_UNSEEN", 10)

    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        terminal.goes.clear()
        for _ in range(2):
            composed.finished.append("x" * 9)
            await painter.draw()
        composed.finished.append("y")
        await painter.draw()
        composed.finished.append("z")
        drawing = asyncio.create_task(painter.draw())
        await asyncio.sleep(0.4)
        assert not drawing.done()
        terminal.goes.set()
        await asyncio.wait_for(drawing, 5)
        assert terminal.rows == ["x" * 9, "x" * 9, "y", "z", ""]
        await painter.close()

    asyncio.run(main())


@pytest.mark.parametrize("in_between", [False, True])
def test_a_terminal_that_fails_is_told(in_between: bool) -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        terminal.fails = True
        composed.live = ["one"]
        if in_between:
            await asyncio.sleep(0.3)
        with pytest.raises(SinkError, match="Input/output error"):
            await painter.draw()
        await painter.close(quiet=True)

    asyncio.run(main())


def test_a_failure_that_nobody_has_heard_of_is_told_at_the_end() -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        terminal.fails = True
        composed.live = ["one"]
        await asyncio.sleep(0.3)
        with pytest.raises(SinkError, match="Input/output error"):
            await painter.close()

    asyncio.run(main())


def test_closing_waits_a_second_for_a_terminal_that_is_stopped() -> None:
    async def main() -> None:
        painter, composed, terminal = painting()
        await painter.open()
        terminal.goes.clear()
        composed.finished = ["one"]
        await painter.draw()
        began_s = time.monotonic()
        with pytest.raises(SinkError, match="its reader takes no data"):
            await painter.close()
        assert time.monotonic() - began_s < 3.0
        terminal.goes.set()

    asyncio.run(main())


def test_rows_are_not_drawn_where_the_cursor_cannot_be_moved() -> None:
    def console(term: str, **options: bool) -> Console:
        return Console(file=io.StringIO(), _environ={"TERM": term}, **options)  # type: ignore[arg-type]

    assert draws_in_place(console("xterm", force_terminal=True, legacy_windows=False))
    assert not draws_in_place(console("dumb", force_terminal=True, legacy_windows=False))
    assert not draws_in_place(console("xterm", force_terminal=True, legacy_windows=True))
    assert not draws_in_place(console("xterm", force_terminal=False, legacy_windows=False))
