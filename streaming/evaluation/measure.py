"""One clip: from its event log to counts and delays that can be pooled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..events import (
    AudioDropped,
    Event,
    Final,
    Notice,
    Refined,
    SessionStarted,
    Stats,
    Word,
    text_of,
)
from .alignment import align_words
from .delays import (
    committed_words,
    endpoint_to_final,
    speech_to_text,
    stop_to_final,
    utterance_laal,
)
from .erasure import withdrawn_words
from .punctuation import LabelCount, compare_casing, compare_punctuation
from .text import ErrorCount, count_errors

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was counted in one run over one clip. Times in seconds."""

    name: str
    language: str
    model: str
    backend: str
    options: Mapping[str, Any]
    """What the session said about itself when it started."""
    streaming_errors: ErrorCount | None
    """Against the reference; None without one."""
    offline_errors: ErrorCount | None
    refined_errors: ErrorCount | None
    """Of what a final model heard; None without one."""
    commit_delays_s: tuple[float, ...]
    """One per word that has a counterpart in the offline pass."""
    partial_delays_s: tuple[float, ...]
    first_partial_s: tuple[float, ...]
    """One per stretch of speech."""
    stop_to_final_s: tuple[float, ...]
    endpoint_to_final_s: tuple[float, ...]
    """One per utterance that a pause ended."""
    laal_s: tuple[float, ...]
    """One per utterance."""
    words: int
    """Committed words."""
    withdrawn: int
    """Tentative words taken back."""
    punctuation: LabelCount
    casing: LabelCount
    audio_s: float
    audio_dropped_s: float
    compute_s: float
    passes: int


def measure(
    events: Sequence[Event],
    offline: Sequence[Word],
    *,
    reference: str | None = None,
    language: str | None = None,
    name: str = "",
) -> Measurement:
    """Measure one session.

    Args:
        events: all events of one session, at pace simulated or realtime.
        offline: words of one offline pass, same weights, over the whole file.
        reference: what is said in the clip.
        language: decides the normalizer and the unit of errors; by default what the
            finals say most often, else English.
        name: of the clip, for the report.

    Raises:
        ConfigurationError: the log is not of one session, has no clock or no totals; or the
            packages for evaluation are not installed.
    """
    started, totals = _frame(events)
    finals = [event for event in events if isinstance(event, Final)]
    language = language or _language(finals)
    words = committed_words(events)
    texts = [item.word for item in words]
    matches = align_words(texts, offline)
    aligned = [
        (item, offline[match].end_s)
        for item, match in zip(words, matches, strict=True)
        if match is not None
    ]
    text = " ".join(final.text for final in finals)
    refined = {event.utterance: event.text for event in events if isinstance(event, Refined)}
    refined_text = " ".join(refined[utterance] for utterance in sorted(refined))
    return Measurement(
        name=name,
        language=language,
        model=started.model,
        backend=started.backend,
        options=started.options,
        streaming_errors=_errors(reference, text, language),
        offline_errors=_errors(reference, text_of(list(offline)), language),
        refined_errors=(
            _errors(reference, refined_text, language) if "final_model" in started.options else None
        ),
        commit_delays_s=tuple(item.committed_s - end_s for item, end_s in aligned),
        partial_delays_s=tuple(item.shown_s - end_s for item, end_s in aligned),
        first_partial_s=tuple(speech_to_text(events, offline)),
        stop_to_final_s=tuple(stop_to_final(finals, words, matches, offline)),
        endpoint_to_final_s=tuple(endpoint_to_final(events)),
        laal_s=tuple(utterance_laal(words, matches, offline)),
        words=len(words),
        withdrawn=withdrawn_words(events),
        punctuation=compare_punctuation(texts, offline, matches),
        casing=compare_casing(texts, offline, matches),
        audio_s=totals.audio_s,
        audio_dropped_s=sum(e.end_s - e.start_s for e in events if isinstance(e, AudioDropped)),
        compute_s=totals.compute_s,
        passes=totals.passes,
    )


def _frame(events: Sequence[Event]) -> tuple[SessionStarted, Stats]:
    """The first event and the last totals, once it is clear that the log can be measured."""
    if not events or not isinstance(events[0], SessionStarted):
        raise ConfigurationError("the event log does not begin with session_started")
    if any(event.session != events[0].session for event in events):
        raise ConfigurationError("the event log has several sessions; evaluate one at a time")
    if events[0].options.get("pace") == "fast":
        raise ConfigurationError(
            "at pace fast events carry wall time, which says nothing about delays; "
            "use --pace simulated"
        )
    if any(isinstance(event, Notice) and event.code == "resumed" for event in events):
        raise ConfigurationError(
            "the session was cut off and resumed at pace fast, which says nothing about delays; "
            "evaluate the audio alone"
        )
    stats = [event for event in events if isinstance(event, Stats)]
    if not stats:
        raise ConfigurationError("the event log has no stats; did the session end?")
    return events[0], stats[-1]


def _language(finals: Sequence[Final]) -> str:
    said = Counter(final.language for final in finals if final.language)
    return said.most_common(1)[0][0] if said else "en"


def _errors(reference: str | None, text: str, language: str) -> ErrorCount | None:
    return None if reference is None else count_errors(reference, text, language)
