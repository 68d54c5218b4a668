"""Another language, task or prompt, in the middle of a session."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from fakes import (
    LoudnessVad,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    say,
    worker_for,
)

from streaming.channel import Channel
from streaming.evaluation import check_events
from streaming.events import Event, Final, Flushed
from streaming.options import Configure, TranscriberOptions
from streaming.pipeline import Pipeline
from streaming.protocols import SourceItem, Window

SCRIPT = say(5, 5, 5)
GERMAN = TranscriberOptions(language="de", task="translate", prompt="vorher", hotwords=("Ada",))


def run(*places: tuple[float, TranscriberOptions]) -> tuple[list[Event], list[Window]]:
    """A session that is configured at some seconds, and the windows that were decoded."""
    backend = ScriptedBackend(SCRIPT)
    items: list[SourceItem] = []
    waiting = sorted(places, key=lambda place: place[0])
    for chunk in chunks_of(SCRIPT.audio()):
        while waiting and chunk.start_sample >= waiting[0][0] * 16_000:
            items.append(Configure(waiting.pop(0)[1]))
        items.append(chunk)

    async def scenario() -> list[Event]:
        with worker_for(backend) as worker:
            parts = make_parts(vad=LoudnessVad())
            source = ScriptedSource(items)
            async with Pipeline(source, worker, parts, pace="fast") as pipeline:
                return [event async for event in pipeline.events()]

    return asyncio.run(scenario()), backend.windows


def finals(events: list[Event]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def test_what_follows_is_heard_in_the_other_way_and_what_came_before_is_not() -> None:
    middle_s = SCRIPT.words[6].start_s  # in the second utterance
    events, windows = run((middle_s, GERMAN))
    assert check_events(events) == []
    flushed = next(event for event in events if isinstance(event, Flushed))
    heard = {
        (window.language, window.task, window.prompt, window.end_sample > flushed.at_sample)
        for window in windows
    }
    assert {each for each in heard if not each[3]} == {("en", "transcribe", "", False)}
    assert {each for each in heard if each[3]} == {("de", "translate", "Ada, vorher", True)}
    # The utterance that ran was closed, and heard to its end as before.
    assert [final.reason for final in finals(events)] == [
        "silence",
        "flush",
        "silence",
        "end_of_stream",
    ]


def test_no_context_goes_from_one_language_to_the_other() -> None:
    in_silence_s = SCRIPT.words[9].end_s + 0.9
    _, windows = run((in_silence_s, GERMAN))
    german = [window for window in windows if window.language == "de"]
    assert german
    assert {window.context for window in german} == {""}


def test_windows_and_cadence_stay_as_they_were() -> None:
    plain, windows = run()
    slow = replace(TranscriberOptions(language="en"), chunk_s=5.0, window_s=20.0)
    _, configured = run((0.0, slow))
    assert len(configured) == len(windows)
    assert finals(plain)


def test_of_wishes_that_follow_one_another_a_channel_keeps_the_last() -> None:
    async def scenario() -> list[SourceItem]:
        channel = Channel(16_000)
        for prompt in "abc":
            await channel.put(Configure(TranscriberOptions(prompt=prompt)))
        channel.close()
        return [await channel.get()]

    (kept,) = asyncio.run(scenario())
    assert isinstance(kept, Configure)
    assert kept.options.prompt == "c"
