"""How late words come. All times are seconds of the stream's clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..events import Committed, Event, Final, Partial, SpeechEnded, SpeechStarted, Word
from ..words import key

__all__ = [
    "CommittedWord",
    "Distribution",
    "committed_words",
    "distribution",
    "endpoint_to_final",
    "length_adaptive_average_lagging",
    "speech_to_text",
    "stop_to_final",
    "utterance_laal",
]


@dataclass(frozen=True, slots=True)
class CommittedWord:
    """A committed word and when it reached the reader."""

    word: Word
    utterance: int
    committed_s: float
    """``clock_s`` of the event that committed it."""
    shown_s: float
    """``clock_s`` of the first event that showed it at this place of the transcript,
    tentative or committed."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Percentiles by linear interpolation between the nearest ranks (numpy's default)."""

    p50: float
    p95: float
    max: float


def distribution(values_s: Sequence[float]) -> Distribution | None:
    """Median, 95th percentile and largest of some values; None of none."""
    if not values_s:
        return None
    p50, p95 = np.percentile(values_s, [50, 95])
    return Distribution(float(p50), float(p95), max(values_s))


def committed_words(events: Iterable[Event]) -> list[CommittedWord]:
    """The committed words of a session, in order.

    A place is counted over the whole session, so that tentative words which move on to the
    next utterance at ``max_length`` keep theirs.
    """
    words: list[CommittedWord] = []
    shown: dict[int, dict[str, float]] = {}  # by place: when each word first stood there
    for event in events:
        if isinstance(event, Partial | Committed):
            for place, word in enumerate(event.words, start=len(words)):
                shown.setdefault(place, {}).setdefault(key(word.text), event.clock_s)
        if isinstance(event, Committed):
            for word in event.words:
                shown_s = shown.pop(len(words))[key(word.text)]
                words.append(CommittedWord(word, event.utterance, event.clock_s, shown_s))
    return words


def stop_to_final(
    finals: Iterable[Final],
    words: Sequence[CommittedWord],
    matches: Sequence[int | None],
    offline: Sequence[Word],
) -> list[float]:
    """Final minus true end of speech, for utterances that end with their speech.

    The true end of speech is the end, in the offline pass, of the last aligned word.
    Utterances closed by ``max_length`` or ``flush`` are left out, since speech goes on
    there, and so are those without an aligned word.
    """
    ends: dict[int, float] = {}
    for item, match in zip(words, matches, strict=True):
        if match is not None:
            ends[item.utterance] = offline[match].end_s
    return [
        final.clock_s - ends[final.utterance]
        for final in finals
        if final.reason in ("silence", "end_of_stream") and final.utterance in ends
    ]


def endpoint_to_final(events: Iterable[Event]) -> list[float]:
    """Final minus the moment its endpoint was known, for utterances that a pause ended."""
    known_s: dict[float, float] = {}
    waits_s = []
    for event in events:
        if isinstance(event, SpeechEnded):
            known_s[event.at_s] = event.clock_s
        elif isinstance(event, Final) and event.reason == "silence" and event.end_s in known_s:
            waits_s.append(event.clock_s - known_s[event.end_s])
    return waits_s


def speech_to_text(events: Iterable[Event], offline: Sequence[Word]) -> list[float]:
    """First event with text minus the start of what is said, for each stretch of speech.

    What is said starts with the first word, in the offline pass, that ends after the speech
    was found to start. Speech that never shows a text is left out.
    """
    waits_s = []
    start_s: float | None = None
    for event in events:
        if isinstance(event, SpeechStarted):
            heard = next((w.start_s for w in offline if w.end_s > event.at_s), None)
            start_s = None if heard is None else max(heard, event.at_s)
        elif start_s is not None and isinstance(event, Partial | Committed):
            shown = event.tentative if isinstance(event, Partial) else event.text
            if shown.strip():
                waits_s.append(event.clock_s - start_s)
                start_s = None
    return waits_s


def length_adaptive_average_lagging(
    delays_s: Sequence[float], source_s: float, reference_length: int
) -> float:
    """LAAL of one segment, in seconds (Papi et al. 2022, "Over-generation cannot be rewarded").

    With d_i the time from the segment's start to the emission of word i, T the segment's
    length and n the larger of the numbers of emitted and of reference words,

        LAAL = 1/tau * sum over i = 1..tau of (d_i - (i - 1) * T / n),

    where tau is the first i with d_i >= T, or the last word. Times are computation-aware:
    they include the passes.

    Args:
        delays_s: d_i, at least one.
        source_s: T.
        reference_length: words of the reference.
    """
    step_s = source_s / max(len(delays_s), reference_length)
    lags_s = []
    for i, delay_s in enumerate(delays_s):
        lags_s.append(delay_s - i * step_s)
        if delay_s >= source_s:
            break
    return sum(lags_s) / len(lags_s)


def utterance_laal(
    words: Sequence[CommittedWord], matches: Sequence[int | None], offline: Sequence[Word]
) -> list[float]:
    """LAAL of every utterance that has an aligned word.

    An utterance's segment reaches from the start of its first aligned word to the end of its
    last one, in the offline pass, whose words in between are the reference. Taken over a
    whole recording, LAAL would measure its pauses.
    """
    emitted: dict[int, list[float]] = {}
    spans: dict[int, tuple[int, int]] = {}
    for item, match in zip(words, matches, strict=True):
        if key(item.word.text):
            emitted.setdefault(item.utterance, []).append(item.committed_s)
        if match is not None:
            first, _ = spans.get(item.utterance, (match, match))
            spans[item.utterance] = (first, match)
    values = []
    for utterance, (first, last) in spans.items():
        start_s = offline[first].start_s
        n_reference = sum(bool(key(word.text)) for word in offline[first : last + 1])
        delays_s = [clock_s - start_s for clock_s in emitted[utterance]]
        source_s = offline[last].end_s - start_s
        values.append(length_adaptive_average_lagging(delays_s, source_s, n_reference))
    return values
