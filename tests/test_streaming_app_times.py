from __future__ import annotations

import pytest

from streaming.app.times import parse_time
from streaming.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("0", 0.0),
        ("2.25", 2.25),
        ("1:30", 90.0),
        ("1:02:03.5", 3723.5),
        ("100:00", 6000.0),
        ("00:00:07", 7.0),
        (" 5 ", 5.0),
    ],
)
def test_a_time_is_seconds_or_minutes_or_hours(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1:", ":30", "1:2:3:4", "1m30", "nan", "inf", "1e3", "1:-5", "1.5:00", "5.", "٣"],
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a time; write 90, 1:30 or"):
        parse_time(text)


@pytest.mark.parametrize("text", ["1:60", "1:75:00", "1:00:60.5"])
def test_sixty_after_a_colon_is_a_slip(text: str) -> None:
    with pytest.raises(ConfigurationError, match="after a colon comes less than 60"):
        parse_time(text)
