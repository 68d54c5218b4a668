"""Voice commands with the real model: heard, soon enough, and not where nobody gave any."""

from __future__ import annotations

import asyncio
import itertools
import runpy
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audio_files import read_audio
from fakes import ScriptedSource, chunks_of
from sounds import write_wav
from spoken_commands import COMMANDS, DECOYS, HARD, VOICES, Recording, answers, record
from system_parts import needs

from sinks.callback import CallbackSink
from sources.file import FileSource
from streaming import BackendPool
from streaming.app import Settings, make_pipeline, make_worker
from streaming.commands import CommandHeard, CommandSpotter, Spotted
from streaming.offline import decode_offline
from streaming.protocols import Source
from streaming.words import key

pytestmark = [pytest.mark.needs_model, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[1] / "examples" / "voice_command_bot.py"
BOT: dict[str, Any] = runpy.run_path(str(EXAMPLE))
SETTINGS = Settings(pace="simulated", prompt=BOT["PROMPT"], pass_cost_s=0.1)
"""CTranslate2 takes half of that for a pass over a command; the machine may do other things."""
OTHERS = (
    *("bush_radio_127s", "apollo11_radio_89s", "ami_meeting_30s"),
    *("harvard_18s", "jackhammer_3s", "office_ambience_60s"),
)
"""Five minutes of an address, radio, a meeting, a reading, noise, and nobody."""


@pytest.fixture(scope="module")
def worker() -> Iterator[BackendPool]:
    worker = make_worker(SETTINGS)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def spoken() -> Recording:
    """Every command and every decoy once, the voices in turn."""
    in_turn = zip((*COMMANDS, *DECOYS), itertools.cycle(VOICES), strict=False)
    return record((text, voice) for text, voice in in_turn if text not in HARD)


def bot_spotter() -> CommandSpotter:
    return CommandSpotter(BOT["PHRASES"], slots={"room": BOT["ROOMS"]})


def spotted(
    spotter: CommandSpotter, source: Source, worker: BackendPool, settings: Settings = SETTINGS
) -> list[Spotted]:
    found: list[Spotted] = []

    async def run() -> None:
        sink = CallbackSink(lambda event: found.extend(spotter.push(event)))
        async with make_pipeline(source, settings, sinks=[sink], worker=worker) as pipeline:
            await pipeline.run()

    asyncio.run(run())
    return found


@needs("espeak-ng", package="espeak-ng")
def test_spoken_commands_are_heard_soon_and_nothing_else_is(
    spoken: Recording, worker: BackendPool
) -> None:
    source = ScriptedSource(chunks_of(spoken.samples))
    found = answers(spoken, spotted(bot_spotter(), source, worker))
    assert not found.missed
    assert not found.false
    assert len(found.delays_s) == len(COMMANDS) - len(HARD) >= 12
    assert statistics.median(found.delays_s) <= 0.8
    assert max(found.delays_s) <= 1.5


@needs("espeak-ng", package="espeak-ng")
def test_the_bot_answers_a_recording(
    spoken: Recording,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    end_s = spoken.said[3][1]
    path = write_wav(tmp_path / "commands.wav", spoken.samples[: round(end_s * 16_000)])
    monkeypatch.setattr("sys.argv", ["voice_command_bot.py", str(path)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()[1:]
    answered = [line.partition(" s  ")[2].partition("  (")[0] for line in lines]
    assert answered == ["lit: kitchen", "lit: nothing", "lit: bedroom"]


ASKED = {
    "first": "ask not what your country can do for you",
    "second": "ask what you can do for your country",
}


def test_people_are_heard_soon_too(jfk: Path, worker: BackendPool) -> None:
    """A president's words as commands, with the first ones to wake the program."""
    settings = replace(SETTINGS, prompt="")
    samples = read_audio(jfk)
    said = asyncio.run(decode_offline(FileSource(jfk, pace="fast"), worker, language="en"))
    ends_s = [
        word.end_s
        for word, after in zip(said, [*said[1:], None], strict=True)
        if key(word.text) in ("you", "country") and (after is None or key(after.text) == "ask")
    ]
    for wake in (None, "my fellow Americans"):
        spotter = CommandSpotter(ASKED, wake=wake)
        source = ScriptedSource(chunks_of(samples))
        told = spotted(spotter, source, worker, settings)
        heard = [each for each in told if isinstance(each, CommandHeard)]
        assert len(told) - len(heard) == (wake is not None)
        assert [each.name for each in heard] == ["first", "second"]
        delays_s = [each.clock_s - end_s for each, end_s in zip(heard, ends_s, strict=True)]
        assert max(delays_s) <= 1.5
        assert statistics.median(delays_s) <= 0.8
    sleeping = CommandSpotter(ASKED, wake="computer")
    assert spotted(sleeping, ScriptedSource(chunks_of(samples)), worker, settings) == []


@pytest.mark.needs_recordings
@pytest.mark.parametrize("name", OTHERS)
def test_where_nobody_gives_a_command_none_is_heard(
    name: str, recordings: Path, worker: BackendPool
) -> None:
    source = FileSource(recordings / f"{name}.flac", pace="fast")
    assert (
        spotted(bot_spotter(), source, worker, replace(SETTINGS, pace="fast", pass_cost_s=None))
        == []
    )
