"""A source that is appended to, and makes whoever appends wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ...audio import AudioChunk, Samples, samples_from_seconds, seconds
from ...channel import Channel, ChannelClosed
from ...protocols import SourceItem

__all__ = ["Inflow"]

_PIECE_SAMPLES = samples_from_seconds(0.1)
_ROOM_SAMPLES = samples_from_seconds(10.0)
"""Audio that may wait here: a whole command, while its session is made. Who waits does not see
that the client has left. What comes after this source holds 40 s more."""


class Inflow:
    """Audio that comes at any speed, none of which is dropped.

    Assistants often send what was recorded before, faster than it was said; the one who reads
    the connection waits here then, and the network makes the client wait.
    """

    live = False

    def __init__(self) -> None:
        self._channel = Channel(_ROOM_SAMPLES)
        self._end_sample = 0

    @property
    def audio_s(self) -> float:
        """Audio so far."""
        return seconds(self._end_sample)

    async def put(self, samples: Samples) -> None:
        """Add audio, shape ``(n,)``, of any length; returns once there was room for it.

        Raises:
            ChannelClosed: nobody reads any more, or it was ended.
        """
        for at in range(0, len(samples), _PIECE_SAMPLES):
            chunk = AudioChunk(samples[at : at + _PIECE_SAMPLES], self._end_sample)
            self._end_sample = chunk.end_sample
            await self._channel.put(chunk)

    def end(self) -> None:
        """No more will come; what waits is still heard."""
        self._channel.close()

    async def begun(self) -> bool:
        """Wait for the first audio, which stays; False where it ended without any."""
        await self._channel.wait()
        return self._end_sample > 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        return self

    async def __anext__(self) -> SourceItem:
        try:
            return await self._channel.get()
        except ChannelClosed:
            raise StopAsyncIteration from None
