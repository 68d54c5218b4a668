"""The contract of a sink."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ..errors import StreamingError
from ..events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Stats,
    Word,
)
from ..protocols import Sink
from ._common import CLOSE_S, close, expect

__all__ = ["check_sink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromTheFuture(Event):
    """A type that the schema may gain; sinks pass it on or ignore it."""

    type: ClassVar[str] = "from_the_future"

    detail: str = ""


_WORDS = (Word(" Grüße,", 0.3, 0.6, 0.9), Word(" 世界", 0.6, 0.9, 0.8))

_SESSION: tuple[Event, ...] = (
    SessionStarted(started_at="2030-01-01T00:00:00Z", model="tiny.en", backend="none"),
    SpeechStarted(at_s=0.3),
    Partial(tentative=" Grüße,", words=_WORDS[:1], language="de"),
    Committed(text=" Grüße,", words=_WORDS[:1], language="de"),
    Partial(committed=" Grüße,", tentative=" 世界", words=_WORDS[1:], language="de"),
    Committed(text=" 世界", words=_WORDS[1:], language="de"),
    SpeechEnded(at_s=0.9),
    Final(text=" Grüße, 世界", words=_WORDS, start_s=0.3, end_s=0.9, language="de"),
    Refined(text=" Grüße, 世界", words=_WORDS, language="de", model="base"),
    _FromTheFuture(detail="what this version does not know"),
    AudioDropped(start_s=1.0, end_s=1.5, reason="overload"),
    Notice(level="warning", code="overload", message="two\nlines"),
    Final(utterance=1, start_s=1.6, end_s=1.7, reason="end_of_stream"),  # nothing was said
    Stats(audio_s=2.0, compute_s=0.4, real_time_factor=0.2, passes=4),
    SessionEnded(audio_s=2.0),
)

_REFINED = SessionStarted(model="tiny.en", options={"final_model": "base"})


async def check_sink(make: Callable[[], Sink]) -> None:
    """Check that a sink takes whatever a session says and leaves in order.

    Args:
        make: makes a sink that is not entered yet. It is called several times; where sinks
            share a file or a stream, they write to it one after another.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    sink = make()
    expect(isinstance(sink, Sink), f"{type(sink).__name__} lacks a member of Sink")
    await _write(make(), ())
    await _write(make(), _SESSION)
    await _write(make(), (_SESSION[0], _SESSION[-1]))
    await _write(make(), (_REFINED, *_SESSION[1:]))
    await _write(make(), (_REFINED, *_SESSION[1:8]))  # one that breaks off before the refined text
    await _write(make(), _SESSION[:5])  # a session that breaks off in an utterance
    await _check_error(make())
    await _check_cancellation(make())
    await _check_reuse(make())


async def _write(sink: Sink, events: Sequence[Event]) -> None:
    await sink.__aenter__()
    for seq, event in enumerate(events):
        try:
            await sink.write(replace(event, seq=seq, session="check", clock_s=0.1 * seq))
        except Exception as error:
            message = f"write({type(event).__name__}) raises {type(error).__name__}: {error}"
            raise AssertionError(message) from error
    await close(sink)


async def _check_error(sink: Sink) -> None:
    await sink.__aenter__()
    await close(sink, ValueError("an error inside `async with`"))


async def _check_cancellation(sink: Sink) -> None:
    writing = asyncio.Event()

    async def use() -> None:
        async with sink:
            for event in _SESSION[:5]:
                await sink.write(event)
            writing.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(use())
    written = asyncio.create_task(writing.wait())
    await asyncio.wait({task, written}, timeout=CLOSE_S, return_when=asyncio.FIRST_COMPLETED)
    written.cancel()
    expect(writing.is_set(), f"writing five events takes longer than {CLOSE_S:g} s")
    task.cancel()
    await asyncio.wait({task}, timeout=CLOSE_S)
    expect(task.done(), f"leaving a cancelled session takes longer than {CLOSE_S:g} s")
    expect(task.cancelled(), "leaving a cancelled session swallows the cancellation")


async def _check_reuse(sink: Sink) -> None:
    """A second session works, or is refused with an error of this library."""
    await _write(sink, _SESSION)
    try:
        await sink.__aenter__()
    except StreamingError:
        return
    except Exception as error:
        message = f"entering a second time raises {type(error).__name__}, no StreamingError"
        raise AssertionError(message) from error
    await sink.write(_SESSION[0])
    await close(sink)
