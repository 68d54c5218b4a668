from __future__ import annotations

import builtins
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from report_logs import at, by_hand, stamped, talk, word

from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    PassDone,
    Refined,
    SessionStarted,
)
from streaming.report import Bounds, Envelope, Sounding, collect, page

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


class Elements(HTMLParser):
    """The elements of a page, and the text outside its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data + " "

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def page_of(*logs: list[Event], **more: Any) -> Elements:
    return Elements(page([Sounding(collect(log)) for log in logs], "Report of a", **more))


def hostile_log() -> list[Event]:
    said = word(" " + HOSTILE, 1.0, 1.5)
    return stamped(
        [
            SessionStarted(
                label=HOSTILE,
                started_at=HOSTILE,
                model=HOSTILE,
                backend=HOSTILE,
                options={HOSTILE: HOSTILE},
            ),
            at(1.5, Partial(tentative="x", words=(said, word(HOSTILE, 2.0, 2.1)))),
            at(2.0, PassDone(language=HOSTILE, asked_s=1.9, end_s=1.5)),
            at(2.0, Committed(words=(said,), language=HOSTILE)),
            at(2.0, Partial(words=())),
            at(2.1, Final(text=HOSTILE, words=(said,), language=HOSTILE, reason=HOSTILE)),  # type: ignore[arg-type]
            at(2.2, Refined(text="other " + HOSTILE)),
            at(2.3, AudioDropped(start_s=2.0, end_s=2.1, reason=HOSTILE)),
            at(2.4, Notice(level=HOSTILE, message=HOSTILE)),  # type: ignore[arg-type]
        ]
    )


def test_text_of_the_log_is_text_in_the_page() -> None:
    sound = Envelope()
    sound.push(AudioChunk(np.ones(1600, np.float32), 0))
    sounding = Sounding(collect(hostile_log()), sound.finish(), HOSTILE)
    found = Elements(page([sounding], HOSTILE))
    clean = Elements(page([Sounding(collect(by_hand()), sound.finish())], "Report of a"))
    assert found.named("img") == []
    assert len(found.named("script")) == len(clean.named("script"))
    assert {tag for tag, _ in found.found} <= {tag for tag, _ in clean.found} | {"br", "small"}
    assert not [name for _, attributes in found.found for name in attributes if name[:2] == "on"]
    assert found.text.count(HOSTILE) >= 10


def test_the_page_loads_nothing() -> None:
    found = page_of(by_hand())
    linked = [a.get("src") or a.get("href") for _, a in found.found if "src" in a or "href" in a]
    assert linked == ["data:,"]
    assert "@import" not in page([Sounding(collect(by_hand()))], "a")


def test_a_reader_finds_words_delays_and_what_happened() -> None:
    text = re.sub(r"\s+", " ", page_of(by_hand()).text)
    for told in (
        "desk , 2026-01-02 03:04:05 UTC",
        "half of the words certain after 1.20 s",
        "95 % after 1.29 s, the slowest after 1.30 s",
        "seconds of computing for a second of audio",
        "When the model ran, and how far back it listened",
        "How late each word was",
        "0 0:01 0:02 Good day a pause 1.25 1.30 1.10",
        "Every word (3)",
        "1.40 1.70 day 50% 0.90 1.20",
        "Words that were taken back (2)",
        "0:03 warning passes do not keep up",
        "0:02 0.50 s of audio lost overflow",
        "waited for its turn",
        "words 3 in 2 utterances",
        "passes 3 runs of the model, half of them up to 0.10 s long",
        "audio lost 0.5 s in 1 piece",
    ):
        assert told in text


def test_a_run_without_trace_says_how_to_get_one() -> None:
    text = page_of(by_hand(trace=False)).text
    assert "With  --trace  the log tells" in text
    assert "When text came" in text
    assert "how far back it listened" not in text
    assert "--trace" not in page_of(by_hand()).text


def test_a_log_that_breaks_off_and_an_error_are_told() -> None:
    assert "The log breaks off at 0:03" in page_of(by_hand()[:8]).text
    assert "breaks off" not in page_of(by_hand()).text


def test_at_pace_fast_words_have_no_delays() -> None:
    found = page_of(by_hand(pace="fast"))
    assert "There are no delays to show" in found.text
    assert "How late" not in found.text
    assert "certain after" not in found.text
    assert "Good day" in found.text


@pytest.mark.parametrize("events", [1, 2, 3])
def test_a_session_that_said_nothing_has_a_page(events: int) -> None:
    text = page_of(by_hand()[:events]).text
    assert "Nothing was said" in text


def test_every_session_has_a_section() -> None:
    found = page_of(by_hand(), by_hand(label="phone"))
    assert [each["id"] for each in found.named("section")] == ["s0", "s1"]
    assert "desk" in found.text
    assert "phone" in found.text


def test_more_sessions_than_a_browser_draws_are_told() -> None:
    found = page_of(*[by_hand()] * 5, bounds=Bounds(sessions=2))
    assert len(found.named("section")) == 2
    assert "3 more sessions of the log are not shown." in found.text


def test_a_page_of_many_hours_is_bounded_and_says_what_is_left_out() -> None:
    text = page([Sounding(collect(talk(4 * 3600)))], "long")
    assert len(text.encode()) < 12e6
    assert "Of 43,200 words in 1,440 utterances, the first 24,000 in 800 are shown" in text
    assert "Of 28,800 passes, the first 24,000 are shown." in text


def test_tables_are_bounded_too() -> None:
    found = page_of(talk(60), bounds=Bounds(words=60, passes=10, utterances=2))
    assert len(found.named("tr")) < 80


def test_where_nothing_fits_the_numbers_stay() -> None:
    text = page_of(by_hand(), bounds=Bounds(words=1, passes=0, marks=0)).text
    assert "Of 3 words in 2 utterances, the first 0 in 0 are shown." in text
    assert "half of the words certain after" in text
    assert "How late each word was" not in text


def test_numbers_that_no_run_has_do_no_harm() -> None:
    far = PassDone(start_s=9e6, end_s=-9e6, asked_s=1.0, compute_s=-5.0, n_words=1 << 50)
    log = [SessionStarted(), at(-3.0, far), at(2.0, Committed(words=(word("a", 5.0, -5.0),)))]
    assert "Each word on its way" in page_of(stamped(log)).text


def test_bokeh_is_asked_for_by_the_name_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "bokeh":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigurationError, match=r"pip install \"stream-transcribe\[report\]\""):
        page([Sounding(collect(by_hand()))], "a")
