from __future__ import annotations

import pytest
from rich.text import Text

from sinks._view import View
from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
    SessionStarted,
)
from streaming.protocols import Status


class Watcher:
    """A view of which what has left is kept."""

    def __init__(self, pair: tuple[str, str] | None = None) -> None:
        self.now_s = 0.0
        self.view = View(lambda: self.now_s, pair=pair)
        self.gone: list[str] = []
        self.live: list[str] = []

    def look(self, width: int, height: int, *events: Event) -> list[str]:
        for event in events:
            self.view.push(event)
        self.now_s += 1.0
        finished, live = self.view.compose(width, height)
        self.gone += [row.plain.rstrip() for row in finished]
        self.live = [row.plain.rstrip() for row in live]
        return self.gone + self.live


def start(session: str, label: str) -> SessionStarted:
    return SessionStarted(session=session, label=label)


def two(pair: tuple[str, str] | None = None) -> Watcher:
    watcher = Watcher(pair)
    watcher.look(70, 5, start("a", "me"), start("b", "them"))
    return watcher


HEADER = ["me" + " " * 32 + " │ them", "─" * 33 + "──┼─" + "─" * 33]


def test_two_labelled_sessions_have_a_column_each_and_a_header_once() -> None:
    watcher = two()
    said = Committed(session="a", text=" Hello"), Committed(session="b", text=" Hi")
    assert watcher.look(70, 5, *said)[0] == HEADER[0].replace(" " * 32, " " * 31, 1)
    assert [row for row in watcher.look(70, 5) if "them" in row] == [watcher.gone[0]]
    assert watcher.live == ["Hello" + " " * 28 + " │ Hi"]


def test_a_label_that_is_too_long_for_its_column_is_cut() -> None:
    watcher = Watcher(("me" * 40, "them"))
    watcher.look(70, 5)
    assert watcher.gone[0] == "me" * 16 + "… │ them"


def test_a_narrow_terminal_has_labels_instead() -> None:
    watcher = Watcher()
    shown = watcher.look(
        59, 5, start("a", "me"), start("b", "them"), Committed(session="b", text=" Hi")
    )
    assert shown == ["them: Hi"]


def test_a_resize_changes_the_layout_of_what_has_not_left() -> None:
    watcher = two()
    events = Committed(session="a", text=" Hello"), Committed(session="b", text=" Hi")
    watcher.look(70, 5, *events)
    watcher.look(40, 5)
    assert watcher.live == ["me: Hello", "them: Hi"]
    watcher.look(70, 5)
    assert watcher.live == ["Hello" + " " * 28 + " │ Hi"]


def test_sides_are_known_in_advance_where_they_are_told() -> None:
    watcher = Watcher(("left", "right"))
    watcher.look(70, 5, start("b", "right"), Committed(session="b", text=" Hi"))
    assert watcher.gone[0].startswith("left")
    assert watcher.live == [" " * 34 + "│ Hi"]


@pytest.mark.parametrize("labels", [["me"], ["me", ""], ["me", "them", "others"]])
def test_other_sessions_than_two_with_labels_have_no_columns(labels: list[str]) -> None:
    watcher = Watcher()
    watcher.look(70, 5, *(start(label, label) for label in labels))
    assert watcher.look(70, 5, Committed(session="me", text=" Hello")) == ["me: Hello"]


def test_a_session_that_comes_again_keeps_its_side() -> None:
    watcher = two()
    watcher.look(70, 5, start("c", "them"), Committed(session="c", text=" Back"))
    assert watcher.live == [" " * 34 + "│ Back"]


def test_a_status_stands_on_the_last_row_and_is_not_left_behind() -> None:
    watcher = Watcher()
    watcher.view.watch.follow(lambda: Status(speaking=True), "")
    watcher.look(40, 5, Committed(text=" Hello"))
    assert watcher.live == ["Hello", "······  ● speech  0:00"]
    watcher.look(40, 20)
    assert watcher.live == ["Hello", "", "······  ● speech  0:00"]
    watcher.view.close()
    assert watcher.look(40, 5) == ["Hello"]
    assert watcher.live == []
    watcher.look(40, 5, start("next", ""))
    assert watcher.live == ["······  ● speech  0:00"]


def test_each_column_has_its_status() -> None:
    watcher = two()
    watcher.view.watch.follow(lambda: Status(speaking=True), "them")
    watcher.view.watch.follow(lambda: Status(), "me")
    watcher.look(70, 5)
    left, right = watcher.live[-1].split("│")
    assert left.startswith("me  ······  ○ listening")
    assert right.startswith(" them  ······  ● speech")


@pytest.mark.parametrize("height", [1, 2, 4])
def test_a_terminal_of_few_rows_shows_text_first(height: int) -> None:
    watcher = Watcher()
    watcher.view.watch.follow(lambda: Status(speaking=True), "")
    watcher.look(40, height, Committed(text=" Hello"), Partial(tentative=" word" * 60))
    assert len(watcher.live) == height
    assert watcher.live[0].startswith("Hello word")
    assert ("speech" in watcher.live[-1]) == (height > 1)


def test_notices_stand_above_what_may_still_change() -> None:
    watcher = Watcher()
    watcher.view.tell(Text("warning: " + "x " * 20))
    watcher.look(30, 5, Committed(text=" Hello"))
    assert [row.split()[0] for row in watcher.gone] == ["warning:", "x"]
    assert watcher.live == ["Hello"]


def test_what_waits_to_be_seen_is_counted() -> None:
    watcher = Watcher()
    watcher.view.push(Committed(text=" Hello"))
    watcher.view.tell(Text("x" * 10))
    assert watcher.view.size == 15
    watcher.look(30, 5, Final())
    assert watcher.view.size == 0
