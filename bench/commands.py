"""Voice commands: how many are heard, how soon, and how many that nobody gave.

    python bench/commands.py [--backend NAME] [--json]

The commands of ``examples/voice_command_bot.py`` are spoken by six voices of espeak-ng, among
sentences that have the same words and are no commands; the ends of the words are those of the
synthesis. Then people talk about other things for six minutes. "told" is what the model is told:
nothing, or the example's prompt. Passes take what they take, on the virtual clock.
"""

from __future__ import annotations

import asyncio
import runpy
import statistics
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from _backends import BACKENDS, Pool, add_backend_option, load, pipeline
from _report import RECORDINGS, ROOT, report

from sources.file import FileSource
from sources.push import PushSource
from streaming.app import Settings
from streaming.audio import Samples, seconds
from streaming.commands import CommandHeard, CommandSpotter, Spotted
from streaming.protocols import Source

sys.path.append(str(ROOT / "tests"))  # where the commands are

from spoken_commands import COMMANDS, DECOYS, VOICES, answers, record

_OTHERS = (
    *("bush_radio_127s", "apollo11_radio_89s", "ami_meeting_30s", "bush_columbia_29s"),
    *("harvard_18s", "jackhammer_3s", "office_ambience_60s"),
)
"""Addresses, a radio conversation full of noise, a meeting, readings, and no speech at all."""
_BOT: dict[str, Any] = runpy.run_path(str(ROOT / "examples" / "voice_command_bot.py"))


async def _spotted(source: Source, settings: Settings, pool: Pool) -> list[Spotted]:
    spotter = CommandSpotter(_BOT["PHRASES"], slots={"room": _BOT["ROOMS"]})
    async with pipeline(source, settings, pool) as running:
        return [told async for event in running.events() for told in spotter.push(event)]


def _pushed(samples: Samples) -> PushSource:
    source = PushSource(capacity_s=seconds(len(samples)) + 1.0, live=False)
    source.push(samples)
    source.end()
    return source


async def _row(backend: str, told: str, settings: Settings, pool: Pool) -> dict[str, str | float]:
    heard, false, delays_s = 0, 0, list[float]()
    for voice in VOICES:
        print(f"{backend}, told {told}, {voice[0]} at {voice[1]} ...", file=sys.stderr, flush=True)
        recording = record([(text, voice) for text in (*COMMANDS, *DECOYS)])
        found = answers(recording, await _spotted(_pushed(recording.samples), settings, pool))
        for what, texts in (("missed", found.missed), ("false", found.false)):
            if texts:
                print(f"  {what}: {'; '.join(texts)}", file=sys.stderr)
        heard += len(found.heard)
        false += len(found.false)
        delays_s += found.delays_s
    others = 0
    for name in _OTHERS:
        print(f"{backend}, told {told}, {name} ...", file=sys.stderr, flush=True)
        source = FileSource(RECORDINGS / f"{name}.flac", pace="simulated")
        spotted = await _spotted(source, settings, pool)
        others += sum(isinstance(each, CommandHeard) for each in spotted)
    return {
        "backend": backend,
        "told": told,
        "heard": f"{heard} of {len(COMMANDS) * len(VOICES)}",
        "false": str(false),
        "false in other speech": str(others),
        "delay p50 s": f"{statistics.median(delays_s):.2f}",
        "p95 s": f"{statistics.quantiles(delays_s, n=20)[-1]:.2f}",
        "max s": f"{max(delays_s):.2f}",
    }


def _measure(backends: Sequence[str] | None) -> Iterator[dict[str, str | float]]:
    for backend in backends or BACKENDS:
        settings = Settings(backend=backend, pace="simulated")
        pool = load(settings)
        if pool is None:
            continue
        try:
            yield asyncio.run(_row(backend, "nothing", settings, pool))
            told = Settings(backend=backend, pace="simulated", prompt=_BOT["PROMPT"])
            yield asyncio.run(_row(backend, "the prompt", told, pool))
        finally:
            pool.close()


if __name__ == "__main__":
    report(
        "Commands",
        lambda **chosen: list(_measure(**chosen)),
        ("ctranslate2", "pywhispercpp", "numba", "numpy"),
        model="tiny.en",
        options=add_backend_option,
        recordings=True,
    )
