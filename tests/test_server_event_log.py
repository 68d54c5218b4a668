"""What is kept for whoever has to catch up."""

from __future__ import annotations

from streaming.app.server.event_log import EventLog
from streaming.events import Committed, Event, Partial, event_from_json


def written(*events: Event) -> EventLog:
    log = EventLog(lambda: None)
    for event in events:
        log.push(event)
    return log


def test_each_event_after_a_place_is_given_once_and_in_order() -> None:
    log = written(*(Committed(seq=n, text=f" {n}") for n in range(10)))
    assert [entry.seq for entry in log.after(-1)] == list(range(10))
    assert [entry.seq for entry in log.after(6)] == [7, 8, 9]
    assert log.after(9) == log.after(99) == []
    event = event_from_json(log.after(3)[0].line)
    assert isinstance(event, Committed)
    assert event.text == " 4"


def test_partials_are_told_apart() -> None:
    log = written(Partial(seq=0), Committed(seq=1))
    assert [entry.interim for entry in log.after(-1)] == [True, False]


def test_it_is_bounded_and_says_how_far_it_reaches_back() -> None:
    log = written(*(Committed(seq=n, text="x" * 1000) for n in range(3000)))
    kept = list(log.after(-1))
    assert 500 < len(kept) < 1100
    assert kept[-1].seq == log.last_seq == 2999
    first = kept[0].seq
    assert log.reaches_back_to(first - 1)
    assert not log.reaches_back_to(first - 2)
    assert log.reaches_back_to(2999)


def test_a_log_in_which_nothing_is_reaches_back_to_the_beginning() -> None:
    log = written()
    assert log.reaches_back_to(-1)
    assert list(log.after(-1)) == []


def test_every_event_is_announced() -> None:
    told = []
    log = EventLog(lambda: told.append(log.last_seq))
    for n in range(3):
        log.push(Committed(seq=n))
    assert told == [0, 1, 2]
