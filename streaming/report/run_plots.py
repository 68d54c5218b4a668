"""What was heard, and when the model ran: the pictures along the time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .bounds import clip
from .drawing import (
    COLOURS,
    HOVER_CHARS,
    MARGIN_S,
    add_hover,
    clock_axis,
    column,
    plain_figure,
    timed_figure,
)
from .model import SessionReport
from .waveform import Waveform

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

__all__ = ["CHARACTER_S", "draw_overview", "draw_passes", "draw_sound", "draw_updates"]

CHARACTER_S = 0.15
"""How much time a letter covers where the page shows as much as it does at first."""
_OVERVIEW_STEPS = 1_200


def draw_overview(
    report: SessionReport, waveform: Waveform | None, shared: Range1d, length_s: float
) -> figure:
    """All of the run, small, with a frame around the part that ``shared`` has."""
    from bokeh.models import Range1d, RangeTool

    plot = plain_figure(Range1d(start=-MARGIN_S, end=length_s + MARGIN_S), (-110, 110), 96)
    clock_axis(plot)
    plot.yaxis.visible = plot.xgrid.visible = plot.ygrid.visible = False
    _regions(plot, report, -100, 100)
    if waveform is not None:
        _outline(plot, waveform, _OVERVIEW_STEPS)
    tool = RangeTool(x_range=shared, start_gesture="pan")
    tool.overlay.fill_color = COLOURS["utterance"]
    tool.overlay.fill_alpha = 0.2
    tool.overlay.line_color = COLOURS["utterance"]
    tool.overlay.line_alpha = 1.0
    plot.add_tools(tool)
    return plot


def draw_sound(report: SessionReport, waveform: Waveform | None, shared: Range1d) -> figure:
    """Waveform, speech, losses and notices, and the utterances below."""
    plot = timed_figure(shared, (-165, 125), 190)
    _regions(plot, report, -100, 100)
    if waveform is not None:
        _outline(plot, waveform, len(waveform.low))
    shown = report.utterances
    boxes = plot.quad(
        left="start",
        right="end",
        bottom=-157,
        top=-113,
        fill_color=COLOURS["utterance"],
        fill_alpha=0.55,
        line_color=COLOURS["utterance"],
        source={
            "start": [each.start_s for each in shown],
            "end": [max(each.end_s, each.start_s + 0.02) for each in shown],
            "text": [clip(each.text.strip(), HOVER_CHARS) for each in shown],
            "number": [each.number for each in shown],
        },
    )
    add_hover(plot, [boxes], "<b>utterance @number</b>", "@text")
    plot.text(
        x=[each.start_s for each in shown],
        y=-135,
        text=[
            clip(each.text.strip(), max(1, int((each.end_s - each.start_s) / CHARACTER_S * 0.9)))
            for each in shown
        ],
        x_offset=4,
        text_baseline="middle",
        text_font_size="11px",
        name="captions",
    )
    if report.flushes_s:
        at = list(report.flushes_s)
        plot.segment(x0=at, x1=at, y0=-155, y1=110, line_color=COLOURS["flush"], line_dash="dashed")
    if report.notices and report.timed:
        marks = plot.scatter(
            "at",
            112,
            marker="inverted_triangle",
            size=11,
            color=COLOURS["notice"],
            source={
                "at": [each.clock_s for each in report.notices],
                "level": [each.level for each in report.notices],
                "message": [clip(each.message, HOVER_CHARS) for each in report.notices],
            },
        )
        add_hover(plot, [marks], "<b>@level</b>", "@message")
    return plot


def draw_passes(report: SessionReport, shared: Range1d) -> figure:
    """A bar a pass: across, when it ran; down, how far back it listened. At least one."""
    from bokeh.models import ColumnDataSource

    passes = report.passes
    longest_s = max(1.0, *(each.asked_s - each.start_s for each in passes))
    plot = timed_figure(shared, (longest_s * 1.05, 0), 210, y_label="seconds back")
    source = {
        "asked": column(each.asked_s for each in passes),
        "began": column(each.asked_s + each.queue_s for each in passes),
        "ended": column(each.asked_s + each.queue_s + each.compute_s for each in passes),
        "newest": column(each.asked_s - each.end_s for each in passes),
        "oldest": column(each.asked_s - each.start_s for each in passes),
        "heard": column(each.end_s - each.start_s for each in passes),
        "took": column(each.compute_s for each in passes),
        "waited": column(each.queue_s for each in passes),
        "n_words": column(each.n_words for each in passes),
        "n_certain": column(each.n_committed for each in passes),
        "n_shown": column(each.n_tentative for each in passes),
        "colour": [COLOURS[_kind(each.looped, each.n_committed)] for each in passes],
        "note": ["second try" if each.careful else "" for each in passes],
    }
    data = ColumnDataSource(source)
    plot.quad(
        left="asked",
        right="began",
        top="newest",
        bottom="oldest",
        fill_color=COLOURS["queued"],
        fill_alpha=0.4,
        line_color=None,
        source=data,
    )
    bars = plot.quad(
        left="began",
        right="ended",
        top="newest",
        bottom="oldest",
        color="colour",
        fill_alpha=0.7,
        source=data,
    )
    add_hover(
        plot,
        [bars],
        "<b>ran @took{0.000} s</b>, after waiting @waited{0.000} s @note",
        "listened to @heard{0.0} s of audio, heard @n_words words",
        "made @n_certain words certain, showed @n_shown that may change",
    )
    return plot


def _kind(looped: bool, n_committed: int) -> str:
    if looped:
        return "looped"
    return "committing" if n_committed else "tentative"


def draw_updates(report: SessionReport, shared: Range1d) -> figure:
    """A stroke at every change of the text, for a run whose passes were not traced."""
    plot = timed_figure(shared, (0, 1), 110)
    at = column(report.updates_s)
    plot.segment(x0=at, x1=at, y0=0.1, y1=0.9, line_color=COLOURS["tentative"])
    return plot


def _regions(plot: figure, report: SessionReport, bottom: float, top: float) -> None:
    """Speech, and what was lost."""
    for colour, alpha, regions in (
        (COLOURS["speech"], 0.18, report.speech),
        (COLOURS["lost"], 0.55, report.dropped),
    ):
        plot.quad(
            left=[each.start_s for each in regions],
            right=[each.end_s for each in regions],
            bottom=bottom,
            top=top,
            fill_color=colour,
            fill_alpha=alpha,
            line_color=None,
        )


def _outline(plot: figure, waveform: Waveform, most: int) -> None:
    """A waveform, in percent of its loudest sample, in at most so many steps."""
    joined = -(-len(waveform.low) // most)
    low, high = waveform.low, waveform.high
    if joined > 1:
        starts = np.arange(0, len(low), joined)
        low, high = np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
    step_s = waveform.step_s * joined
    plot.varea(
        x="at",
        y1="low",
        y2="high",
        fill_color=COLOURS["sound"],
        source={
            "at": ((np.arange(len(low)) + 0.5) * step_s).astype(np.float32),
            "low": np.minimum(np.rint(low * 100), -1).astype(np.int8),
            "high": np.maximum(np.rint(high * 100), 1).astype(np.int8),
        },
    )
