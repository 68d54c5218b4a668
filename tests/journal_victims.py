"""A process that forks runs with a journal and has them killed: ready imports make that quick.

Orders come on standard input, a JSON object a line, and each is answered by a line when its run
is over. Every event that a run's sink is given is in ``shown.jsonl`` before the next one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakes import LoudnessVad, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say

from sources.replay import ReplaySource
from streaming.backends.pool import BackendPool
from streaming.events import Event, SessionStarted, event_to_json
from streaming.journal import Journal
from streaming.journal_files import folders_in
from streaming.journal_source import JournalSource
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Hypothesis, Window
from streaming.session import Session

__all__ = ["SCRIPT", "Order", "Victims"]

SCRIPT = say(3, 9, 2, pause_s=0.7)
_AUDIO = SCRIPT.audio()


@dataclass(frozen=True, kw_only=True)
class Order:
    """One run."""

    folder: str
    """Where the journal and ``shown.jsonl`` are."""
    resume: bool = False
    pace: Pace = "fast"
    forces: bool = False
    dies_at_write: int | None = None
    """Killed right before this write, of the journal or the sink, counted from 0."""
    dies_after_s: float | None = None
    aborts_at_pass: int | None = None
    """Dies of a native abort inside this pass."""


class Victims:
    """The process, from the side of a test."""

    def __init__(self) -> None:
        here = Path(__file__)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(here.parent), str(here.parents[1])]),
            "OPENBLAS_NUM_THREADS": "1",  # a process with threads must not fork
        }
        self._process = subprocess.Popen(
            [sys.executable, str(here)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def run(self, order: Order) -> int:
        """Have a run made; returns how it ended: 0, or minus the signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=20)


class _Shown:
    """A sink whose events outlive the process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    async def write(self, event: Event) -> None:
        os.write(self._file, (event_to_json(event) + "\n").encode())


class _Fatal(ScriptedBackend):
    aborts_at: int | None = None

    def decode(self, window: Window) -> Hypothesis:
        if self.passes == self.aborts_at:
            os.abort()
        return super().decode(window)


def _die_at(number: int) -> None:
    """Have the process killed in the place of a write."""
    write, done = os.write, 0

    def counted(file: int, data: Any) -> int:
        nonlocal done
        # The event loop wakes itself with a byte, too, as often as it happens to.
        if len(data) > 1:
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
        return write(file, data)

    os.write = counted


async def _run(order: Order) -> None:
    folder = Path(order.folder)
    backend = _Fatal(SCRIPT, forces_prefix=order.forces)
    backend.aborts_at = order.aborts_at_pass
    worker = BackendPool(lambda: backend)
    if order.resume:
        (found,) = folders_in(folder / "journal")
        journal = Journal.reopen(found)
        state = journal.recovered
        assert state is not None
        first = journal.audio_end // 16_000 * 16_000
        rest = ScriptedSource(chunks_of(_AUDIO[first:]))
        source: Any = ReplaySource(
            JournalSource(found, state.needed_from, rest, first), state.marks
        )
    else:
        journal = Journal(folder / "journal", {})
        source = ScriptedSource(chunks_of(_AUDIO))
    pipeline = Pipeline(
        source,
        worker,
        make_parts(vad=LoudnessVad(), max_utterance_s=2.5),
        [_Shown(folder / "shown.jsonl")],
        pace="fast" if order.resume else order.pace,
        owns_worker=True,
        journal=journal,
    )
    async with pipeline:
        await pipeline.run()


def _child(order: Order) -> None:
    if order.dies_at_write is not None:
        _die_at(order.dies_at_write)
    asyncio.run(_run(order))


def _obey(order: Order) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _child(order)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    if order.dies_after_s is not None:
        time.sleep(order.dies_after_s)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Obey until standard input ends."""
    os.fsync = lambda fd: None  # a kill takes nothing that was written, and disks are slow
    session = Session(make_parts(), n_mels=80, started=SessionStarted())
    for chunk in chunks_of(_AUDIO):  # what a run has to load or compile, on no thread
        session.feed(chunk, 0.0)
    for line in sys.stdin:
        print(_obey(Order(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
