from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from sinks._status_line import Watched, clock, level_meter, progress_bar, status_line
from streaming.protocols import Status

SPEAKING = Watched(
    status=Status(
        audio_s=83.4, level_db=-30.0, speaking=True, delay_s=0.72, real_time_factor=0.163
    ),
    peak_db=-8.0,
)
FAST = replace(
    SPEAKING, fast=True, elapsed_s=10.0, status=replace(SPEAKING.status, duration_s=250.2)
)


def shown(watched: Watched, width: int) -> str:
    return status_line(watched, width).plain


def with_status(**changes: float | bool | None) -> Watched:
    return replace(SPEAKING, status=replace(SPEAKING.status, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (5, "■■·■·"),
        (10, "● speech"),
        (16, "■■■·■·  ● speech"),
        (30, "■■■·■·  ● speech  delay 0.7 s"),
        (40, "■■■·■·  ● speech  1:23  delay 0.7 s"),
        (80, "■■■■■■···■··   ● speech      1:23   delay 0.7 s   RTF 0.16"),
    ],
)
def test_a_row_shows_what_fits_the_most_important_first(width: int, row: str) -> None:
    assert shown(SPEAKING, width) == row


@pytest.mark.parametrize("width", [120, 200])
def test_a_wide_terminal_leaves_the_rest_of_the_row_free(width: int) -> None:
    assert shown(SPEAKING, width) == shown(SPEAKING, 80)


@pytest.mark.parametrize(
    ("width", "row"),
    [
        (30, "━━━━╸────────   33%  0:20 left"),
        (40, "━━━╸──────   33%  0:20 left  1:23 / 4:10"),
        (46, "━━━━━╸──────────   33%  0:20 left  1:23 / 4:10"),
        (80, "━" * 12 + "─" * 24 + "    33%   0:20 left   1:23 / 4:10   RTF 0.16"),
    ],
)
def test_a_run_that_does_not_wait_shows_how_far_it_is(width: int, row: str) -> None:
    assert shown(FAST, width) == row


def test_without_a_known_length_a_fast_run_shows_how_much_it_has_done() -> None:
    assert shown(replace(SPEAKING, fast=True), 40) == "● speech  1:23  RTF 0.16"


def test_more_audio_than_the_container_promised_is_all_of_it() -> None:
    over = replace(FAST, status=replace(FAST.status, audio_s=300.0))
    assert "100%" in shown(over, 80)
    assert "0:00 left" in shown(over, 80)


@pytest.mark.parametrize(
    ("watched", "state"),
    [
        (with_status(speaking=False), "○ listening"),
        (with_status(speaking=False, decoding=True), "◐ decoding"),
        (with_status(decoding=True), "● speech"),
        (with_status(behind_s=1.9), "● speech"),
        (with_status(behind_s=3.41), "! behind by 3.4 s"),
        (replace(with_status(behind_s=9.0), trouble="dropping audio"), "! dropping audio"),
        (replace(FAST, trouble="reconnecting"), "! reconnecting"),
    ],
)
def test_the_state_is_told_in_words(watched: Watched, state: str) -> None:
    for width in (30, 40, 80, 120, 200):
        assert state in shown(watched, width)


def test_things_stay_in_their_places_when_the_state_changes() -> None:
    places = {shown(with_status(speaking=speaking), 80).index("1:23") for speaking in (0, 1)}
    assert len(places) == 1


def test_a_label_stands_first() -> None:
    assert shown(replace(SPEAKING, label="日本"), 30).startswith("日本  ■")
    assert shown(replace(SPEAKING, label="them"), 14) == "them  ● speech"
    assert shown(replace(SPEAKING, label="the other side"), 24) == "the oth…  ■■■·  ● speech"


def test_the_meter_lights_lamps_from_60_db_down() -> None:
    assert level_meter(-math.inf, -math.inf, 6).plain == "······"
    assert level_meter(math.nan, math.nan, 6).plain == "······"
    assert level_meter(-59.0, -59.0, 6).plain == "■·····"
    assert level_meter(-30.0, -10.0, 6).plain == "■■■·■·"
    assert level_meter(-3.0, -3.0, 6).plain == "■■■■■■"


def test_clipping_is_told_without_colour() -> None:
    assert level_meter(-30.0, 0.0, 8).plain == "■■■■CLIP"
    assert level_meter(-30.0, 3.0, 4).plain == "■■·!"


def test_levels_have_colours_too() -> None:
    styles = {str(span.style) for span in level_meter(-2.0, -2.0, 12).spans}
    assert styles == {"green", "yellow", "red"}


def test_a_bar_is_heavy_as_far_as_it_is_done() -> None:
    assert progress_bar(0.0, 4).plain == "────"
    assert progress_bar(0.4, 4).plain == "━╸──"
    assert progress_bar(1.0, 4).plain == "━━━━"


def test_hours_are_told_where_there_are_any() -> None:
    assert [clock(s) for s in (0.0, 59.9, 60.0, 3599.0, 3600.0, 36_061.0, -1.0)] == [
        *("0:00", "0:59", "1:00", "59:59", "1:00:00", "10:01:01", "0:00"),
    ]


levels = st.one_of(st.floats(-120, 20), st.just(-math.inf))
statuses = st.builds(
    Status,
    audio_s=st.floats(0, 1e6),
    duration_s=st.one_of(st.none(), st.floats(0, 1e6)),
    level_db=levels,
    speaking=st.booleans(),
    decoding=st.booleans(),
    behind_s=st.floats(0, 1e4),
    delay_s=st.one_of(st.none(), st.floats(0, 1e4)),
    real_time_factor=st.floats(0, 100),
)


@settings(max_examples=300, deadline=None)
@given(
    st.builds(
        Watched,
        status=statuses,
        label=st.text("ab 日", max_size=12),
        peak_db=levels,
        trouble=st.sampled_from(["", "dropping audio"]),
        fast=st.booleans(),
        elapsed_s=st.floats(0, 1e6),
    ),
    st.integers(0, 200),
)
def test_a_row_is_never_wider_than_its_place(watched: Watched, width: int) -> None:
    line = status_line(watched, width)
    assert cell_len(line.plain) <= width
    assert "\n" not in line.plain
