"""Event logs to what a report shows of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

from ..errors import ConfigurationError
from ..evaluation.delays import distribution
from ..evaluation.erasure import withdrawals
from ..events import (
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
)
from ..words import key
from .model import (
    Dropped,
    Mark,
    Region,
    ReportedPass,
    ReportedUtterance,
    ReportedWord,
    SessionReport,
)

__all__ = ["collect", "require_sound", "sessions_of"]

_LONGEST_S = 1e7
"""A time beyond this, four months, is none."""
_HIGHEST = 1 << 53
"""And a number beyond this is none that JSON carries."""


def require_sound(events: Iterable[Event]) -> None:
    """See that every field has a value of its kind: a log may come from anywhere.

    Raises:
        ConfigurationError: one has not; the line names it.
    """
    for event in events:
        blank = type(event)()
        for field in fields(event):
            value = getattr(event, field.name)
            if field.name == "words":
                sound = all(map(_is_word, value))
            else:
                sound = _is_like(value, getattr(blank, field.name))
            if not sound:
                raise ConfigurationError(
                    f"damaged: {field.name} of the {event.type} with seq {event.seq!r:.20} "
                    f"cannot be {value!r:.40}"
                )


def _is_like(value: object, default: object) -> bool:
    if default is None:
        return value is None or isinstance(value, str) or _is_time(value)
    if isinstance(default, float):
        return _is_time(value)
    if isinstance(default, int) and not isinstance(default, bool):
        return isinstance(value, int) and abs(value) < _HIGHEST
    return isinstance(value, type(default))


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < _LONGEST_S


def _is_word(word: Word) -> bool:
    numbers = (word.start_s, word.end_s, word.probability)
    return isinstance(word.text, str) and all(map(_is_time, numbers))


def sessions_of(events: Iterable[Event]) -> list[list[Event]]:
    """The sessions of a log, in the order they began; events of several may be mixed.

    Raises:
        ConfigurationError: there is none, or the beginning of one is missing.
    """
    sessions: list[list[Event]] = []
    running: dict[str, list[Event]] = {}
    for event in events:
        if isinstance(event, SessionStarted):
            sessions.append([])
            running[event.session] = sessions[-1]
        elif event.session not in running:
            raise ConfigurationError(
                f"the beginning of session {event.session!r:.60} is missing: session_started is "
                "the first event of each"
            )
        running[event.session].append(event)
    if not sessions:
        raise ConfigurationError("no event in it; an event log is what --format jsonl writes")
    return sessions


def collect(events: Sequence[Event]) -> SessionReport:
    """What a report shows of one session.

    Args:
        events: of `sessions_of`; the end may be missing.
    """
    started = events[0]
    assert isinstance(started, SessionStarted)
    last_s = max(event.clock_s for event in events)
    ended = next((e for e in reversed(events) if isinstance(e, SessionEnded)), None)
    stats = next((e for e in reversed(events) if isinstance(e, Stats)), None)
    passes = tuple(_pass(event) for event in events if isinstance(event, PassDone))
    utterances = tuple(_utterances(events))
    words = [word for utterance in utterances for word in utterance.words]
    resumed = any(isinstance(e, Notice) and e.code == "resumed" for e in events)
    timed = started.options.get("pace") != "fast" and not resumed
    audio_s = ended.audio_s if ended else _heard_s(events)
    dropped = tuple(
        Dropped(e.start_s, e.end_s, e.reason) for e in events if isinstance(e, AudioDropped)
    )
    taken_back = tuple(withdrawals(events))
    traced_s = sum(each.compute_s for each in events if isinstance(each, PassDone))
    return SessionReport(
        session=started.session,
        label=started.label,
        started_at=started.started_at,
        model=started.model,
        backend=started.backend,
        language=started.language,
        options=started.options,
        timed=timed,
        resumed=resumed,
        traced=bool(passes),
        end_reason=ended.reason if ended else None,
        audio_s=audio_s,
        length_s=max(audio_s, last_s) if timed else audio_s,
        speech=tuple(_speech(events, audio_s)),
        utterances=utterances,
        passes=passes,
        updates_s=tuple(
            dict.fromkeys(e.clock_s for e in events if isinstance(e, Partial | Committed))
        ),
        withdrawals=taken_back,
        dropped=dropped,
        flushes_s=tuple(e.at_s for e in events if isinstance(e, Flushed)),
        notices=tuple(
            Mark(e.clock_s, e.level, e.code, e.message) for e in events if isinstance(e, Notice)
        ),
        n_words=len(words),
        n_utterances=len(utterances),
        n_passes=stats.passes if stats else len(passes) or None,
        n_notices=sum(isinstance(e, Notice) for e in events),
        n_dropped=len(dropped),
        n_withdrawn=sum(len(each.words) for each in taken_back),
        dropped_s=sum(each.end_s - each.start_s for each in dropped),
        compute_s=stats.compute_s if stats else traced_s or None,
        commit_delay=distribution([word.commit_delay_s for word in words]) if timed else None,
        shown_delay=distribution([word.shown_delay_s for word in words]) if timed else None,
    )


def _pass(event: PassDone) -> ReportedPass:
    return ReportedPass(
        event.start_s,
        event.end_s,
        event.asked_s,
        event.clock_s,
        event.compute_s,
        event.queue_s,
        event.utterance,
        event.n_words,
        event.n_committed,
        event.n_tentative,
        event.looped,
        event.careful,
    )


def _heard_s(events: Sequence[Event]) -> float:
    """How much audio a session has heard whose log breaks off, as far as that is known."""
    known = [0.0]
    for event in events:
        if isinstance(event, SpeechStarted | SpeechEnded | Flushed):
            known.append(event.at_s)
        elif isinstance(event, PassDone | Final | AudioDropped):
            known.append(event.end_s)
        elif isinstance(event, Partial | Committed) and event.words:
            known.append(event.words[-1].end_s)
    return max(known)


def _speech(events: Sequence[Event], audio_s: float) -> Iterator[Region]:
    start_s: float | None = None
    for event in events:
        if isinstance(event, SpeechStarted):
            start_s = event.at_s
        elif isinstance(event, SpeechEnded) and start_s is not None:
            yield Region(start_s, event.at_s)
            start_s = None
    if start_s is not None:
        yield Region(start_s, max(start_s, audio_s))


def _words(events: Sequence[Event]) -> Iterator[ReportedWord]:
    """Committed words, and from when on each stood at its place of the transcript."""
    standing: list[tuple[str, float]] = []  # tentative words, and since when each is there

    def since_s(place: int, word: Word, clock_s: float) -> float:
        if place < len(standing) and standing[place][0] == key(word.text):
            return standing[place][1]
        return clock_s

    for event in events:
        if isinstance(event, Partial):
            standing = [
                (key(word.text), since_s(place, word, event.clock_s))
                for place, word in enumerate(event.words)
            ]
        elif isinstance(event, Committed):
            for place, word in enumerate(event.words):
                yield ReportedWord(
                    word.text,
                    event.utterance,
                    word.start_s,
                    word.end_s,
                    word.probability,
                    since_s(place, word, event.clock_s),
                    event.clock_s,
                )
            standing = standing[len(event.words) :]


def _utterances(events: Sequence[Event]) -> Iterator[ReportedUtterance]:
    """Those that have words or a final, in order."""
    words: dict[int, list[ReportedWord]] = {}
    for word in _words(events):
        words.setdefault(word.utterance, []).append(word)
    finals = {event.utterance: event for event in events if isinstance(event, Final)}
    refined = {event.utterance: event.text for event in events if isinstance(event, Refined)}
    spoken = {event.utterance: event.language for event in events if isinstance(event, Committed)}
    for number in sorted({*words, *finals}):
        said, final = words.get(number, []), finals.get(number)
        if final is None:
            text = "".join(word.text for word in said)
            start_s, end_s = said[0].start_s, said[-1].end_s
        else:
            text, start_s, end_s = final.text, final.start_s, final.end_s
        yield ReportedUtterance(
            number,
            start_s,
            end_s,
            text,
            final.reason if final else "",
            final.clock_s if final else None,
            final.language if final else spoken.get(number, ""),
            refined.get(number),
            tuple(said),
        )
