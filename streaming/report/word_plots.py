"""How words came: the pictures of words and of their delays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..evaluation.delays import Distribution
from .bounds import clip
from .drawing import COLOURS, add_hover, column, plain_figure, timed_figure
from .model import ReportedWord, SessionReport
from .run_plots import CHARACTER_S

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

__all__ = ["draw_delays", "draw_spread", "draw_words", "word_columns"]

_ROWS = 12
"""Lines that words are spread over, so that they do not hide each other."""
_BINS = 50
_WORD_LINES = (
    "<b>@text</b>",
    "said from @start{0.00} to @end{0.00} s",
    "on screen @shown_delay{0.00} s after its end",
    "certain @delay{0.00} s after its end",
    "the model is @sure{0} % sure",
)


def word_columns(report: SessionReport) -> dict[str, Any]:
    """What the pictures of words share, a column a name."""
    words = report.words
    return {
        "text": [word.text.strip() for word in words],
        "start": column(word.start_s for word in words),
        "end": column(max(word.end_s, word.start_s + 0.02) for word in words),
        "shown": column(word.shown_s for word in words),
        "certain": column(word.committed_s for word in words),
        "shown_delay": column(word.shown_delay_s for word in words),
        "delay": column(word.commit_delay_s for word in words),
        "sure": column(100 * word.probability for word in words),
        "row": -np.array(_rows(words), np.int8),
    }


def _rows(words: Sequence[ReportedWord]) -> list[int]:
    """A line for each word: the next one down that is free where its text begins."""
    free_s = [-math.inf] * _ROWS
    rows: list[int] = []
    for word in words:
        begins_s = word.start_s - len(word.text) * CHARACTER_S
        after = rows[-1] + 1 if rows else 0
        turns = [(after + turn) % _ROWS for turn in range(_ROWS)]
        row = next((row for row in turns if free_s[row] <= begins_s), None)
        rows.append(min(turns, key=lambda each: free_s[each]) if row is None else row)
        free_s[rows[-1]] = max(word.committed_s, word.end_s) + CHARACTER_S
    return rows


def draw_words(report: SessionReport, words: ColumnDataSource, shared: Range1d) -> figure:
    """A line a word, from where it was said to when it was certain; what was taken back below."""
    plot = timed_figure(shared, (-_ROWS - 0.9, 0.9), 330)
    plot.segment(
        x0="start", x1="certain", y0="row", y1="row", line_color=COLOURS["said"], source=words
    )
    bars = plot.segment(
        x0="start",
        x1="end",
        y0="row",
        y1="row",
        line_color=COLOURS["said"],
        line_width=11,
        source=words,
    )
    rings = plot.scatter(
        "shown",
        "row",
        size=8,
        fill_color=None,
        line_color=COLOURS["shown"],
        line_width=2,
        source=words,
    )
    dots = plot.scatter("certain", "row", size=8, color=COLOURS["certain"], source=words)
    plot.text(
        x="start",
        y="row",
        text="text",
        x_offset=-4,
        text_align="right",
        text_baseline="middle",
        text_font_size="11px",
        source=words,
        name="labels",
    )
    add_hover(plot, [bars, rings, dots], *_WORD_LINES)
    gone = report.withdrawals
    if gone:
        crosses = plot.scatter(
            "at",
            -_ROWS - 0.2,
            marker="x",
            size=9,
            line_width=2,
            color=COLOURS["withdrawn"],
            source={
                "at": [each.clock_s for each in gone],
                "text": [_said(each.words) for each in gone],
                "instead": [_said(each.instead) or "nothing yet" for each in gone],
            },
        )
        add_hover(plot, [crosses], "<b>taken back:</b> @text", "<b>now:</b> @instead")
    return plot


def _said(words: Sequence[Any]) -> str:
    return clip("".join(word.text for word in words).strip(), 100)


def draw_delays(report: SessionReport, words: ColumnDataSource, shared: Range1d) -> figure:
    """Delays over time. The report has some."""
    assert report.commit_delay is not None
    assert report.shown_delay is not None
    most_s = max(report.commit_delay.max, report.shown_delay.max, 0.5)
    plot = timed_figure(shared, (0, most_s * 1.08), 220, y_label="seconds")
    plot.segment(
        x0="end",
        x1="end",
        y0="shown_delay",
        y1="delay",
        line_color=COLOURS["said"],
        line_alpha=0.5,
        source=words,
    )
    rings = plot.scatter(
        "end",
        "shown_delay",
        size=6,
        fill_color=None,
        line_color=COLOURS["shown"],
        source=words,
        name="dots",
    )
    dots = plot.scatter("end", "delay", size=6, color=COLOURS["certain"], source=words, name="dots")
    _percentiles(plot, report.commit_delay, "width")
    add_hover(plot, [rings, dots], *_WORD_LINES)
    return plot


def _percentiles(plot: figure, delay: Distribution, across: Literal["width", "height"]) -> None:
    """Lines at the median and at the 95th percentile."""
    from bokeh.models.annotations import Span

    for value_s, dash in ((delay.p50, "solid"), (delay.p95, "dashed")):
        span = Span(location=value_s, dimension=across, line_width=1.5)
        span.update(line_color=COLOURS["certain"], line_dash=dash)
        plot.add_layout(span)


def draw_spread(words: Sequence[ReportedWord], delay: Distribution) -> figure:
    """How delays are distributed.

    Args:
        words: at least one.
        delay: of their commits.
    """
    from bokeh.models import Range1d

    shown = np.array([word.shown_delay_s for word in words])
    certain = np.array([word.commit_delay_s for word in words])
    longest_s = max(float(certain.max()), float(shown.max()), 0.1)
    width_s = next(w for w in _widths() if longest_s / w < _BINS)
    edges = np.arange(0, longest_s + width_s, width_s)
    n_shown, _ = np.histogram(shown, edges)
    n_certain, _ = np.histogram(certain, edges)
    most = max(int(n_shown.max()), int(n_certain.max()), 1)
    plot = plain_figure(Range1d(start=0, end=float(edges[-1])), (0, most * 1.08), 230)
    plot.xaxis.axis_label = "seconds after the end of the word"
    plot.yaxis.axis_label = "words"
    middle = (edges[:-1] + edges[1:]) / 2
    for n, at, colour in (
        (n_shown, middle - width_s * 0.2, COLOURS["shown"]),
        (n_certain, middle + width_s * 0.2, COLOURS["certain"]),
    ):
        bars = plot.vbar(
            x="at",
            top="n",
            width=width_s * 0.4,
            color=colour,
            source={"at": at, "n": n, "start": edges[:-1], "end": edges[1:]},
        )
        what = "certain" if n is n_certain else "on screen"
        add_hover(plot, [bars], f"<b>@n words</b> {what}", "after @start{0.00} to @end{0.00} s")
    _percentiles(plot, delay, "height")
    return plot


def _widths() -> Sequence[float]:
    return [digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5)]
