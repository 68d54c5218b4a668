"""What all pictures of a report have in common. Bokeh is imported on use.

All colours stand out on white and on black alike; those of texts, axes and grids are set by
the page, which knows whether it is light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bokeh.models import Range1d
    from bokeh.plotting import figure

__all__ = [
    "COLOURS",
    "HOVER_CHARS",
    "MARGIN_S",
    "add_hover",
    "clock_axis",
    "column",
    "plain_figure",
    "timed_figure",
]

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
HOVER_CHARS = 300
"""Of a text under the pointer."""
MARGIN_S = 1.0
"""Before and after the audio, for the texts of the first words."""
_LEFT_PX, _RIGHT_PX = 58, 14
_CLOCK = """
if (tick < 0) return "";
const s = tick, h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
const rest = (s % 60).toFixed(step < 0.1 ? 2 : step < 1 ? 1 : 0).padStart(step < 1 ? 4 : 2, "0");
return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + rest;
"""


def plain_figure(
    x_range: Range1d, y_range: tuple[float, float], height: int, **more: Any
) -> figure:
    """An empty picture, as wide as the page."""
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


def timed_figure(
    x_range: Range1d, y_range: tuple[float, float], height: int, *, y_label: str = ""
) -> figure:
    """A picture over the shared time axis; without a label its height has no unit."""
    from bokeh.models import PanTool

    plot = plain_figure(x_range, y_range, height, x_axis_label="time (minutes:seconds)")
    clock_axis(plot)
    plot.add_tools(PanTool(dimensions="width"))
    plot.ygrid.visible = plot.yaxis.visible = bool(y_label)
    plot.yaxis.axis_label = y_label or None
    return plot


def clock_axis(plot: figure) -> None:
    """Write times as people do, 1:05, at numbers that are round for them."""
    from bokeh.models import AdaptiveTicker, CompositeTicker, CustomJSTickFormatter

    plot.xaxis.ticker = CompositeTicker(
        tickers=[
            AdaptiveTicker(base=10, mantissas=[1, 2, 5], max_interval=0.5),
            AdaptiveTicker(
                base=60, mantissas=[1, 2, 5, 10, 15, 20, 30], min_interval=1, max_interval=1800
            ),
            AdaptiveTicker(base=24, mantissas=[1, 2, 4, 6, 12], min_interval=3600),
        ]
    )
    plot.xaxis.formatter = CustomJSTickFormatter(code=_CLOCK)


def add_hover(plot: figure, renderers: Sequence[Any], *lines: str) -> None:
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


def column(values: Iterable[float]) -> NDArray[np.float32]:
    """Numbers for a picture: single precision tells milliseconds for hours, at half the size."""
    return np.fromiter(values, np.float32)
