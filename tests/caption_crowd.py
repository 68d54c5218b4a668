"""A live session with captions and viewers that behave badly, each in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

from fakes import Script, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from sinks import captions
from streaming.evaluation.delays import committed_words
from streaming.events import Committed, Notice
from streaming.pipeline import Pipeline
from streaming.protocols import Hypothesis, SourceItem, Window

__all__ = ["Ran", "Seen", "session", "viewers"]

SAID = say(16, 16, 16, word_s=0.2, gap_s=0.05)
PASS_S = 0.1
LATE_S = 6.0
"""The late viewer comes so long after the others, in the middle of an utterance."""
_HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@dataclass
class Ran:
    """What became of a session."""

    delays_s: list[float]
    """From the end of each word to the event that commits it."""
    text: str
    """All that was committed."""
    waiting: int
    """Events that waited for the slowest viewer at the end."""
    left: dict[str, int]
    """What the sink did not give back."""


@dataclass
class Seen:
    """What the viewers saw."""

    visits: int = 0
    """Of those who come and go."""
    most_words: int = 0
    """In the longest text that one of these was shown."""
    late_snapshot: str = ""
    late_committed: list[str] = field(default_factory=list)


class _SlowBackend(ScriptedBackend):
    def decode(self, window: Window) -> Hypothesis:
        time.sleep(PASS_S)
        return super().decode(window)


@contextmanager
def _process(work: Any, *arguments: Any) -> Iterator[Connection]:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield mine
    finally:
        mine.close()
        process.join(5)
        process.kill()


# -- the session --------------------------------------------------------------------------------


@contextmanager
def session() -> Iterator[Connection]:
    """A session that sends the address of its page, begins on any answer, and sends `Ran`."""
    with _process(_run) as pipe:
        yield pipe


def _run(pipe: Connection) -> None:
    asyncio.run(_transcribe(pipe))


async def _transcribe(pipe: Connection) -> None:
    source = ScriptedSource(_chatty(SAID), live=True, paced=True)
    captions._SEND_BUFFER = 2048  # or all of this short session would fit in there
    sink = captions.CaptionsSink(port=0)
    n_open, n_tasks = _open_sockets(), len(asyncio.all_tasks())
    with worker_for(_SlowBackend(SAID)) as worker:
        async with Pipeline(source, worker, make_parts(), [sink]) as pipeline:
            pipe.send(sink.url)
            await asyncio.to_thread(pipe.recv)
            events = [event async for event in pipeline.events()]
            waiting = max((len(viewer._waiting) for viewer in sink._publisher._viewers), default=0)
    pipe.send(
        Ran(
            [word.committed_s - word.word.end_s for word in committed_words(events)],
            "".join(event.text for event in events if isinstance(event, Committed)),
            waiting,
            {
                "sockets": _open_sockets() - n_open,
                "tasks": len(asyncio.all_tasks()) - n_tasks,
                "viewers": sink._publisher.n_viewers,
                "connections": len(sink._connections),
            },
        )
    )


def _chatty(said: Script) -> Iterator[SourceItem]:
    """The audio, and so much talk between its chunks that it does not fit between processes."""
    for chunk in chunks_of(said.audio()):
        yield chunk
        yield Notice(level="info", message="x" * 1000)


def _open_sockets() -> int:
    count = 0
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # the listing's own
            count += stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    return count


# -- the viewers --------------------------------------------------------------------------------


@contextmanager
def viewers(url: str, *, coming_and_going: int) -> Iterator[Connection]:
    """Watch until the session ends: sends None once there, and `Seen` after the end.

    One viewer asks for the events and never reads a byte. One comes late and reads all that
    is left. The others come, stay for a moment and go, again and again, half of them rudely.
    """
    with _process(_watch, url, coming_and_going) as pipe:
        yield pipe


def _watch(pipe: Connection, url: str, coming_and_going: int) -> None:
    host = urlsplit(url).netloc
    with closing(_stopped(host)):
        pipe.send(asyncio.run(_see(pipe, f"ws://{host}/ws", coming_and_going)))


def _stopped(host: str) -> socket.socket:
    name, _, port = host.rpartition(":")
    stopped = socket.socket()
    stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    stopped.connect((name, int(port)))
    stopped.sendall(_HANDSHAKE.format(host).encode())
    return stopped


async def _see(pipe: Connection, url: str, coming_and_going: int) -> Seen:
    seen = Seen()
    pipe.send(None)
    guests = [asyncio.create_task(_come_and_go(url, n, seen)) for n in range(coming_and_going)]
    await asyncio.sleep(LATE_S)
    async with connect(url) as late:
        seen.late_snapshot = _text(json.loads(await late.recv()))
        async for data in late:
            body = json.loads(data)
            if body["type"] == "committed":
                seen.late_committed.append(body["text"])
    await asyncio.gather(*guests)
    return seen


async def _come_and_go(url: str, n: int, seen: Seen) -> None:
    rng = random.Random(n)
    with suppress(OSError, WebSocketException):  # until nobody answers any more
        while True:
            await asyncio.sleep(rng.uniform(0.1, 0.5))
            async with connect(url) as viewer:
                shown = _text(json.loads(await viewer.recv()))
                seen.most_words = max(seen.most_words, len(shown.split()))
                with suppress(TimeoutError):
                    async with asyncio.timeout(rng.uniform(0.5, 2.0)):
                        async for _ in viewer:
                            pass
                if n % 2:
                    viewer.transport.abort()
            seen.visits += 1


def _text(snapshot: dict[str, Any]) -> str:
    """The text so far."""
    assert snapshot["type"] == "snapshot"
    return "".join(line["text"] for each in snapshot["sessions"] for line in each["lines"])
