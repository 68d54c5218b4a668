"""All connections of one server, and its end."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from ...errors import BackendError
from ..server.memory import give_back
from ..server.refusal import Refusal
from .connection import Connection
from .service import Service
from .wire import MAX_HEADER_BYTES

__all__ = ["WyomingServer"]

_GIVE_BACK_S = 2.0
_TURNED_AWAY = 64
"""Clients that are told at once that there are too many; more of them are not told."""


class WyomingServer:
    """Serves whoever connects.

    Args:
        service: the model and the bounds.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._turned_away: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Connections."""
        return len(self._connections)

    async def serve(self, listener: socket.socket) -> None:
        """Let clients in, until cancelled; those that are in stay.

        Raises:
            BackendError: the model is broken for good.
        """
        server = await asyncio.start_server(self._enter, sock=listener, limit=MAX_HEADER_BYTES)
        giving_back = asyncio.create_task(self._give_back())
        try:
            await asyncio.wrap_future(self._service.worker.ended)
        finally:
            giving_back.cancel()
            server.close()
        raise _broken()

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client to its end; cancelled, it stays.

        Raises:
            BackendError: the model is broken for good.
        """
        self._enter(reader, writer)
        ended = asyncio.wrap_future(self._service.worker.ended)
        try:
            waited: set[asyncio.Future[Any]] = {*self._connections, ended}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if self._service.worker.error is not None:
            raise _broken()

    async def stop(self) -> None:
        """Begin nothing any more, and end: running transcriptions have their time to finish."""
        self._service.draining = True
        for task, connection in self._connections.items():
            if not connection.busy:
                task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._service.limits.drain_s)
        ending = [*self._connections, *self._turned_away]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _give_back(self) -> None:
        """Leave to others the memory of transcriptions that have ended."""
        while True:
            await self._service.left.wait()
            await asyncio.sleep(_GIVE_BACK_S)
            self._service.left.clear()
            await asyncio.to_thread(give_back)

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._service)
        if len(self._connections) < self._service.limits.max_connections:
            task = asyncio.create_task(connection.run(), name="wyoming connection")
            self._connections[task] = connection
            task.add_done_callback(lambda _: self._connections.pop(task))
        elif len(self._turned_away) < _TURNED_AWAY:
            crowded = Refusal("too_many_connections", "too many connections; try again later")
            away = asyncio.create_task(connection.refuse(crowded))
            self._turned_away.add(away)
            away.add_done_callback(self._turned_away.discard)
        else:
            writer.transport.abort()


def _broken() -> BackendError:
    return BackendError("the model takes no more work; start the server again")
