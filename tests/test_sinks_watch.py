from __future__ import annotations

from rich.cells import cell_len

from sinks._watch import Watch, status_row
from streaming.events import AudioDropped, Notice, SessionEnded, SessionStarted
from streaming.protocols import Status


class Level:
    """A status of which the level is set, and which counts how often it is asked for."""

    def __init__(self, level_db: float = -30.0) -> None:
        self.level_db = level_db
        self.asked = 0

    def __call__(self) -> Status:
        self.asked += 1
        return Status(level_db=self.level_db)


def test_a_status_is_asked_for_a_few_times_a_second_at_most() -> None:
    level, watch = Level(), Watch(every_s=0.1)
    watch.follow(level, "")
    for hundredth in range(100):
        watch.looks(hundredth / 100)
    assert 8 <= level.asked <= 10


def test_a_peak_stands_for_a_moment() -> None:
    level, watch = Level(-3.0), Watch()
    watch.follow(level, "")
    assert watch.looks(0.0)[0].peak_db == -3.0
    level.level_db = -30.0
    assert watch.looks(1.4)[0].peak_db == -3.0
    assert watch.looks(1.6)[0].peak_db == -30.0


def test_dropped_audio_is_told_for_a_while() -> None:
    watch = Watch()
    watch.follow(Level(), "")
    watch.push(AudioDropped(start_s=1.0, end_s=2.0), 10.0)
    assert watch.looks(12.9)[0].trouble == "dropping audio"
    assert watch.looks(13.1)[0].trouble == ""


def test_a_reconnect_is_told_until_it_has_come_about() -> None:
    watch = Watch()
    watch.follow(Level(), "")
    watch.push(Notice(code="reconnecting"), 0.0)
    watch.push(Notice(code="overload"), 1.0)
    assert watch.looks(99.0)[0].trouble == "reconnecting"
    watch.push(Notice(code="reconnected"), 100.0)
    assert watch.looks(100.0)[0].trouble == ""


def test_events_belong_to_the_session_with_their_label() -> None:
    watch = Watch()
    watch.follow(Level(), "me")
    watch.follow(Level(), "them")
    watch.push(SessionStarted(session="a", label="me", options={"pace": "fast"}), 5.0)
    watch.push(SessionStarted(session="b", label="them"), 5.0)
    watch.push(AudioDropped(session="b"), 6.0)
    me, them = watch.looks(7.0)
    assert (me.label, me.fast, me.trouble, me.elapsed_s) == ("me", True, "", 2.0)
    assert (them.label, them.fast, them.trouble) == ("them", False, "dropping audio")
    watch.push(SessionEnded(session="a"), 8.0)
    assert [look.label for look in watch.looks(8.0)] == ["them"]


def test_the_only_one_who_is_followed_needs_no_label() -> None:
    watch = Watch()
    watch.follow(Level(), "")
    watch.push(SessionStarted(session="a", label="me", options={"pace": "simulated"}), 0.0)
    assert watch.looks(1.0)[0].fast


def test_a_row_is_shared_evenly() -> None:
    watch = Watch()
    for label in ("me", "them", "日本"):
        watch.follow(Level(), label)
    for width in (40, 60, 120, 200):
        (row,) = status_row(watch.looks(0.0), width)
        assert cell_len(row.plain) <= width
        assert [row.plain.index(label) for label in ("me", "them")] == [0, (width + 3) // 3]
    assert status_row([], 40) == []
