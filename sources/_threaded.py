"""What sources that decode on a thread of their own have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from streaming.audio import AudioChunk
from streaming.errors import SourceError

from ._background import BackgroundReader
from ._pace import Pacer
from ._part import Part

if TYPE_CHECKING:
    from ._open import Header

__all__ = ["ThreadedSource"]

AHEAD = 32
"""Chunks decoded before they are asked for; a longer file takes no more memory."""
CLOSE_TIMEOUT_S = 0.05
"""Freeing the decoder takes milliseconds, unless it waits for a network."""

T = TypeVar("T")


class ThreadedSource(Generic[T]):
    """Items of a blocking generator, handed out at a pace.

    Args:
        items: the generator; it may block.
        part: what of the recording is wanted.
        pacer: tells when a chunk is due.
        ahead: items read before they are asked for; the thread then waits, so that whoever
            sends is held back and nothing is lost here.
        stop: makes a generator that is reading end soon. Leaving then waits for its end.
    """

    live = False

    def __init__(
        self,
        items: Generator[T, None, None],
        *,
        part: Part,
        pacer: Pacer,
        ahead: int = AHEAD,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self._items = items
        self._part = part
        self._pacer = pacer
        self._ahead = ahead
        self._stop = stop
        self._length_s: float | None = None
        self._reader: BackgroundReader[T] | None = None
        self._next: T | None = None

    @property
    def length_s(self) -> float | None:
        """Seconds that the source will last by what its header declares.

        None before it is entered, for live streams, and where the header does not tell.
        """
        return self._length_s

    def _opened(self, header: Header) -> None:
        """Take over what the header says. Called on the reading thread, before any item."""
        if header.length_s is not None:
            self._length_s = max(0.0, min(header.length_s, self._part.stop_s) - self._part.start_s)

    def _paced(self, item: T) -> AudioChunk | None:
        """The chunk whose moment an item waits for, if it waits."""
        return item if isinstance(item, AudioChunk) else None

    async def __aenter__(self) -> Self:
        self._reader = BackgroundReader(self._items, ahead=self._ahead, name="media source")
        try:
            # The first chunk now, so that what cannot be read fails here.
            self._next = await self._reader.get()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stop is not None:
            self._stop()
        if self._reader is not None:
            await self._reader.close(CLOSE_TIMEOUT_S if self._stop is None else None)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._reader is None:
            raise SourceError("a source is iterated inside `async with`")
        if self._next is None:
            self._next = await self._reader.get()
            if self._next is None:
                raise StopAsyncIteration
        if (chunk := self._paced(self._next)) is not None:
            await self._pacer.wait_for(chunk)
        item, self._next = self._next, None
        return item
