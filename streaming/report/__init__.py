"""Event logs made visible: what was heard, when passes ran, when each word came.

`collect` makes a `SessionReport` of the events of a session, values that can be tested; `page`
makes one HTML file of such reports, which needs no network. Only that draws, with Bokeh, and
needs ``pip install "stream-transcribe[report]"``; the import happens on use.

Bokeh, because its script inside the page is a quarter of Plotly's (1.3 MB against 4.8), and it
paints on a canvas, which thousands of words do not slow down.
"""

from __future__ import annotations

from .bounds import Bounds
from .collect import collect, require_sound, sessions_of
from .model import SessionReport
from .page import Sounding, page, require_bokeh
from .waveform import Envelope, Waveform

__all__ = [
    "Bounds",
    "Envelope",
    "SessionReport",
    "Sounding",
    "Waveform",
    "collect",
    "page",
    "require_bokeh",
    "require_sound",
    "sessions_of",
]
