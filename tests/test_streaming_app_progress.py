from __future__ import annotations

import io

import pytest

from streaming.app.progress import ModelProgress


class Screen(io.StringIO):
    """A terminal, and its clock."""

    now_s = 0.0

    def isatty(self) -> bool:
        return True

    def clock(self) -> float:
        return self.now_s

    @property
    def visible(self) -> list[str]:
        """Lines as they look in the end."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for text in line.split("\r"):
                shown = text + shown[len(text) :]
            lines.append(shown.rstrip())
        return lines


def test_elsewhere_each_stage_is_one_line() -> None:
    stream = io.StringIO()
    progress = ModelProgress(stream)
    for done in range(100):
        progress("convert", done, 100)
    progress("quantize", 1, 2)
    progress.close()
    assert stream.getvalue() == (
        "preparing the model from its installed package\nquantizing the model\n"
    )


def test_on_a_terminal_the_line_is_drawn_ten_times_a_second_at_most() -> None:
    screen = Screen()
    progress = ModelProgress(screen, clock=screen.clock)
    for done in range(10_000):
        screen.now_s = done / 10_000
        progress("download", done * 10_000, 100_000_000)
    drawn = screen.getvalue().count("downloading")
    assert 9 <= drawn <= 11
    assert screen.visible == ["downloading the model:  90% of 100 MB"]


@pytest.mark.parametrize("total", [0, 78_000_000])
def test_a_finished_or_closed_progress_leaves_nothing_behind(total: int) -> None:
    screen = Screen()
    with ModelProgress(screen, clock=screen.clock) as progress:
        progress("wait", 0, 0)
        assert screen.visible == ["waiting for another process that prepares the model"]
        progress("download", total // 2, total)
        progress("download", total, total)
        if total:
            assert screen.visible == [""]
    assert screen.visible == [""]
    progress("download", 1, 2)
    assert screen.visible == [""]


def test_no_more_is_drawn_than_a_narrow_terminal_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    ModelProgress(screen, clock=screen.clock)("convert", 1, 100)
    assert screen.visible == ["preparing the model"]


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    ModelProgress(screen)("convert", 1, 100)
    assert screen.getvalue() == "preparing the model from its installed package\n"


def test_a_stderr_that_cannot_be_written_is_no_reason_to_fail() -> None:
    stream = io.StringIO()
    progress = ModelProgress(stream)
    stream.close()
    progress("convert", 1, 100)
    progress("quantize", 1, 100)
