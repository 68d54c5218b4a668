"""Event logs for reports: one that is written by hand, and long ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    Partial,
    PassDone,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Stats,
    Word,
    text_of,
)

__all__ = ["at", "by_hand", "stamped", "talk", "word"]


def word(text: str, start_s: float, end_s: float) -> Word:
    return Word(text, start_s, end_s, 0.5)


def at(clock_s: float, event: Event) -> Event:
    return replace(event, clock_s=clock_s)


def stamped(events: Sequence[Event], session: str = "one") -> list[Event]:
    return [replace(event, seq=seq, session=session) for seq, event in enumerate(events)]


def by_hand(*, label: str = "desk", pace: str = "simulated", trace: bool = True) -> list[Event]:
    """Two utterances; a word is taken back and comes again, audio is lost, a notice is told."""
    good, day, night = word(" Good", 1.0, 1.3), word(" day", 1.4, 1.7), word(" night", 1.4, 1.7)
    bye = word(" Bye.", 4.0, 4.5)
    events = [
        SessionStarted(
            label=label,
            started_at="2026-01-02T03:04:05.678+00:00",
            model="tiny.en",
            backend="scripted",
            options={"pace": pace},
        ),
        at(1.0, SpeechStarted(at_s=0.9)),
        at(1.6, Partial(tentative=" Good day", words=(good, day))),
        at(1.6, PassDone(start_s=0.9, end_s=1.5, asked_s=1.5, compute_s=0.1, n_words=2)),
        at(2.1, Partial(tentative=" Good night", words=(good, night))),
        at(2.1, PassDone(start_s=0.9, end_s=2.0, asked_s=2.0, compute_s=0.1, n_words=2)),
        at(2.6, Committed(text=" Good", words=(good,))),
        at(2.6, Partial(committed=" Good", tentative=" day", words=(day,))),
        at(
            2.6,
            PassDone(
                start_s=0.9,
                end_s=2.3,
                asked_s=2.3,
                compute_s=0.1,
                queue_s=0.2,
                utterance=0,
                n_words=2,
                n_committed=1,
                n_tentative=1,
            ),
        ),
        at(2.9, SpeechEnded(at_s=1.8)),
        at(2.9, Committed(text=" day", words=(day,))),
        at(2.9, Final(text=" Good day", words=(good, day), start_s=0.9, end_s=1.8, language="en")),
        at(3.0, AudioDropped(start_s=2.5, end_s=3.0, reason="overflow")),
        at(3.1, Notice(level="warning", code="overload", message="passes do not keep up")),
        at(4.0, SpeechStarted(at_s=3.9)),
        at(5.0, Flushed(at_s=5.0)),
        at(5.0, SpeechEnded(at_s=5.0)),
        at(5.2, Committed(utterance=1, text=" Bye.", words=(bye,))),
        at(5.2, Final(utterance=1, text=" Bye.", words=(bye,), start_s=3.9, end_s=5.0)),
        at(5.5, Stats(audio_s=6.0, compute_s=0.3, passes=3)),
        at(6.0, SessionEnded(audio_s=6.0)),
    ]
    return stamped([e for e in events if trace or not isinstance(e, PassDone)])


def talk(seconds: int, *, words_a_second: int = 3) -> list[Event]:
    """Somebody who speaks without a rest, an utterance every ten seconds."""
    events: list[Event] = [SessionStarted(model="tiny.en", options={"pace": "simulated"})]
    for second in range(seconds):
        utterance, step_s = second // 10, 1 / words_a_second
        said = tuple(
            word(f" word{number}", second + number * step_s, second + (number + 1) * step_s)
            for number in range(words_a_second)
        )
        done_s = second + 1.5
        events += [
            at(done_s, Committed(utterance=utterance, text=text_of(said), words=said)),
            at(done_s, PassDone(start_s=max(0, second - 9), end_s=second + 1, asked_s=done_s)),
            at(done_s, PassDone(start_s=max(0, second - 9), end_s=second + 1, asked_s=done_s)),
        ]
        if second % 10 == 9:
            final = Final(utterance=utterance, text="so much", start_s=second - 9, end_s=second + 1)
            events.append(at(done_s, final))
    return stamped([*events, at(seconds + 1.0, SessionEnded(audio_s=float(seconds)))])
