"""Clocks that jump, and a loop that stops to turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cli_plugin
import numpy as np
import pytest
from fakes import ScriptedBackend, ScriptedSource, chunks_of, say
from faults import ENDS_S, FaultyBackend, run_faulty
from virtual_time import VirtualTimeLoop, run_virtual

from streaming import pipeline as pipeline_module
from streaming.app.watchdog import watchdog
from streaming.backends.pool import BackendPool
from streaming.events import SessionStarted, event_to_json
from streaming.pipeline import Pace
from streaming.protocols import Hypothesis, SourceItem, Window

SCRIPT = say(6, 4)
SAID = [word.text for word in SCRIPT.words]
PACES: list[Pace] = ["realtime", "fast", "simulated"]


class Jumping(ScriptedSource):
    """The clock jumps between two of its chunks."""

    def __init__(self, at: int, by_s: float, *, live: bool = True) -> None:
        super().__init__(chunks_of(SCRIPT.audio()), live=live)
        self.at = at
        self.by_s = by_s

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        for number, item in enumerate(self.items):
            if number == self.at:
                loop = asyncio.get_running_loop()
                assert isinstance(loop, VirtualTimeLoop)
                loop.jump(self.by_s)
            await asyncio.sleep(0.1)
            yield item


@pytest.mark.parametrize("at", [0, 12, 50])
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
def test_a_jump_of_the_loop_s_clock_loses_no_text(by_s: float, live: bool, at: int) -> None:
    source = Jumping(at, by_s, live=live)
    ran = run_faulty(
        ScriptedBackend(SCRIPT), SCRIPT, source=source, pace="realtime", runner=run_virtual
    )
    assert ran.error is None
    assert ran.text == SAID
    assert set(ran.codes) <= {"stalled", "flowing"}
    clocks = [event.clock_s for event in ran.events]
    assert clocks == sorted(clocks)
    if by_s > 0 and at == 12:
        assert clocks[-1] >= 3600


@pytest.mark.parametrize("pace", PACES)
def test_a_wall_clock_that_jumps_changes_only_when_the_session_began(
    pace: Pace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [0]

    def jumps() -> float:
        calls[0] += 1
        return 1e9 + (1 if calls[0] % 2 else -1) * calls[0] * 3600.0

    class Then(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Then:
            return cls(1999, 12, 31, 23, 59, 59, tzinfo=UTC)

    monkeypatch.setattr(time, "time", jumps)
    monkeypatch.setattr(pipeline_module, "datetime", Then)
    ran = run_faulty(ScriptedBackend(SCRIPT), SCRIPT, pace=pace)
    assert ran.error is None
    assert ran.text == SAID
    started = ran.events[0]
    assert isinstance(started, SessionStarted)
    assert started.started_at == "1999-12-31T23:59:59.000+00:00"
    assert ran.events[-1].clock_s < 60


def test_with_a_fixed_cost_the_log_is_the_same_whatever_the_wall_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def log() -> list[str]:
        ran = run_faulty(ScriptedBackend(SCRIPT), SCRIPT, pace="simulated", pass_cost_s=0.1)
        return [event_to_json(event) for event in ran.events]

    before = log()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert log() == before


def test_a_hang_is_counted_in_looks_so_that_a_stopped_process_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, jumped = time.monotonic, [0.0]

    def sleeps(hypothesis: Hypothesis, window: Window) -> object:
        jumped[0] += 3600.0  # in the middle of a pass
        time.sleep(0.1)
        return hypothesis

    monkeypatch.setattr(time, "monotonic", lambda: real() + jumped[0])
    pool = BackendPool(lambda: FaultyBackend(SCRIPT, always=sleeps), pass_limit_s=5.0)
    window = Window(start_sample=0, mel=np.zeros((80, 100), np.float32))
    for _ in range(3):
        assert pool.submit(window).result(ENDS_S)
    assert pool.close(timeout_s=1e9)


# -- the loop itself ------------------------------------------------------------------------------


def test_a_loop_that_does_not_turn_is_told_with_its_place() -> None:
    told: list[str] = []
    said = threading.Event()

    def leave(message: str) -> None:
        told.append(message)
        said.set()

    def stuck_here() -> None:
        said.wait(ENDS_S)

    async def scenario() -> None:
        with watchdog(tick_s=0.02, limit=10, leave=leave):
            await asyncio.sleep(0.05)
            stuck_here()

    asyncio.run(scenario())
    (message,) = told
    assert "hangs for 0 s in wait (" in message
    assert message.endswith("; it ends here")


def test_a_loop_that_turns_is_left_alone_and_so_is_one_that_is_slow() -> None:
    told: list[str] = []

    async def scenario() -> None:
        with watchdog(tick_s=0.01, limit=200, leave=told.append):
            for _ in range(5):
                time.sleep(0.05)  # noqa: ASYNC251 - that is the fault
                await asyncio.sleep(0)
            await asyncio.sleep(0.1)

    asyncio.run(scenario())
    assert told == []
    assert not [t for t in threading.enumerate() if t.name == "watchdog"]


def test_a_part_that_blocks_the_loop_ends_the_command_with_1(tmp_path: Path) -> None:
    cli_plugin.install(tmp_path)
    tmp_path.joinpath("sitecustomize.py").write_text(
        "from streaming.app import watchdog\n"
        "watchdog.watchdog.__wrapped__.__kwdefaults__.update(tick_s=0.05, limit=100)\n"
    )
    jfk = Path(__file__).parents[1] / "examples" / "jfk.flac"
    options = ["--pace", "fast", "--backend", "scripted", "--sink", "blocking"]
    process = cli_plugin.start(tmp_path, jfk, *options)
    try:
        _, err = process.communicate(timeout=ENDS_S)
    finally:
        process.kill()
    assert process.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith("stream-transcribe: hangs for 5 s in write (")
    assert "cli_plugin.py" in line
