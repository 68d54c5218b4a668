from __future__ import annotations

import pytest
from report_logs import at, by_hand, stamped, talk, word

from streaming.events import Committed, Final, Refined, SessionStarted
from streaming.report import Bounds, collect
from streaming.report.bounds import bounded, clip, clock


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00"), (-0.4, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (3723, "1:02:03")],
)
def test_times_are_written_as_people_write_them(time_s: float, text: str) -> None:
    assert clock(time_s) == text


def test_texts_are_cut_with_a_sign() -> None:
    assert clip("four", 4) == "four"
    assert clip("fiver", 4) == "fiv…"


def test_what_fits_is_left_as_it_is() -> None:
    report = collect(by_hand(trace=False))
    assert bounded(report, Bounds()) == report


def test_of_too_much_the_first_is_shown_and_the_rest_is_told() -> None:
    report = collect(talk(100))
    shown = bounded(report, Bounds(words=100, passes=50))
    assert [each.number for each in shown.utterances] == [0, 1, 2]  # 30 words each
    assert len(shown.passes) == 50
    assert shown.left_out == (
        "Of 300 words in 10 utterances, the first 90 in 3 are shown, up to 0:30.",
        "Of 200 passes, the first 50 are shown.",
    )
    assert (shown.n_words, shown.n_utterances) == (300, 10)
    assert shown.commit_delay == report.commit_delay


def test_sessions_share_what_a_page_holds() -> None:
    whole = Bounds(words=100, utterances=40, passes=100, marks=20)
    assert whole.share(4) == Bounds(words=25, utterances=10, passes=25, marks=5)


def test_endless_texts_are_cut() -> None:
    endless = " " + "a" * 10_000
    long = word(endless, 1.0, 2.0)
    log = [
        SessionStarted(),
        at(3.0, Committed(text=endless, words=(long,))),
        at(3.0, Final(text=endless, words=(long,))),
        at(4.0, Refined(text=endless)),
    ]
    (utterance,) = bounded(collect(stamped(log)), Bounds()).utterances
    assert len(utterance.words[0].text) == 60
    assert utterance.refined is not None
    assert len(utterance.text) == len(utterance.refined) == 1000
