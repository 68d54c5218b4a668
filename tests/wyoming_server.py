"""The real Wyoming server in a process of its own, and clients of it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import cli_plugin
import numpy as np

from streaming.app.wyoming.vocabulary import Event
from streaming.audio import Samples

# isort: split
# The package's audio module warns on import; `vocabulary` has imported it by now.
from wyoming.asr import Transcribe, Transcript, TranscriptChunk
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.error import Error

__all__ = [
    "Heard",
    "Served",
    "as_home_assistant",
    "chunks",
    "pcm",
    "serving",
    "to_the_end",
    "transcribe",
]

_SERVING = re.compile(r"info: serving at (\w+://\S*)\n")


@dataclass
class Served:
    """A server that listens."""

    process: subprocess.Popen[str]
    uri: str
    lines: list[str]
    """What it wrote to stderr so far."""

    @property
    def port(self) -> int:
        """Of TCP."""
        return int(self.uri.rpartition(":")[2])

    def client(self) -> AsyncClient:
        """The package's own, which gives up in the end."""
        return AsyncClient.from_uri(self.uri, connect_timeout=20, read_timeout=60)

    def stop(self, timeout_s: float = 30.0) -> int:
        """Ask it to end, and wait for that; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def until_said(self, text: str, within_s: float = 30.0) -> None:
        """Wait for a line on stderr."""
        until_s = time.monotonic() + within_s
        while not any(text in line for line in self.lines):
            assert time.monotonic() < until_s, f"it does not say {text!r}: {self.lines}"
            time.sleep(0.02)


@contextmanager
def serving(
    folder: Path,
    *options: str | Path,
    backend: str = "scripted",
    uri: str = "tcp://127.0.0.1:0",
    **more: Any,
) -> Iterator[Served]:
    """``stream-transcribe wyoming``, until the block ends.

    Args:
        folder: where it runs; installs the scripted backend there (see `cli_plugin`).
        options: of the command.
        backend: scripted, with parameters if need be, or a real one.
        uri: where.
        more: for `cli_plugin.start`, as ``environment``.
    """
    if not (folder / "cli_plugin-1.0.dist-info").exists():
        cli_plugin.install(folder)
    hearing = ["--vad", "loud"] if backend.startswith("scripted") else []
    process = cli_plugin.start(
        folder, "wyoming", "--uri", uri, "--backend", backend, *hearing, *options, **more
    )
    with process:
        lines: list[str] = []
        reading = Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if found := _SERVING.fullmatch(line):
                    break
            else:
                raise AssertionError(f"it does not serve: {lines}")
            reading.start()
            yield Served(process, found[1], lines)
        finally:
            process.kill()
            process.wait()
            if reading.ident is not None:
                reading.join(5)


def pcm(samples: Samples) -> bytes:
    """As Home Assistant sends it: s16le."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def chunks(data: bytes, rate: int = 16_000, width: int = 2, channels: int = 1) -> Iterator[Event]:
    """Audio as the events of a client, 1024 samples in each."""
    size = 1024 * width * channels
    for at in range(0, len(data), size):
        yield AudioChunk(rate, width, channels, data[at : at + size]).event()


@dataclass
class Heard:
    """What came of a transcription."""

    events: list[Event]
    """All that was told, in order."""

    @property
    def types(self) -> list[str]:
        """Of the events."""
        return [event.type for event in self.events]

    @property
    def pieces(self) -> list[str]:
        """Texts of the transcript-chunks."""
        return [e.data["text"] for e in self.events if TranscriptChunk.is_type(e.type)]

    @property
    def transcript(self) -> Transcript:
        """The one there is."""
        (only,) = [e for e in self.events if Transcript.is_type(e.type)]
        return Transcript.from_event(only)

    @property
    def error(self) -> Error:
        """The one there is."""
        (only,) = [e for e in self.events if Error.is_type(e.type)]
        return Error.from_event(only)


async def to_the_end(client: AsyncClient) -> Heard:
    """What is told until the transcript-stop, an error, or the end of the connection."""
    events = []
    while (event := await client.read_event()) is not None:
        events.append(event)
        if event.type in ("transcript-stop", "error"):
            break
    return Heard(events)


async def transcribe(
    client: AsyncClient,
    data: bytes,
    *,
    asked: Transcribe | None = None,
    form: tuple[int, int, int] = (16_000, 2, 1),
) -> Heard:
    """A whole transcription on a connection, to its transcript-stop.

    Args:
        client: connected.
        data: the audio.
        asked: said before it.
        form: rate, width and channels of the audio.
    """
    if asked is not None:
        await client.write_event(asked.event())
    await client.write_event(AudioStart(*form).event())
    for chunk in chunks(data, *form):
        await client.write_event(chunk)
    await client.write_event(AudioStop().event())
    return await to_the_end(client)


async def as_home_assistant(
    served: Served, data: bytes, *, language: str, concurrent: bool
) -> str | None:
    """The text as Home Assistant's speech-to-text entity gets it; None where that is an error.

    A connection is for one transcription, the language is always named, and nothing but the
    transcript is looked for. Releases before 2026.5 read once all audio is out, and know no error
    events; newer ones read all the time.
    """

    async def upload(client: AsyncClient) -> None:
        for event in (*chunks(data), AudioStop().event()):
            await client.write_event(event)

    async def receive(client: AsyncClient) -> str | None:
        while (event := await client.read_event()) is not None:
            if Transcript.is_type(event.type):
                return Transcript.from_event(event).text
            if concurrent and Error.is_type(event.type):
                break
        return None

    try:
        async with served.client() as client:
            await client.write_event(Transcribe(language=language).event())
            await client.write_event(AudioStart(16_000, 2, 1).event())
            if not concurrent:
                await upload(client)
                return await receive(client)
            async with asyncio.TaskGroup() as group:
                uploading = group.create_task(upload(client))
                text = await receive(client)
                uploading.cancel()
            return text
    except OSError:
        return None
