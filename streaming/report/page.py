"""A report as one HTML file that needs nothing but a browser."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError
from .bounds import Bounds, bounded
from .model import SessionReport
from .plots import draw
from .sections import section
from .waveform import Waveform

__all__ = ["Sounding", "page", "require_bokeh"]

_HERE = Path(__file__).parent
_BOUNDS = Bounds()
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{css}</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p class="about">How a live transcription went: what was heard, when the model ran, and when each
word was on screen and certain. All times are those of the stream: 0:00 is when the audio began.</p>
{note}
{sections}
</main>
<footer>Made by <code>stream-transcribe report</code> with Bokeh {version}. The page is complete: it
loads nothing from anywhere.</footer>
{bokeh}
{scripts}
<script type="application/json" id="sessions">{sessions}</script>
<script>
{js}</script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Sounding:
    """A session and its audio."""

    report: SessionReport
    waveform: Waveform | None = None
    audio_note: str = ""
    """What a reader should know of the audio, or of its absence."""


def require_bokeh() -> None:
    """See that the plotting library is there.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise ConfigurationError(
            'Bokeh is not installed: pip install "stream-transcribe[report]"'
        ) from None


def page(soundings: Sequence[Sounding], title: str, bounds: Bounds = _BOUNDS) -> str:
    """The whole page.

    Args:
        soundings: at least one session; of many, the first ones are shown.
        title: for the browser's tab and the head of the page.
        bounds: the most that all sessions together show.

    Raises:
        ConfigurationError: Bokeh is not installed.
    """
    require_bokeh()
    import bokeh
    from bokeh.embed import components
    from bokeh.resources import Resources

    shown = soundings[: bounds.sessions]
    share = bounds.share(len(shown))
    reports = [bounded(each.report, share) for each in shown]
    plots = [
        draw(report, each.waveform, f"s{number}")
        for number, (report, each) in enumerate(zip(reports, shown, strict=True))
    ]
    # By session: for all at once, Bokeh's work grows with the square of their number.
    embedded = [components({**drawn}) for drawn in plots]
    sections = [
        section(f"s{number}", report, places, sounding.waveform, sounding.audio_note)
        for number, (report, (_, places), sounding) in enumerate(
            zip(reports, embedded, shown, strict=True)
        )
    ]
    told = [
        {"name": f"s{number}", "length_s": max(report.length_s, 1.0), "plots": list(drawn)}
        for number, (report, drawn) in enumerate(zip(reports, plots, strict=True))
    ]
    more = len(soundings) - len(shown)
    return _PAGE.format(
        title=html.escape(title),
        css=_read("page.css"),
        version=bokeh.__version__,
        bokeh=Resources(mode="inline", components=["bokeh"]).render_js(),
        note=_note(f"{more} more sessions of the log are not shown.") if more else "",
        sections="\n".join(sections),
        sessions=_json(told),
        scripts="\n".join(script for script, _ in embedded),
        js=_read("page.js"),
    )


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _json(value: object) -> str:
    return json.dumps(value).replace("<", "\\u003c")


def _read(name: str) -> str:
    return _HERE.joinpath(name).read_text("utf-8")
