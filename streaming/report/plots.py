"""All pictures of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .drawing import MARGIN_S
from .model import SessionReport
from .run_plots import draw_overview, draw_passes, draw_sound, draw_updates
from .waveform import Waveform
from .word_plots import draw_delays, draw_spread, draw_words, word_columns

if TYPE_CHECKING:
    from bokeh.plotting import figure

__all__ = ["draw"]


def draw(report: SessionReport, waveform: Waveform | None, name: str) -> dict[str, figure]:
    """The pictures of one session, by what they show, those that it has something for.

    Args:
        report: with no more than a browser can show.
        waveform: outline of its audio, if there is any.
        name: what the names of the pictures begin with, for the page's script.
    """
    from bokeh.models import ColumnDataSource, Range1d

    length_s = max(report.length_s, 1.0)
    ends = (-MARGIN_S, length_s + MARGIN_S)
    shared = Range1d(start=ends[0], end=ends[1], bounds=ends, min_interval=0.5)
    words = ColumnDataSource(word_columns(report))
    plots = {"overview": draw_overview(report, waveform, shared, length_s)}
    plots["sound"] = draw_sound(report, waveform, shared)
    if report.timed:
        if report.words:
            plots["words"] = draw_words(report, words, shared)
        if report.passes:
            plots["passes"] = draw_passes(report, shared)
        elif report.updates_s:
            plots["passes"] = draw_updates(report, shared)
        if report.words and report.commit_delay is not None:
            plots["delays"] = draw_delays(report, words, shared)
            plots["spread"] = draw_spread(report.words, report.commit_delay)
    for kind, plot in plots.items():
        plot.name = f"{name}-{kind}"
    return plots
