"""The protocol's events, from the package ``wyoming``.

Imported in this one place: on Python 3.11 and 3.12 the package takes a module of the standard
library that is deprecated, whose warning is of no use to whoever runs this.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    from wyoming.asr import (
        Transcribe,
        Transcript,
        TranscriptChunk,
        TranscriptStart,
        TranscriptStop,
    )
    from wyoming.error import Error
    from wyoming.event import Event, async_write_event
    from wyoming.info import AsrModel, AsrProgram, Attribution, Info
    from wyoming.ping import Pong

__all__ = [
    "AsrModel",
    "AsrProgram",
    "Attribution",
    "Error",
    "Event",
    "Info",
    "Pong",
    "Transcribe",
    "Transcript",
    "TranscriptChunk",
    "TranscriptStart",
    "TranscriptStop",
    "async_write_event",
]
