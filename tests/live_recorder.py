"""Records from a live source in a process of its own; see `LiveRecorder`."""

from __future__ import annotations

import asyncio
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sources.loopback import LoopbackSource
from sources.microphone import MicrophoneSource
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.events import Notice

__all__ = ["LiveRecorder", "Recording"]

ROOT = Path(__file__).parent.parent
LIMIT_S = 20.0


@dataclass
class Recording:
    """What a source yielded."""

    items: list[Any] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    """When each item came, on the clock that all processes share."""
    error: str = ""

    @property
    def chunks(self) -> list[AudioChunk]:
        return [item for item in self.items if isinstance(item, AudioChunk)]

    @property
    def codes(self) -> list[str]:
        return [item.code for item in self.items if isinstance(item, Notice)]

    @property
    def gaps(self) -> list[tuple[float, float, str]]:
        """Start and length of each gap in seconds, and its reason."""
        found, end = [], 0
        for chunk in self.chunks:
            if chunk.start_sample > end:
                missing = chunk.start_sample - end
                found.append((end / SAMPLE_RATE, missing / SAMPLE_RATE, chunk.gap_reason))
            end = chunk.end_sample
        return found

    @cached_property
    def zero_s(self) -> float:
        """When the first sample was heard."""
        return min(
            time_s - item.end_sample / SAMPLE_RATE
            for item, time_s in zip(self.items, self.times_s, strict=True)
            if isinstance(item, AudioChunk)
        )

    @property
    def delays_s(self) -> list[float]:
        """How long after its end each chunk came, beyond the promptest one."""
        return [
            time_s - self.zero_s - item.end_sample / SAMPLE_RATE
            for item, time_s in zip(self.items, self.times_s, strict=True)
            if isinstance(item, AudioChunk)
        ]

    @property
    def audio(self) -> Samples:
        """All of it, gaps filled with zeros."""
        whole = np.zeros(self.chunks[-1].end_sample, np.float32)
        for chunk in self.chunks:
            whole[chunk.start_sample : chunk.end_sample] = chunk.samples
        return whole


class LiveRecorder:
    """A child process that records from "microphone" or "loopback" until it is left.

    It can be waited for while it records: its notices, and "audio" with the first chunk.
    """

    def __init__(self, kind: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._file = folder / f"{kind}-{time.monotonic_ns()}.pickle"
        self._child = subprocess.Popen(
            [sys.executable, __file__, kind, str(self._file)],
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self.recording = Recording()

    def wait_for(self, *words: str) -> None:
        """Until it has said each of these, in this order."""
        for word in words:
            while (line := self._lines.get(timeout=LIMIT_S)) != word:
                assert line != "end", f"it ended before it said {word!r}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child.wait(LIMIT_S)
            if exc is None:
                self.recording = pickle.loads(self._file.read_bytes())
        finally:
            self._child.kill()
            self._child.wait()

    def _read(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())
        self._lines.put("end")


async def record(kind: str) -> Recording:
    """Until standard input is closed."""
    recording = Recording()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    task = asyncio.create_task(_read_into(recording, kind))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(outcome, asyncio.CancelledError):
        recording.error = str(outcome)
    stopping.cancel()
    return recording


async def _read_into(recording: Recording, kind: str) -> None:
    async with MicrophoneSource() if kind == "microphone" else LoopbackSource() as source:
        async for item in source:
            if isinstance(item, AudioChunk) and not recording.items:
                print("audio", flush=True)
            if isinstance(item, Notice):
                print(item.code, flush=True)
            recording.items.append(item)
            recording.times_s.append(time.monotonic())


if __name__ == "__main__":
    # Pickled as what others import it as.
    import live_recorder

    Path(sys.argv[2]).write_bytes(pickle.dumps(asyncio.run(live_recorder.record(sys.argv[1]))))
