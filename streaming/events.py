"""What a session says: frozen events, each with a one-line JSON form.

The JSON form is the wire format everywhere (JSONL files, sockets, message queues). The
schema only grows: readers ignore unknown types and unknown fields. ``seq`` rises by one
per event of a session; ``clock_s`` is the stream time at which the event was emitted.

Promises: the committed text of a session is append-only, and every ``partial.committed``
and ``final.text`` is exactly the concatenation of its utterance's committed word texts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from .json_fields import load_object, read_fields

__all__ = [
    "PROTOCOL_VERSION",
    "AudioDropped",
    "Committed",
    "Event",
    "Final",
    "FinalReason",
    "Flushed",
    "Notice",
    "Partial",
    "PassDone",
    "Refined",
    "SessionEnded",
    "SessionStarted",
    "SpeechEnded",
    "SpeechStarted",
    "Stats",
    "Word",
    "event_from_json",
    "event_to_json",
    "text_of",
]

PROTOCOL_VERSION = 1
"""Version of the event schema."""

FinalReason = Literal["silence", "max_length", "flush", "end_of_stream"]
"""Why an utterance ended."""


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word with its place in the stream.

    Word texts join by plain concatenation: a leading space is part of the word.
    """

    text: str
    start_s: float
    """Seconds from the start of the stream."""
    end_s: float
    """Seconds from the start of the stream, at least ``start_s``."""
    probability: float
    """0 to 1: the mean of the word's token probabilities."""


def text_of(words: tuple[Word, ...] | list[Word]) -> str:
    """The exact text of a run of words."""
    return "".join(word.text for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Fields that every event has."""

    type: ClassVar[str] = ""

    seq: int = 0
    """Rises by one per event of a session, from 0."""
    session: str = ""
    """Opaque and unique."""
    clock_s: float = 0.0
    """Stream time of emission, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """First event of a session."""

    type: ClassVar[str] = "session_started"

    started_at: str = ""
    """UTC, ISO 8601."""
    label: str = ""
    """For people: "me", "left"."""
    model: str = ""
    backend: str = ""
    language: str | None = None
    """Language asked for; None where it is detected."""
    sample_rate: int = 16_000
    options: Mapping[str, Any] = field(default_factory=dict)
    protocol_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Event):
    """Speech was found; ``at_s`` includes the pre-roll."""

    type: ClassVar[str] = "speech_started"

    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded(Event):
    """Speech ended at ``at_s``; known once the endpoint's silence has passed."""

    type: ClassVar[str] = "speech_ended"

    at_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial(Event):
    """The running text of an utterance."""

    type: ClassVar[str] = "partial"

    utterance: int = 0
    committed: str = ""
    """The utterance's committed text so far; it only grows."""
    tentative: str = ""
    """Text that may still change."""
    words: tuple[Word, ...] = ()
    """The tentative words."""
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Event):
    """Words that will never be taken back."""

    type: ClassVar[str] = "committed"

    utterance: int = 0
    text: str = ""
    """Exactly what is appended, leading space included."""
    words: tuple[Word, ...] = ()
    language: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final(Event):
    """The whole text of a finished utterance."""

    type: ClassVar[str] = "final"

    utterance: int = 0
    text: str = ""
    words: tuple[Word, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0
    language: str = ""
    reason: FinalReason = "silence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined(Event):
    """The text of a finished utterance once a larger model has heard it again.

    In a session with a final model (``session_started.options`` has ``final_model``) every
    final that has words is followed by one, later, and not always in order. What was
    committed stays as it is; this is what a reader who can wait would rather have.
    """

    type: ClassVar[str] = "refined"

    utterance: int = 0
    text: str = ""
    words: tuple[Word, ...] = ()
    language: str = ""
    model: str = ""
    """Whose text it is. Where the larger model had nothing better to offer or no time, the
    live one's: the text is then that of the final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDropped(Event):
    """Audio that was not transcribed."""

    type: ClassVar[str] = "audio_dropped"

    start_s: float = 0.0
    end_s: float = 0.0
    reason: str = ""
    start_sample: int = 0
    """The same to the sample, which milliseconds do not tell."""
    end_sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed(Event):
    """Somebody closed the utterance, or the pause, that ran."""

    type: ClassVar[str] = "flushed"

    at_s: float = 0.0
    at_sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """Something a person should know: a fault, overload, a reconnect."""

    type: ClassVar[str] = "notice"

    level: Literal["info", "warning", "error"] = "info"
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassDone(Event):
    """What one pass of the model covered, what it cost and what came of it.

    Only in a session that was asked to trace its passes (``session_started.options`` has
    ``trace``). It follows the text that the pass led to; ``clock_s`` is when the pass was done.
    """

    type: ClassVar[str] = "pass_done"

    start_s: float = 0.0
    """Where the audio that it decoded starts."""
    end_s: float = 0.0
    """And where it ends."""
    asked_s: float = 0.0
    """Stream time at which the pass was due and was asked for."""
    compute_s: float = 0.0
    queue_s: float = 0.0
    """How long it waited for other sessions' passes. Not part of ``compute_s``."""
    utterance: int = -1
    """Number of the utterance it was for; -1 while nothing of it has been shown."""
    n_prefix: int = 0
    """Committed words inside its audio, which it was told of."""
    context_chars: int = 0
    """Length of the committed text before its audio that it was given."""
    careful: bool = False
    """A second try, after a pass that looped."""
    language: str = ""
    n_words: int = 0
    """Words heard; those of the prefix are among them where the backend repeats it."""
    n_committed: int = 0
    """Words that it made certain at once, before any are replaced. The last ones of an utterance
    that was heard to its end before its pause was long enough are committed by the pause."""
    n_tentative: int = 0
    """Words that it left uncertain and that were shown."""
    looped: bool = False
    """It repeated itself, or its context, and counts for nothing if a second try follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats(Event):
    """Totals of the session so far. Plain delays are commit delays; all in seconds.

    There are none at pace fast, whose clock is not that of the audio.

    Here the delay of a word is ``clock_s`` of its commit minus the end the model gave it;
    the evaluator measures against an independent reading of the word's end.
    """

    type: ClassVar[str] = "stats"

    audio_s: float = 0.0
    compute_s: float = 0.0
    real_time_factor: float = 0.0
    passes: int = 0
    delay_p50_s: float | None = None
    delay_p95_s: float | None = None
    delay_max_s: float | None = None
    peak_queue_s: float = 0.0
    """Most audio that ever waited for a pass, in seconds."""
    queue_delay_p50_s: float | None = None
    """How long a pass waited for other sessions' passes. Not part of ``compute_s``."""
    queue_delay_p95_s: float | None = None
    queue_delay_max_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """Last event of a session."""

    type: ClassVar[str] = "session_ended"

    audio_s: float = 0.0
    reason: str = "end_of_stream"


_TYPES: dict[str, type[Event]] = {
    cls.type: cls
    for cls in (
        SessionStarted,
        SpeechStarted,
        SpeechEnded,
        Partial,
        Committed,
        Final,
        Refined,
        AudioDropped,
        Flushed,
        Notice,
        PassDone,
        Stats,
        SessionEnded,
    )
}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)  # milliseconds; also makes logs comparable byte by byte
    if isinstance(value, Word):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def event_to_json(event: Event) -> str:
    """One line of JSON, UTF-8 text, without the newline. Times are rounded to milliseconds."""
    body = {f.name: _plain(getattr(event, f.name)) for f in dataclasses.fields(event)}
    return json.dumps({"type": event.type, **body}, ensure_ascii=False, allow_nan=False)


def event_from_json(line: str) -> Event | None:
    """Read one line back; None for a type this version does not know.

    Raises:
        ValueError: the line is not a JSON object with a ``type``, or one of its fields has a
            value that it cannot have.
    """
    try:
        body = load_object(line)
        kind = body.get("type")
        if not isinstance(kind, str):
            raise ValueError("it has no type")
        cls = _TYPES.get(kind)
        return None if cls is None else read_fields(cls, body)
    except ValueError as error:
        raise ValueError(f"not an event: {line[:80]!r}: {error}") from None
