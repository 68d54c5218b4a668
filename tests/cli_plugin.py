"""What an installed package might bring: parts that the command finds by name."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakes import Script, ScriptedBackend, ScriptedSource, chunks_of, say

from streaming.events import Committed, Event
from streaming.models import Progress
from streaming.protocols import Hypothesis, Window

__all__ = ["Counter", "backend", "install", "source", "start", "talk"]

SAID = say(25)
"""About as long as the sample recording."""
ENTRY_POINTS = """
[streaming.backends]
scripted = cli_plugin:backend
[streaming.policies]
eager = policies.local_agreement:LocalAgreement
broken = cli_plugin:nowhere
[streaming.sinks]
blocking = cli_plugin:Blocking
counter = cli_plugin:Counter
view = sinks.terminal:TerminalSink
not-a-sink = builtins:dict
[streaming.sources]
script = cli_plugin:source
not-a-source = builtins:str
[streaming.vads]
loud = fakes:LoudnessVad
"""


def talk(utterances: int) -> Script:
    """Utterances of four words, one every 2.3 s; the backend's parameter of that name hears it."""
    return say(*(4,) * utterances, pause_s=0.9)


class _Scripted(ScriptedBackend):
    pass_s = 0.0
    hangs = False

    def decode(self, window: Window) -> Hypothesis:
        time.sleep(self.pass_s)
        while self.hangs and Path("hang").exists():
            time.sleep(0.05)
        hypothesis = super().decode(window)
        if self.model != "shouting":
            return hypothesis
        words = (replace(word, text=word.text.upper()) for word in hypothesis.words)
        return replace(hypothesis, words=tuple(words))


def backend(
    *,
    model: str,
    threads: int,
    progress: Progress | None,
    load_s: float = 0.0,
    pass_s: float = 0.0,
    hangs: bool = False,
    fails_from: float = math.inf,
    utterances: int | None = None,
) -> ScriptedBackend:
    assert threads >= 1
    if load_s:
        Path("loading").touch()
        time.sleep(load_s)
    said = SAID if utterances is None else talk(utterances)
    made = _Scripted(said, model=model, fails_from=fails_from, keep=False)
    made.pass_s, made.hangs = pass_s, hangs
    return made


def source(rest: str) -> ScriptedSource:
    """``script://SECONDS`` of the script."""
    seconds = float(rest)
    return ScriptedSource(chunks_of(SAID.audio()[: int(seconds * 16_000)]))


class Counter:
    """A sink that writes down how many words were committed."""

    def __init__(self, *, path: str) -> None:
        self._path = Path(path)
        self._words = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._path.write_text(str(self._words))

    async def write(self, event: Event) -> None:
        if isinstance(event, Committed):
            self._words += len(event.words)


class Blocking(Counter):
    """A sink that blocks the event loop at the first committed words."""

    def __init__(self) -> None:
        super().__init__(path=os.devnull)

    async def write(self, event: Event) -> None:
        while isinstance(event, Committed):
            time.sleep(0.01)  # noqa: ASYNC251 - that is the fault


def install(folder: Path) -> None:
    """Make ``folder``, once on ``sys.path``, look as if pip had installed this there."""
    info = folder / "cli_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: cli-plugin\nVersion: 1.0\n")
    info.joinpath("entry_points.txt").write_text(ENTRY_POINTS)


def start(folder: Path, *argv: str | Path, **options: Any) -> subprocess.Popen[str]:
    """The command in a process of its own, with `install`'s folder on its path."""
    tests = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (folder, tests, tests.parent))),
        **options.pop("environment", {}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "streaming", *map(str, argv)],
        env=environment,
        text=True,
        encoding="utf-8",
        **{
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": folder,
            **options,
        },
    )
