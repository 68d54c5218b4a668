"""A source that records from a device of any kind: stalls, faults and reconnecting."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from streaming.audio import Flush
from streaming.errors import SourceError
from streaming.events import Notice
from streaming.protocols import SourceItem

from ._live import Block, LiveAudio, SilenceWatch

__all__ = ["Connection", "Device", "DeviceSource", "Inbox"]

CAPACITY_S = 10.0
"""Audio that waits for the event loop, at most."""
STALL_S = 3.0
"""A device that delivers nothing for so long is as good as gone."""
IDLE_S = 0.5
"""A monitor of what is played that delivers nothing for so long has nothing to play."""
TICK_S = 0.05
"""How often silence is filled in meanwhile."""
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 10.0
"""Wait before the first attempt to reconnect; it doubles with each one, up to the second."""


class Inbox:
    """Blocks of one connection, on their way from any thread to the event loop.

    Beyond its capacity the oldest block goes, and the next one says so.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # never held for long: the sound system's thread takes it
        self._blocks: deque[Block] = deque()
        self._waiting_s = 0.0
        self._changed = asyncio.Event()
        self.last_s = self._loop.time()
        """When something last arrived; at first, when this was made."""
        self.ended = ""
        """Why nothing more will come, if so."""

    def put(self, frames: NDArray[Any], rate: int, *, overflowed: bool = False) -> None:
        """Add what the device delivered now; the array must be the inbox's own."""
        block = Block(frames, rate, self._loop.time(), overflowed)
        with self._lock:
            self.last_s = block.arrived_s
            self._blocks.append(block)
            self._waiting_s += block.duration_s
            while self._waiting_s > CAPACITY_S and len(self._blocks) > 1:
                dropped = self._blocks.popleft()
                self._waiting_s -= dropped.duration_s
                self._blocks[0] = self._blocks[0].after(dropped)
        self._wake()

    def end(self, why: str) -> None:
        """Say that the device has stopped by itself."""
        self.ended = why
        self._wake()

    async def get(self, until_s: float) -> Block | None:
        """The next block; None when there is none by that time, or will be none any more."""
        while True:
            ended = self.ended  # read first: no block follows it
            with self._lock:
                if self._blocks:
                    block = self._blocks.popleft()
                    self._waiting_s -= block.duration_s
                    return block
                self._changed.clear()
            left_s = until_s - self._loop.time()
            if ended or left_s <= 0:
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(self._changed.set)


class Connection(Protocol):
    """A device that is open and delivers into its inbox."""

    name: str
    """For people: 'microphone "USB Audio"'."""

    async def close(self) -> None:
        """Stop it and free what it took; what hangs is left to a thread within a second."""
        ...


class Device(Protocol):
    """Something that can be opened, again and again."""

    async def open(self, inbox: Inbox) -> Connection:
        """Open it and start it.

        Raises:
            SourceError: there is no such device, or it cannot be opened. Cancelled or failed,
                it leaves nothing open.
        """
        ...


class DeviceSource:
    """Live audio of a device, numbered by the clock (see `LiveAudio`).

    A device that stops, or delivers nothing for three seconds, is closed and opened again until
    it is back; notices tell, what was said before is final at once, and the break is a gap with
    the reason "reconnect". What came before iteration began is kept, up to ten seconds.

    Args:
        device: what to open.
        chunk_s: length of a chunk in seconds.
        reconnect: False makes a device that is gone a `SourceError`.
        may_pause: True for a monitor of what a machine plays: no audio then means that nothing
            is played, and becomes silence.

    Raises:
        ConfigurationError: ``chunk_s`` is impossible.
        SourceError: on entering, the device cannot be opened; on iterating, it is gone.
    """

    live = True

    def __init__(
        self, device: Device, *, chunk_s: float, reconnect: bool, may_pause: bool = False
    ) -> None:
        self._device = device
        self._reconnects = reconnect
        self._may_pause = may_pause
        self._audio = LiveAudio(chunk_s, fills=may_pause)
        self._watch: SilenceWatch | None = None
        self._inbox: Inbox | None = None
        self._connection: Connection | None = None
        self._name = ""
        self._ready: deque[SourceItem] = deque()
        self._error: SourceError | None = None
        self._lost_s: float | None = None
        self._delay_s = FIRST_DELAY_S

    async def __aenter__(self) -> Self:
        await self._open()
        if not self._may_pause:
            self._watch = SilenceWatch(self._name)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._error = SourceError("the source was left")
        await self._close()

    def __aiter__(self) -> AsyncIterator[SourceItem]:
        return self

    async def __anext__(self) -> SourceItem:
        if not self._name:
            raise SourceError("a source is iterated inside `async with`")
        await asyncio.sleep(0)  # much that waits must not starve the loop
        while not self._ready:
            if self._error is not None:
                raise self._error
            await self._advance()
        return self._ready.popleft()

    def _warn(self, code: str, message: str) -> None:
        self._ready.append(Notice(level="warning", code=code, message=message))

    async def _open(self) -> None:
        inbox = Inbox()
        self._connection = await self._device.open(inbox)
        self._inbox = inbox
        self._name = self._connection.name

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _advance(self) -> None:
        """Wait for something to happen, and make ready what comes of it."""
        if self._connection is None or self._inbox is None:
            await asyncio.sleep(self._delay_s)
            self._delay_s = min(2 * self._delay_s, LONGEST_DELAY_S)
            with suppress(SourceError):
                await self._open()
            return
        now_s = asyncio.get_running_loop().time()
        patience_s = IDLE_S if self._may_pause else STALL_S
        block = await self._inbox.get(max(self._inbox.last_s + patience_s, now_s + TICK_S))
        if block is not None:
            self._take(block)
        elif self._inbox.ended:
            await self._lose(self._inbox.ended)
        elif self._may_pause:
            now_s = asyncio.get_running_loop().time()
            self._welcome(now_s)
            self._ready.extend(self._audio.idle(now_s))
        else:
            await self._lose("")

    def _welcome(self, now_s: float) -> None:
        """Say that the device is back, if it was gone."""
        if self._lost_s is not None:
            text = f"{self._name} is back after {now_s - self._lost_s:.1f} s"
            self._ready.append(Notice(code="reconnected", message=text))
            self._lost_s, self._delay_s = None, FIRST_DELAY_S

    def _take(self, block: Block) -> None:
        self._welcome(block.arrived_s)
        self._ready.extend(self._audio.push(block))
        notice = self._watch and self._watch.push(block)
        if notice:
            self._ready.append(notice)

    async def _lose(self, why: str) -> None:
        """Finish what was said, and close what is left of the device.

        Args:
            why: it stopped; empty where it does not say so and delivers nothing.
        """
        self._ready.extend(self._audio.end())
        reason = why or f"no audio for {STALL_S:g} s"
        if not self._reconnects:
            self._error = SourceError(
                f"{self._name} is gone ({reason}); plug it in and start again"
            )
        if self._lost_s is None:
            self._lost_s = asyncio.get_running_loop().time()
            if not why:
                text = f"no audio from {self._name} for {STALL_S:g} s: is it unplugged?"
                self._warn("no_audio", text)
            if self._reconnects:
                self._ready.append(Flush())
                self._warn(
                    "reconnecting", f"{self._name} is gone ({reason}); trying to open it again"
                )
        await self._close()
