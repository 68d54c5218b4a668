"""Scripted parts with faults, and what the fault-injection suite asks of a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from fakes import ListSink, Script, ScriptedBackend, ScriptedSource, chunks_of, make_parts

from streaming.backends.pool import BackendPool
from streaming.evaluation import check_events
from streaming.events import Committed, Event, Final, Notice, SessionEnded, Word
from streaming.pipeline import Pipeline
from streaming.protocols import Hypothesis, Sink, Source, Window

__all__ = [
    "ENDS_S",
    "GARBAGE",
    "FaultyBackend",
    "FaultySink",
    "Ran",
    "block",
    "fail",
    "hang",
    "raising",
    "run_faulty",
]

ENDS_S = 30.0
"""Real time in which any run of the suite is over; nothing here has a limit above a second."""

Fault = Callable[[Hypothesis, Window], object]
"""Makes something else of what a pass would have returned."""

nan = float("nan")


def _first(**changes: Any) -> Fault:
    """The first word, changed."""

    def change(hypothesis: Hypothesis, window: Window) -> object:
        word = Word(" word", window.start_sample / 16_000, window.end_sample / 16_000, 0.5)
        return replace(hypothesis, words=(replace(word, **changes),), n_forced=None)

    return change


def _changed(**changes: Any) -> Fault:
    """The hypothesis, changed."""
    return lambda hypothesis, window: replace(hypothesis, **changes)


def _swapped(hypothesis: Hypothesis, window: Window) -> object:
    start_s = window.start_sample / 16_000
    words = (Word(" b", start_s + 0.05, start_s + 0.08, 1.0), Word(" a", start_s, start_s, 1.0))
    return replace(hypothesis, words=words, n_forced=None)


def _many(hypothesis: Hypothesis, window: Window) -> object:
    at_s = window.start_sample / 16_000
    return replace(hypothesis, words=(Word(" a", at_s, at_s, 1.0),) * 100_000, n_forced=None)


GARBAGE: Mapping[str, Fault] = {
    "nothing": lambda hypothesis, window: None,
    "a dict": lambda hypothesis, window: {"words": []},
    "words that are none": _changed(words=("a", "b")),
    "no tuple": _changed(words=None),
    "a time that is no number": _first(start_s=nan),
    "an end that is no number": _first(end_s=nan),
    "an endless word": _first(end_s=float("inf")),
    "a negative time": _first(start_s=-5.0),
    "a time after the window": _first(end_s=1e6),
    "an end before its start": _first(start_s=1e-3, end_s=0.0),
    "words out of order": _swapped,
    "a probability above 1": _first(probability=1.5),
    "a probability that is no number": _first(probability=nan),
    "a text of bytes": _first(text=b" word"),
    "an empty text": _first(text=""),
    "half a character": _first(text=" \ud800"),
    "a time of text": _first(start_s="0"),
    "too many words": _many,
    "too long a word": _first(text="a" * 100_000),
    "more forced words than there are": lambda h, w: replace(h, n_forced=len(h.words) + 1),
    "less than none forced": _changed(n_forced=-1),
    "an unknown timing": _changed(timing="guessed"),
    "a language of bytes": _changed(language=b"en"),
    "no language at all": _changed(language=None),
    "a language that is surely one and a half": _changed(language_probability=1.5),
    "endless voice": _changed(unheard_s=float("inf")),
}
"""Whatever breaks the contract of a hypothesis."""


def fail(error: BaseException) -> Fault:
    """A pass that raises."""

    def raise_it(hypothesis: Hypothesis, window: Window) -> object:
        raise error

    return raise_it


def hang(hypothesis: Hypothesis, window: Window) -> object:
    """A pass that does not return for longer than any test runs."""
    threading.Event().wait(120)
    return hypothesis


@dataclass
class FaultyBackend(ScriptedBackend):
    """A scripted backend with faults.

    Args:
        faults: by the number of the pass.
        always: every other pass.
    """

    faults: Mapping[int, Fault] | None = None
    always: Fault | None = None
    decoded: int = 0

    def decode(self, window: Window) -> Hypothesis:
        number, self.decoded = self.decoded, self.decoded + 1
        hypothesis = super().decode(window)
        fault = (self.faults or {}).get(number, self.always)
        return hypothesis if fault is None else fault(hypothesis, window)  # type: ignore[return-value]


@dataclass(frozen=True)
class Ran:
    """What came of a run."""

    events: list[Event]
    error: BaseException | None

    @property
    def text(self) -> list[str]:
        """Committed words."""
        return [w.text for e in self.events if isinstance(e, Committed) for w in e.words]

    @property
    def finals(self) -> list[Final]:
        """Finals that have words."""
        return [e for e in self.events if isinstance(e, Final) and e.words]

    @property
    def reason(self) -> str:
        """Why the session ended."""
        last = self.events[-1]
        assert isinstance(last, SessionEnded)
        return last.reason

    def notices(self, code: str) -> list[Notice]:
        """Those with a code."""
        return [e for e in self.events if isinstance(e, Notice) and e.code == code]

    @property
    def codes(self) -> list[str]:
        """Of all notices but those about the load, which depend on the machine."""
        notices = [e.code for e in self.events if isinstance(e, Notice)]
        return [code for code in notices if code not in ("overload", "keeping_up")]


def run_faulty(
    backend: ScriptedBackend,
    script: Script,
    *,
    source: Source | None = None,
    sinks: Sequence[Sink] = (),
    pass_limit_s: float = 20.0,
    runner: Callable[..., Any] = asyncio.run,
    **options: Any,
) -> Ran:
    """Run the real pipeline to its end, which must come, and check its promises."""
    events: list[Event] = []

    async def scenario() -> None:
        pipeline = Pipeline(
            source or ScriptedSource(chunks_of(script.audio())),
            worker,
            options.pop("parts", None) or make_parts(),
            sinks,
            **options,
        )
        async with (
            asyncio.timeout(None if runner is not asyncio.run else ENDS_S),
            pipeline,
            aclosing(pipeline.events()) as said,
        ):
            async for event in said:
                events.append(event)  # noqa: PERF401 - what came before an error counts

    error: Exception | None = None
    worker = BackendPool(lambda: backend, pass_limit_s=pass_limit_s)
    try:
        runner(scenario())
    except Exception as raised:
        error = raised
    finally:
        worker.close(timeout_s=0.0)
    assert not isinstance(error, TimeoutError), "the run has not ended"
    assert check_events(events) == []
    return Ran(events, error)


class FaultySink(ListSink):
    """Keeps events, but does something else from one on.

    Args:
        at: number of the first event that meets the fault.
        fault: awaited with each of them.
    """

    def __init__(self, at: int, fault: Callable[[Event], Awaitable[None]]) -> None:
        super().__init__()
        self.at = at
        self.fault = fault
        self.given = 0
        self.left = 0

    async def write(self, event: Event) -> None:
        number, self.given = self.given, self.given + 1
        if number >= self.at:
            await self.fault(event)
        await super().write(event)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.left += 1
        await super().__aexit__(exc_type, exc, traceback)


def raising(error: BaseException) -> Callable[[Event], Awaitable[None]]:
    """A sink's fault."""

    async def fault(event: Event) -> None:
        raise error

    return fault


async def block(event: Event) -> None:
    """A sink's fault: it takes nothing, until it is cancelled."""
    await asyncio.Event().wait()
