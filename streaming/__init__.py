"""stream-transcribe: live audio to text while people speak.

.. code-block:: text

    values       audio, events, words, options, errors
    contracts    protocols: Source Sink Backend VoiceActivityDetector *Policy
    stages       ring_buffer, mel, vad, segmenter, transcriber (seam, cadence), refiner: pure
    session      the stages as one, still pure; pass_log, what it writes down of its passes
    passes       what a session decodes, on the live model and on a final one
    replacements words replaced or masked in what a session says
    commands     voice commands in what a session says (command_*, spoken_values); pure
    checks       input_check, hypothesis_check, json_fields: what comes from outside is not believed
    input        a source under the program's wishes; channel, what waits behind it
    drivers      live (the event loop's clock), simulated (a virtual one)
    journal      a session on disk (journal_files, journal_source, syncing), and what a log tells
                 of it (recovery), so that a run that is killed goes on
    pipeline     source, session, backend and sinks, put together and taken apart
    delivery     events to their sinks, and on without one that fails; leaving, in time
    group        several pipelines as one, into the same sinks
    backends     native cores and the pool of threads they run on
    models       model files: found, made, fetched, checked
    offline      one pass over a whole recording, for comparison
    evaluation   event logs to error rates and delays
    report       event logs as pages to look at
    word_files   small files that people write: names, replacements
    testing      contract checks for other people's adapters
    app          names to parts; the command line. Not imported from here.

``from streaming.app import transcribe`` has defaults for everything.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from .audio import SAMPLE_RATE, AudioChunk, Flush
from .backends.pool import BackendPool
from .errors import SinkError, SourceError, StreamingError
from .events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    Partial,
    PassDone,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Stats,
    Word,
    event_from_json,
    event_to_json,
)
from .group import PipelineGroup
from .options import Configure, TranscriberOptions, VadOptions
from .pipeline import Pipeline
from .protocols import Sink, Source, SourceItem, Status
from .session import Session, SessionParts

try:
    __version__ = version("stream-transcribe")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"

__all__ = [
    "SAMPLE_RATE",
    "AudioChunk",
    "AudioDropped",
    "BackendPool",
    "Committed",
    "Configure",
    "Event",
    "Final",
    "Flush",
    "Flushed",
    "Notice",
    "Partial",
    "PassDone",
    "Pipeline",
    "PipelineGroup",
    "Refined",
    "Session",
    "SessionEnded",
    "SessionParts",
    "SessionStarted",
    "Sink",
    "SinkError",
    "Source",
    "SourceError",
    "SourceItem",
    "SpeechEnded",
    "SpeechStarted",
    "Stats",
    "Status",
    "StreamingError",
    "TranscriberOptions",
    "VadOptions",
    "Word",
    "__version__",
    "event_from_json",
    "event_to_json",
]
