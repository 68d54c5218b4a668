"""A command of yours, run for every finished utterance.

The text comes on its standard input, one line of UTF-8, and these in its environment:

================================ ============================================================
``STREAM_TRANSCRIBE_LABEL``      label of the session ("me"), or empty
``STREAM_TRANSCRIBE_LANGUAGE``   "en"
``STREAM_TRANSCRIBE_START``      seconds from the start of the stream: 12.340
``STREAM_TRANSCRIBE_END``        the same of its end
``STREAM_TRANSCRIBE_UTTERANCE``  number of the utterance in its session, from 0
``STREAM_TRANSCRIBE_EVENT``      the final event as JSON, words and all; empty if over 64 kB
================================ ============================================================
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from streaming.errors import ConfigurationError
from streaming.events import Event, Final, Notice, event_to_json

from ._process import run_command
from ._report import log_notice
from ._text import Labels, one_line

__all__ = ["ExecSink"]

_MOST_OF_EVENT = 65_536
_KILLED_S = 1.0
"""Limit of ending the command that runs."""
_FAILED_S = 1.0
"""How long a run that failed works off what waits."""


class ExecSink:
    """Runs a command for every final that has words, one at a time and in order.

    No shell is involved: for pipes and redirections name one, ``sh -c 'cat >> notes.txt'``.
    Utterances come as they were committed, also where a final model refines them later. What
    the command prints goes nowhere, since the transcript or its view has the terminal; of a
    failure, the last line on standard error is told.

    A command that fails or takes too long ends nothing: the first of consecutive failures is
    told through ``report`` (code ``exec_failed``), and so is that it works again
    (``exec_works``). Utterances that come faster than the command is done wait; where too
    many do, the oldest are left out, and that is told (``exec_dropped``). Leaving works off
    what waits and then kills what still runs: within a second after an error, and at once under
    cancellation.

    Args:
        command: a program and its arguments; a string is split as a shell would.
        time_limit_s: a run that takes longer is killed, with the processes it started.
        most_waiting: utterances that may wait.
        drain_s: how long leaving may work off what waits; by default, time for one slow run.

    Raises:
        ConfigurationError: there is no such command, or a limit cannot work.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        *,
        time_limit_s: float = 10.0,
        most_waiting: int = 100,
        drain_s: float | None = None,
    ) -> None:
        self.report: Callable[[Notice], None] = log_notice
        if not time_limit_s > 0 or most_waiting < 1:
            raise ConfigurationError("--exec: a time limit and a queue have to be above 0")
        self._argv = _argv(command)
        self._name = Path(self._argv[0]).name  # arguments may hold secrets
        self._time_limit_s = time_limit_s
        self._most_waiting = most_waiting
        self._drain_s = time_limit_s + _KILLED_S if drain_s is None else drain_s
        self.leave_limit_s = self._drain_s + 2 * _KILLED_S
        self._labels = Labels()
        self._waiting: deque[tuple[str, Final]] = deque()
        """With the labels, which are forgotten when their sessions end."""
        self._dropped = 0
        self._failures = 0
        """The last runs in a row."""
        self._running = False
        self._closing = False
        self._changed = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = self._closing = False
        self._changed = asyncio.Event()
        self._waiting.clear()
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._worker is not None
        limit_s = self._drain_s
        if exc_type is not None:
            cancelled = issubclass(exc_type, asyncio.CancelledError)
            limit_s = 0.0 if cancelled else min(limit_s, _FAILED_S)
        self._closing = True
        self._changed.set()
        try:
            if limit_s > 0:
                await asyncio.wait({self._worker}, timeout=limit_s)
        finally:
            undone = len(self._waiting) + self._running
            self._worker.cancel()
            await asyncio.wait({self._worker}, timeout=_KILLED_S)
            if undone:
                self._tell("exec_dropped", f"was not done with the last {undone} utterances")
            self._tell_what_was_dropped()
        if not self._worker.cancelled() and self._worker.done():
            self._worker.result()

    async def write(self, event: Event) -> None:
        """Have a final's text handed to the command; never waits for it."""
        assert self._worker is not None
        if self._worker.done():
            self._worker.result()
        label = self._labels.push(event)
        if not isinstance(event, Final) or not event.text.strip():
            return
        if len(self._waiting) == self._most_waiting:
            self._waiting.popleft()
            if self._dropped == 0:
                self._tell("exec_dropped", "is too slow; the oldest utterances are left out")
            self._dropped += 1
        self._waiting.append((label, event))
        self._changed.set()

    async def _work(self) -> None:
        while True:
            while self._waiting:
                self._running = True
                await self._run(*self._waiting.popleft())
                self._running = False
            self._tell_what_was_dropped()
            if self._closing:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _run(self, label: str, final: Final) -> None:
        text = one_line(final.text).strip() + "\n"
        env = {**os.environ, **_variables(label, final)}
        fault = await run_command(self._argv, text, env=env, limit_s=self._time_limit_s)
        if fault is not None:
            if self._failures == 0:
                self._tell("exec_failed", fault)
            self._failures += 1
        elif self._failures:
            message = f"{self._name} works again, after {self._failures} failures"
            self.report(Notice(level="info", code="exec_works", message=message))
            self._failures = 0

    def _tell_what_was_dropped(self) -> None:
        if self._dropped:
            self._tell("exec_dropped", f"was too slow; {self._dropped} utterances left out")
            self._dropped = 0

    def _tell(self, code: str, message: str) -> None:
        self.report(Notice(level="warning", code=code, message=f"{self._name} {message}"))


def _variables(label: str, final: Final) -> dict[str, str]:
    line = event_to_json(final).encode(errors="replace").decode()
    values = {
        "LABEL": label,
        "LANGUAGE": final.language,
        "START": f"{final.start_s:.3f}",
        "END": f"{final.end_s:.3f}",
        "UTTERANCE": str(final.utterance),
        "EVENT": line if len(line.encode()) <= _MOST_OF_EVENT else "",
    }
    return {f"STREAM_TRANSCRIBE_{name}": value for name, value in values.items()}


def _argv(command: str | Sequence[str]) -> tuple[str, ...]:
    try:
        argv = tuple(shlex.split(command) if isinstance(command, str) else command)
    except ValueError as error:
        raise ConfigurationError(f"--exec: cannot split the command: {error}") from error
    if not argv:
        raise ConfigurationError("--exec needs a command")
    program = shutil.which(argv[0])
    if program is None:
        if Path(argv[0]).is_file():
            reason = f"{argv[0]} is not executable: chmod +x"
        else:
            reason = f"there is no command {argv[0]!r}; a line of shell is sh -c '...'"
        raise ConfigurationError(f"--exec: {reason}")
    return (program, *argv[1:])
