"""A client of ``/v1/stream`` that does as it is told, right or wrong, and a source in a hurry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from fakes import chunks_of
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from streaming.audio import AudioChunk, Samples, seconds

__all__ = ["Hurried", "JSON", "StreamClient", "events_of", "pcm", "resume", "whole_log"]

JSON = dict[str, Any]


def pcm(samples: Samples) -> bytes:
    """As 16-bit samples."""
    return (32_767 * samples).astype("<i2").tobytes()


class Hurried:
    """Samples that come as if they were spoken so many times as fast."""

    live = True

    def __init__(self, samples: Samples, speed: float) -> None:
        self._samples = samples
        self._speed = speed

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        clock = asyncio.get_running_loop().time
        zero_s = clock()
        for chunk in chunks_of(self._samples):
            await asyncio.sleep(zero_s + seconds(chunk.end_sample) / self._speed - clock())
            yield chunk


class StreamClient:
    """One connection. Leaving the block breaks it off without a goodbye."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.said: list[JSON] = []
        """Every frame of the server that was read, in order."""
        self.close_code: int | None = None
        self.stream: ClientConnection

    async def __aenter__(self) -> Self:
        self.stream = await connect(self._address, close_timeout=1, ping_interval=None)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.stream.transport.abort()
        await self.stream.wait_closed()

    async def send(self, *frames: bytes | JSON) -> None:
        """Send audio, or messages."""
        for frame in frames:
            await self.stream.send(frame if isinstance(frame, bytes) else json.dumps(frame))

    async def until(self, **fields: Any) -> JSON:
        """Read on to the first frame with these fields."""
        while True:
            said: JSON = json.loads(await self.stream.recv())
            self.said.append(said)
            if all(said.get(name) == value for name, value in fields.items()):
                return said

    async def to_the_end(self) -> list[JSON]:
        """Read until the server closes; all that was said on this connection."""
        try:
            while True:
                self.said.append(json.loads(await self.stream.recv()))
        except ConnectionClosed:
            self.close_code = self.stream.close_code
        return self.said


def events_of(said: list[JSON]) -> list[JSON]:
    """The events among what a server says."""
    return [each for each in said if "seq" in each]


def resume(hello: JSON, last_seq: int, sent: int = 0) -> JSON:
    """The message that claims a session, by what its first frame said."""
    return {"type": "resume", "secret": hello["secret"], "last_seq": last_seq, "sent": sent}


async def whole_log(address: str, hello: JSON) -> list[JSON]:
    """Every event of a session that has ended, as the server has them."""
    async with StreamClient(f"{address}?session={hello['session']}") as observer:
        await observer.send(resume(hello, -1, 2**30))
        return events_of(await observer.to_the_end())
