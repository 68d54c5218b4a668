"""Lines and where they stand: both layouts, any order of events, any sizes in between."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from sinks._layout import columns, stacked, widths
from sinks._lines import Lines
from streaming.events import Committed, Event, Final, Partial, SessionEnded, SessionStarted

LETTERS = {"a": "ab日", "b": "cd本"}
"""By session, so that every character tells who said it."""


@dataclass(frozen=True)
class Look:
    """A frame of this size is composed."""

    width: int
    height: int
    in_columns: bool


def started() -> Lines:
    lines = Lines()
    lines.push(SessionStarted(session="a", label="L"))
    lines.push(SessionStarted(session="b", label="R"))
    return lines


def compose(lines: Lines, look: Look) -> tuple[list[Text], list[Text]]:
    if look.in_columns:
        composed = columns(lines.lines, "L", look.width, look.height)
    else:
        composed = stacked(lines.lines, look.width, look.height)
    lines.tidy()
    return composed


def said(rows: list[Text], session: str) -> str:
    """What of the session's committed text is in the rows."""
    return "".join(
        character
        for row in rows
        for place, character in enumerate(row.plain)
        if character in LETTERS[session]
        and not any(
            span.start <= place < span.end and "dim" in str(span.style) for span in row.spans
        )
    )


def plain(rows: list[Text]) -> list[str]:
    return [row.plain.rstrip() for row in rows]


@st.composite
def event(draw: st.DrawFn) -> Event | Look:
    if draw(st.integers(0, 2)) == 0:
        return Look(draw(st.integers(11, 40)), draw(st.integers(1, 6)), draw(st.booleans()))
    session = draw(st.sampled_from("ab"))
    text = draw(st.text(LETTERS[session] + " ", max_size=30))
    utterance = draw(st.integers(0, 2))
    kind = draw(st.integers(0, 7))
    if kind < 4:
        return Committed(session=session, utterance=utterance, text=text)
    if kind < 6:
        return Partial(session=session, utterance=utterance, tentative=text)
    return SessionEnded(session=session) if kind == 7 else Final(session=session)


@settings(max_examples=300, deadline=None)
@given(st.lists(event(), max_size=25))
def test_scrollback_and_live_rows_are_the_committed_text(steps: list[Event | Look]) -> None:
    lines = started()
    gone: list[Text] = []
    committed = {"a": "", "b": ""}
    for step in [*steps, Look(20, 3, True)]:
        if not isinstance(step, Look):
            lines.push(step)
            if isinstance(step, Committed):
                committed[step.session] += step.text.replace(" ", "")
            continue
        finished, live = compose(lines, step)
        gone += finished
        assert all(cell_len(row.plain) <= step.width for row in finished + live)
        assert len(live) <= step.height
        for session, text in committed.items():
            assert (
                said(gone, session)
                + "".join(
                    each.text.replace(" ", "") for each in lines.lines if each.session == session
                )
                == text
            )
    lines.close()
    finished, live = compose(lines, Look(20, 3, False))
    assert {session: said(gone + finished, session) for session in "ab"} == committed
    assert (live, lines.lines) == ([], [])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=30),
    st.booleans(),
    st.integers(11, 30),
    st.integers(2, 5),
)
def test_no_committed_text_is_held_back_from_the_screen(
    said_by: list[tuple[str, int]], in_columns: bool, width: int, height: int
) -> None:
    lines = started()
    gone: list[Text] = []
    committed = {"a": "", "b": ""}
    for session, n_letters in said_by:
        word = LETTERS[session][0] * n_letters
        lines.push(Committed(session=session, text=" " + word))
        lines.push(Partial(session=session, tentative=" " + LETTERS[session][1] * 40))
        committed[session] += word
        finished, live = compose(lines, Look(width, height, in_columns))
        gone += finished
        for each, text in committed.items():
            assert said(gone + live, each) == text


def test_one_after_the_other_the_labels_stand_before_the_lines() -> None:
    lines = started()
    lines.push(Committed(session="a", text=" abba"))
    lines.push(Partial(session="a", tentative=" ab"))
    lines.push(Committed(session="b", text=" cd"))
    finished, live = compose(lines, Look(30, 5, False))
    assert (plain(finished), plain(live)) == ([], ["L: abba ab", "R: cd"])
    lines.push(Committed(session="a", text=" a"))
    lines.push(Final(session="a"))
    finished, live = compose(lines, Look(30, 5, False))
    assert (plain(finished), plain(live)) == (["L: abba a"], ["R: cd"])


def test_a_line_that_has_to_leave_unfinished_says_again_whose_it_is() -> None:
    lines = started()
    lines.push(Committed(session="a", text=" abba"))
    lines.push(Committed(session="b", text=" cd cd cd"))
    finished, live = compose(lines, Look(9, 2, False))
    assert (plain(finished), plain(live)) == (["L: abba"], ["R: cd cd", "cd"])
    lines.push(Committed(session="a", text=" ab"))
    finished, live = compose(lines, Look(9, 2, False))
    assert (plain(finished), plain(live)) == (["R: cd cd"], ["cd", "L: ab"])


def test_people_who_take_turns_stand_below_each_other() -> None:
    lines = started()
    rows: list[Text] = []
    for number, session in enumerate("abab"):
        text = f" {LETTERS[session][0]}" * 4
        lines.push(Committed(session=session, utterance=number, text=text))
        lines.push(Final(session=session, utterance=number))
        rows += compose(lines, Look(11, 5, True))[0]
    assert plain(rows) == [
        "a a  │",
        "a a  │",
        "     │ c c",
        "     │ c c",
    ] * 2  # fmt: skip


def test_people_who_talk_at_once_stand_beside_each_other() -> None:
    lines = started()
    lines.push(Committed(session="a", text=" a a a a a"))
    lines.push(Committed(session="b", text=" c c"))
    finished, live = compose(lines, Look(11, 5, True))
    assert plain(finished) == ["a a  │", "a a  │"]
    assert plain(live) == ["a    │ c c"]
    lines.push(Committed(session="b", text=" c c"))
    finished, live = compose(lines, Look(11, 5, True))
    assert (plain(finished), plain(live)) == ([], ["a    │ c c", "     │ c c"])
    lines.push(Final(session="a"))
    finished, live = compose(lines, Look(11, 5, True))
    assert (plain(finished), plain(live)) == (["a    │ c c"], ["     │ c c"])


def test_a_silent_side_holds_nothing_up() -> None:
    lines = started()
    lines.push(Committed(session="a", text=" a a"))
    lines.push(Final(session="a"))
    assert plain(compose(lines, Look(11, 5, True))[0]) == ["a a  │"]
    lines.push(Committed(session="b", text=" c c c"))
    assert plain(compose(lines, Look(11, 5, True))[0]) == ["     │ c c"]


def test_tentative_text_makes_room_for_committed_text() -> None:
    lines = started()
    lines.push(Committed(session="a", text=" abba"))
    lines.push(Partial(session="a", tentative=" ab" * 20))
    lines.push(Committed(session="b", text=" cd"))
    _, live = compose(lines, Look(12, 3, False))
    assert plain(live) == ["L: abba ab", "ab ab ab ab…", "R: cd"]


def test_the_sides_and_what_parts_them_fill_a_row() -> None:
    for width in range(9, 60):
        assert sum(widths(width)) + len(" │ ") == width
        assert max(widths(width)) - min(widths(width)) <= 1
