"""A way to a server on which connections break: in mid-word, abruptly or without a sign."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from tcp_gate import Gate

__all__ = ["Cut", "CuttingProxy", "How"]

How = Literal["reset", "freeze"]
"""reset: both ends learn of it at once. freeze: neither does, but nothing passes any more."""
_READ_S = 0.02
"""What a receiver has to read its last bytes: a reset takes those away that it has not."""


@dataclass(frozen=True)
class Cut:
    """What becomes of a connection, after so many bytes in one direction."""

    up: int | None = None
    """Bytes of the client that still pass."""
    down: int | None = None
    """Bytes of the server that still pass."""
    how: How = "reset"


@dataclass(eq=False)
class _Connection:
    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    broken: bool = False
    frozen: bool = False


class CuttingProxy(Gate):
    """Breaks connections as planned when they come, or on command."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.plans: deque[Cut] = deque()
        """For the connections that come, one each, and again for the next where one ended before.
        Of more of them nothing becomes."""
        self.n_broken = 0
        self._connections: set[_Connection] = set()
        self._closed = asyncio.Event()

    async def open(self) -> None:
        """Let connections in, on the same port each time."""
        self._closed.clear()
        await super().open()

    async def close(self) -> None:
        """Break all connections, frozen ones included, and refuse new ones."""
        self._closed.set()
        await super().close()

    def break_all(self, how: How = "reset") -> None:
        """Break what is connected and not frozen."""
        for connection in [each for each in self._connections if not each.frozen]:
            self._break(connection, how)

    def _break(self, connection: _Connection, how: How) -> None:
        self.n_broken += 1
        connection.broken = True
        if how == "freeze":
            connection.frozen = True
            return
        for writer in connection.ends:
            raw = writer.get_extra_info("socket")
            with suppress(OSError):  # closed meanwhile
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        plan = self.plans.popleft() if self.plans else None
        cut = plan or Cut()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:  # there is no server
            self._plan_again(plan)
            writer.transport.abort()
            return
        connection = _Connection((writer, back))
        self._connections.add(connection)
        self._writers |= {writer, back}
        try:
            up = asyncio.create_task(self._carry(connection, reader, back, cut.up, cut.how))
            down = asyncio.create_task(self._carry(connection, there, writer, cut.down, cut.how))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
        finally:
            if not connection.broken:
                self._plan_again(plan)
            self._connections.discard(connection)
            self._writers -= {writer, back}
            for end in connection.ends:
                end.close()

    def _plan_again(self, plan: Cut | None) -> None:
        if plan is not None:
            self.plans.appendleft(plan)

    async def _carry(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: int | None,
        how: How,
    ) -> None:
        """Pass on what one end says, until it ends or the connection breaks."""
        with suppress(OSError):
            while data := await reader.read(65_536):
                if connection.frozen:
                    break
                passed = data[:left]
                writer.write(passed)
                await writer.drain()
                if left is not None and (left := left - len(passed)) == 0:
                    await asyncio.sleep(_READ_S)
                    self._break(connection, how)
                    break
        if connection.frozen:
            await self._closed.wait()
