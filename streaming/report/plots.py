"""The pictures of a report, drawn with Bokeh, which is imported on use.

All colours stand out on white and on black alike; those of texts, axes and grids are set by
the page, which knows whether it is light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .bounds import clip
from .model import ReportedWord, SessionReport
from .waveform import Waveform

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource, Range1d
    from bokeh.plotting import figure

__all__ = ["COLOURS", "ROWS", "draw"]

COLOURS = {
    "sound": "#7d8590",
    "speech": "#2da44e",
    "utterance": "#3b7dd8",
    "lost": "#d1383d",
    "notice": "#b7791f",
    "flush": "#8957e5",
    "said": "#7d8590",
    "shown": "#d97706",
    "certain": "#2da44e",
    "withdrawn": "#d1383d",
    "committing": "#2da44e",
    "tentative": "#3b7dd8",
    "looped": "#d1383d",
    "queued": "#7d8590",
}
"""By what they stand for."""
ROWS = 12
"""Lines that words are spread over, so that they do not hide each other."""
_LEFT_PX, _RIGHT_PX = 58, 14
_OVERVIEW_STEPS = 1_200
_BINS = 50
_HOVER_CHARS = 300
_CHARACTER_S = 0.15
"""How much time a letter covers where the page shows as much as it does at first."""
_CLOCK = """
if (tick < 0) return "";
const s = tick, h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
const rest = (s % 60).toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0).padStart(step < 1 ? 4 : 2, "0");
return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + rest;
"""


def draw(report: SessionReport, waveform: Waveform | None, name: str) -> dict[str, figure]:
    """The pictures of one session, by what they show, those that it has something for.

    Args:
        report: with no more than a browser can show.
        waveform: outline of its audio, if there is any.
        name: what the names of the pictures begin with, for the page's script.
    """
    from bokeh.models import ColumnDataSource, Range1d

    length_s = max(report.length_s, 1.0)
    shared = Range1d(start=-1, end=length_s + 1, min_interval=0.5)
    words = ColumnDataSource(_word_columns(report))
    plots = {"overview": _overview(report, waveform, shared, length_s)}
    plots["sound"] = _sound(report, waveform, shared)
    if report.timed:
        if report.n_words:
            plots["words"] = _words(report, words, shared)
        if report.passes:
            plots["passes"] = _passes(report, shared)
        elif report.updates_s:
            plots["passes"] = _updates(report, shared)
        if report.commit_delay is not None:
            plots["delays"] = _delays(report, words, shared)
            plots["spread"] = _spread(report.words)
    for kind, plot in plots.items():
        plot.name = f"{name}-{kind}"
    return plots


def _figure(x_range: Any, y_range: tuple[float, float], height: int, **more: Any) -> figure:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    return figure(
        height=height,
        sizing_mode="stretch_width",
        x_range=x_range,
        y_range=Range1d(start=y_range[0], end=y_range[1]),
        tools="",
        toolbar_location=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_left=_LEFT_PX,
        min_border_right=_RIGHT_PX,
        **more,
    )


def _timed_figure(
    x_range: Range1d, y_range: tuple[float, float], height: int, *, y_label: str = ""
) -> figure:
    """A picture over the shared time axis; without a label its height has no unit."""
    from bokeh.models import CustomJSTickFormatter, PanTool

    plot = _figure(x_range, y_range, height, x_axis_label="time (minutes:seconds)")
    plot.xaxis.formatter = CustomJSTickFormatter(code=_CLOCK)
    plot.add_tools(PanTool(dimensions="width"))
    plot.ygrid.visible = plot.yaxis.visible = bool(y_label)
    plot.yaxis.axis_label = y_label or None
    return plot


def _hover(plot: figure, renderers: Sequence[Any], *lines: str) -> None:
    """Show lines where one points at something; Bokeh writes values as text, not as HTML."""
    from bokeh.models import HoverTool

    body = "".join(f"<div>{line}</div>" for line in lines)
    plot.add_tools(
        HoverTool(
            renderers=list(renderers),
            tooltips=f'<div style="max-width:min(36ch,70vw);white-space:normal">{body}</div>',
            point_policy="follow_mouse",
        )
    )


def _overview(
    report: SessionReport, waveform: Waveform | None, shared: Range1d, length_s: float
) -> figure:
    from bokeh.models import CustomJSTickFormatter, Range1d, RangeTool

    plot = _figure(Range1d(start=-1, end=length_s + 1), (-110, 110), 96)
    plot.xaxis.formatter = CustomJSTickFormatter(code=_CLOCK)
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


def _sound(report: SessionReport, waveform: Waveform | None, shared: Range1d) -> figure:
    plot = _timed_figure(shared, (-165, 125), 190)
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
            "text": [clip(each.text.strip(), _HOVER_CHARS) for each in shown],
            "number": [each.number for each in shown],
        },
    )
    _hover(plot, [boxes], "<b>utterance @number</b>", "@text")
    plot.text(
        x=[each.start_s for each in shown],
        y=-135,
        text=[
            clip(each.text.strip(), max(1, int((each.end_s - each.start_s) / _CHARACTER_S * 0.9)))
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
                "message": [clip(each.message, _HOVER_CHARS) for each in report.notices],
            },
        )
        _hover(plot, [marks], "<b>@level</b>", "@message")
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


def _word_columns(report: SessionReport) -> dict[str, Any]:
    words = report.words
    return {
        "text": [word.text.strip() for word in words],
        "start": _numbers(word.start_s for word in words),
        "end": _numbers(max(word.end_s, word.start_s + 0.02) for word in words),
        "shown": _numbers(word.shown_s for word in words),
        "certain": _numbers(word.committed_s for word in words),
        "shown_delay": _numbers(word.shown_delay_s for word in words),
        "delay": _numbers(word.commit_delay_s for word in words),
        "sure": _numbers(100 * word.probability for word in words),
        "row": -np.array(_rows(words), np.int8),
    }


def _rows(words: Sequence[ReportedWord]) -> list[int]:
    """A line for each word: the next one down that is free where its text begins."""
    free_s = [-math.inf] * ROWS
    rows: list[int] = []
    for word in words:
        begins_s = word.start_s - len(word.text) * _CHARACTER_S
        after = rows[-1] + 1 if rows else 0
        turns = [(after + turn) % ROWS for turn in range(ROWS)]
        row = next((row for row in turns if free_s[row] <= begins_s), None)
        rows.append(min(turns, key=lambda each: free_s[each]) if row is None else row)
        free_s[rows[-1]] = max(word.committed_s, word.end_s) + _CHARACTER_S
    return rows


def _numbers(values: Any) -> Any:
    """Single precision tells milliseconds for four hours, at half the size."""
    return np.fromiter(values, np.float32)


_WORD_LINES = (
    "<b>@text</b>",
    "said from @start{0.00} to @end{0.00} s",
    "on screen @shown_delay{0.00} s after its end",
    "certain @delay{0.00} s after its end",
    "the model is @sure{0} % sure",
)


def _words(report: SessionReport, words: ColumnDataSource, shared: Range1d) -> figure:
    plot = _timed_figure(shared, (-ROWS - 0.9, 0.9), 330)
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
    _hover(plot, [bars, rings, dots], *_WORD_LINES)
    gone = report.withdrawals
    if gone:
        crosses = plot.scatter(
            "at",
            -ROWS - 0.2,
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
        _hover(plot, [crosses], "<b>taken back:</b> @text", "<b>now:</b> @instead")
    return plot


def _said(words: Sequence[Any]) -> str:
    return clip("".join(word.text for word in words).strip(), 100)


def _passes(report: SessionReport, shared: Range1d) -> figure:
    from bokeh.models import ColumnDataSource

    passes = report.passes
    longest_s = max(each.asked_s - each.start_s for each in passes)
    plot = _timed_figure(shared, (longest_s * 1.05, 0), 210, y_label="seconds back")
    source = {
        "asked": _numbers(each.asked_s for each in passes),
        "waited_until": _numbers(each.asked_s + each.queue_s for each in passes),
        "began": _numbers(each.done_s - each.compute_s for each in passes),
        "done": _numbers(each.done_s for each in passes),
        "newest": _numbers(each.asked_s - each.end_s for each in passes),
        "oldest": _numbers(each.asked_s - each.start_s for each in passes),
        "heard": _numbers(each.end_s - each.start_s for each in passes),
        "took": _numbers(each.compute_s for each in passes),
        "waited": _numbers(each.queue_s for each in passes),
        "n_words": np.array([each.n_words for each in passes], np.int32),
        "n_certain": np.array([each.n_committed for each in passes], np.int32),
        "n_shown": np.array([each.n_tentative for each in passes], np.int32),
        "kind": [_kind(each.looped, each.n_committed) for each in passes],
        "note": ["second try" if each.careful else "" for each in passes],
    }
    source["colour"] = [COLOURS[kind] for kind in source["kind"]]
    data = ColumnDataSource(source)
    plot.quad(
        left="asked",
        right="waited_until",
        top="newest",
        bottom="oldest",
        fill_color=COLOURS["queued"],
        fill_alpha=0.4,
        line_color=None,
        source=data,
    )
    bars = plot.quad(
        left="began",
        right="done",
        top="newest",
        bottom="oldest",
        color="colour",
        fill_alpha=0.7,
        source=data,
    )
    _hover(
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


def _updates(report: SessionReport, shared: Range1d) -> figure:
    plot = _timed_figure(shared, (0, 1), 110)
    at = _numbers(iter(report.updates_s))
    plot.segment(x0=at, x1=at, y0=0.1, y1=0.9, line_color=COLOURS["tentative"])
    return plot


def _delays(report: SessionReport, words: ColumnDataSource, shared: Range1d) -> figure:
    from bokeh.models.annotations import Span

    assert report.commit_delay is not None
    assert report.shown_delay is not None
    most_s = max(report.commit_delay.max, report.shown_delay.max, 0.5)
    plot = _timed_figure(shared, (0, most_s * 1.08), 220, y_label="seconds")
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
        line_width=2,
        source=words,
    )
    dots = plot.scatter("end", "delay", size=6, color=COLOURS["certain"], source=words)
    for value_s, dash in ((report.commit_delay.p50, "solid"), (report.commit_delay.p95, "dashed")):
        plot.add_layout(
            Span(
                location=value_s,
                dimension="width",
                line_color=COLOURS["certain"],
                line_dash=dash,
                line_width=1.5,
            )
        )
    _hover(plot, [rings, dots], *_WORD_LINES)
    return plot


def _spread(words: Sequence[ReportedWord]) -> figure:
    from bokeh.models import Range1d

    shown = np.array([word.shown_delay_s for word in words])
    certain = np.array([word.commit_delay_s for word in words])
    longest_s = max(float(certain.max()), float(shown.max()), 0.1)
    width_s = next(w for w in _widths() if longest_s / w < _BINS)
    edges = np.arange(0, longest_s + width_s, width_s)
    n_shown, _ = np.histogram(shown, edges)
    n_certain, _ = np.histogram(certain, edges)
    most = max(int(n_shown.max()), int(n_certain.max()), 1)
    plot = _figure(Range1d(start=0, end=float(edges[-1])), (0, most * 1.08), 230)
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
        _hover(plot, [bars], f"<b>@n words</b> {what}", "after @start{0.00} to @end{0.00} s")
    return plot


def _widths() -> Sequence[float]:
    return [digit * 10.0**power for power in range(-2, 7) for digit in (1, 2, 5)]
