from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions
from rich.text import Text
from terminal_screen import TerminalScreen

from sinks._screen import Screen

Frame = tuple[list[str], list[str]]


class Drawn:
    """A screen, and the terminal it draws on."""

    def __init__(self, width: int, height: int) -> None:
        self.console = Console(
            file=io.StringIO(),
            force_terminal=True,
            width=width,
            height=height,
            legacy_windows=False,
        )
        self.screen = Screen(self.console)
        self.terminal = TerminalScreen(width, height)

    def draw(self, finished: list[str], live: list[str]) -> str:
        written = self.screen.draw([Text(row) for row in finished], [Text(row) for row in live])
        self.terminal.feed(written)
        return written

    def resize(self, width: int, height: int) -> None:
        self.console.size = ConsoleDimensions(width, height)
        self.terminal.resize(width, height)


rows = st.text("ab 日e\u0301", max_size=9).map(lambda text: ("x" + text).rstrip())
frames = st.lists(
    st.tuples(st.lists(rows, max_size=3), st.lists(rows, min_size=1, max_size=4)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(frames, st.integers(5, 9))
def test_finished_rows_stay_and_live_rows_are_replaced(drawn: list[Frame], height: int) -> None:
    screen = Drawn(20, height)
    stay: list[str] = []
    for finished, live in drawn:
        screen.draw(finished, live)
        stay += finished
        assert [unaccented(row) for row in screen.terminal.rows] == [
            unaccented(row) for row in stay + live
        ]
    screen.draw([], [])
    assert screen.terminal.left_as_found
    assert len(screen.terminal.rows) == len(stay) + 1


def unaccented(row: str) -> str:
    """Without combining characters, which terminals compose."""
    return unicodedata.normalize("NFD", row).replace("\u0301", "")


def test_a_frame_like_the_last_one_writes_nothing() -> None:
    screen = Drawn(20, 5)
    assert screen.draw([], ["text", "status"])
    assert screen.draw([], ["text", "status"]) == ""


def test_only_rows_from_the_first_that_changed_are_written() -> None:
    screen = Drawn(20, 5)
    screen.draw([], ["text", "status 1"])
    written = screen.draw([], ["text", "status 2"])
    assert "status 2" in written
    assert "text" not in written
    assert screen.terminal.rows == ["text", "status 2"]


def test_a_frame_is_one_synchronized_update_that_never_clears_the_screen() -> None:
    screen = Drawn(20, 5)
    written = screen.draw(["one"], ["two", "three"])
    assert written.startswith("\x1b[?2026h")
    assert written.endswith("\x1b[?2026l")
    assert "\x1b[2J" not in written
    assert "\x1b[?25" not in written
    assert "\x1b[?1049h" not in written


@pytest.mark.parametrize("width", [5, 7, 10, 13])
def test_rows_that_a_narrower_terminal_folded_are_removed_whole(width: int) -> None:
    screen = Drawn(20, 12)
    screen.draw(["kept"], ["eighteen cells wid", "日本語日本語日"])
    screen.resize(width, 12)
    screen.draw([], ["now"])
    assert screen.terminal.rows == ["kept", "now"]


def test_a_live_row_that_is_wider_than_we_know_does_not_fold() -> None:
    screen = Drawn(10, 5)
    screen.draw([], ["x" * 14, "status"])
    assert screen.terminal.visible[:2] == ["x" * 10, "status"]
    screen.draw([], ["y", "status"])
    assert screen.terminal.rows == ["y", "status"]


def test_the_last_column_and_the_first_row_stay_free() -> None:
    screen = Drawn(10, 5).screen
    assert (screen.width, screen.height) == (9, 4)
    assert (Drawn(1, 1).screen.width, Drawn(1, 1).screen.height) == (2, 1)
    assert cell_len("日") == 2  # so that a wide character always has room
