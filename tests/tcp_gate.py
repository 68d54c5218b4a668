"""A way to a server that a test can cut, close and slow down."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

__all__ = ["Gate"]


class Gate:
    """Listens on a port of the loopback and passes bytes to and from another one."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.n_connections = 0
        self.delay_s = 0.0
        """What each piece waits on its way back from the server."""
        self._answering = asyncio.Event()
        self._answering.set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Let connections in, on the same port each time."""
        self._listener = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Break all connections and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()
        await asyncio.sleep(0.01)

    def hold(self) -> None:
        """Keep back what the server says, from now on."""
        self._answering.clear()

    def release(self) -> None:
        """Pass on what the server says, and said meanwhile."""
        self._answering.set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._writers.add(back)
            try:
                await asyncio.gather(
                    self._copy(reader, back, delayed=False), self._copy(there, writer, delayed=True)
                )
            finally:
                self._writers.discard(back)
                back.transport.abort()
        except OSError:
            pass  # an end of it is gone
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool
    ) -> None:
        while data := await reader.read(65_536):
            if delayed:
                await self._answering.wait()
                await asyncio.sleep(self.delay_s)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError
