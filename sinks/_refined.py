"""Refined text in the place of committed text, for outputs that can wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from streaming.events import (
    Committed,
    Event,
    Final,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
)

__all__ = ["RefinedLog"]

_MOST_HELD = 64
"""Finals that wait to be refined; a session has fewer. A log may lack what they wait for."""


@dataclass(slots=True)
class _Held:
    """What one session has committed and nobody has seen yet."""

    open: list[Committed] = field(default_factory=list)
    """Of the utterance that runs."""
    finals: dict[int, tuple[Final, Refined | None]] = field(default_factory=dict)
    """By utterance, in order, with what came in answer."""


class RefinedLog:
    """Makes the log of a refined session one of a session that committed the refined text.

    Committed words wait until their utterance is refined, and utterances come in order.
    Where a session is not refined, its events pass at once, as they are.

    Args:
        raw: let everything pass.
    """

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._held: dict[str, _Held] = {}

    def push(self, event: Event) -> Iterator[Event]:
        """The events that may be shown now."""
        if isinstance(event, SessionStarted) and "final_model" in event.options and not self._raw:
            self._held[event.session] = _Held()
        held = self._held.get(event.session)
        if held is None:
            yield event
        elif isinstance(event, Committed):
            held.open.append(event)
        elif isinstance(event, Final):
            held.open.clear()
            if event.words:
                held.finals[event.utterance] = (event, None)
            yield from _answered(held)
        elif isinstance(event, Refined):
            if event.utterance in held.finals:
                held.finals[event.utterance] = (held.finals[event.utterance][0], event)
            yield from _answered(held)
        elif isinstance(event, SessionEnded):
            yield from _rest(self._held.pop(event.session))
            yield event
        elif not isinstance(event, Partial):
            yield event

    def close(self) -> Iterator[Event]:
        """What is held where the log breaks off, as it was committed."""
        for held in self._held.values():
            yield from _rest(held)
        self._held.clear()


def _answered(held: _Held) -> Iterator[Event]:
    """The utterances at the head that need not wait any longer."""
    while held.finals:
        utterance, (final, refined) = next(iter(held.finals.items()))
        if refined is None and len(held.finals) <= _MOST_HELD:
            return
        del held.finals[utterance]
        yield from _shown(final, refined)


def _rest(held: _Held) -> Iterator[Event]:
    for final, refined in held.finals.values():
        yield from _shown(final, refined)
    yield from held.open


def _shown(final: Final, refined: Refined | None) -> Iterator[Event]:
    said = refined or final
    yield Committed(
        seq=final.seq,
        session=final.session,
        clock_s=final.clock_s,
        utterance=final.utterance,
        text=said.text,
        words=said.words,
        language=said.language,
    )
    yield replace(final, text=said.text, words=said.words)
