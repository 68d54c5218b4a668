from __future__ import annotations

from sinks._lines import Lines
from streaming.events import Committed, Final, Partial, SessionEnded, SessionStarted


def test_a_line_is_what_one_session_says_in_one_utterance() -> None:
    lines = Lines()
    lines.push(Committed(session="a", utterance=0, text=" one"))
    lines.push(Committed(session="b", utterance=0, text=" eins"))
    lines.push(Committed(session="a", utterance=0, text=" two"))
    lines.push(Committed(session="a", utterance=1, text=" three"))
    assert [(e.session, e.text, e.open) for e in lines.lines] == [
        ("a", "one two", False),
        ("b", "eins", True),
        ("a", "three", True),
    ]
    assert lines.size == len("one twoeinsthree")


def test_committed_text_takes_the_place_of_tentative_text() -> None:
    lines = Lines()
    lines.push(Partial(tentative=" one too"))
    assert lines.lines[0].tentative == " one too"
    lines.push(Committed(text=" one"))
    assert (lines.lines[0].text, lines.lines[0].tentative) == ("one", "")


def test_an_end_drops_tentative_text_and_what_is_empty_is_forgotten() -> None:
    lines = Lines()
    lines.push(Partial(session="a", tentative=" one"))
    lines.push(Partial(session="b", tentative=" eins"))
    lines.push(Committed(session="c", text=" un"))
    lines.push(Final(session="a"))
    lines.push(SessionEnded(session="b"))
    lines.tidy()
    assert [line.text for line in lines.lines] == ["un"]
    lines.lines[0].leave(2)
    lines.close()
    lines.tidy()
    assert lines.lines == []


def test_an_empty_partial_begins_no_line() -> None:
    lines = Lines()
    lines.push(Partial(tentative=""))
    assert lines.lines == []


def test_a_line_remembers_where_the_other_side_stood() -> None:
    lines = Lines()
    lines.push(SessionStarted(session="a", label="me"))
    lines.push(SessionStarted(session="b", label="them"))
    lines.push(Committed(session="a", text=" one"))
    lines.push(Committed(session="b", text=" eins"))
    first, second = lines.lines
    assert (second.beside, second.beside_at) == (first, 3)
    lines.push(Final(session="b"))
    lines.push(Final(session="a"))
    lines.push(Committed(session="a", utterance=1, text=" two"))
    third = lines.lines[2]
    assert (third.beside, third.beside_at) == (second, None)
    second.leave(4)
    lines.tidy()
    assert third.beside is None  # nothing keeps what has gone


def test_control_characters_are_no_part_of_a_line() -> None:
    lines = Lines()
    lines.push(Committed(text=" one\n\x1b[2Jtwo"))
    assert lines.lines[0].text == "one [2Jtwo"
