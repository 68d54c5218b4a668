"""Live captions for any number of viewers: a page for a browser or an overlay, and its events.

One port serves both. ``GET /`` is the page. ``/ws`` is a WebSocket that sends

- first a ``snapshot``: the lines so far, at most the last 200 of a session (``truncated``
  says that there were more), the running partial, labels, and whether all has ended;
- then every event in the wire format of `streaming.events`, each once and in order;
- after an event that changes what is shown, ``lines``: where words stand is decided here,
  once for all viewers, so that a committed word never changes its line;
- ``skipped`` with a number of ``events`` and then a fresh snapshot, to a viewer that is slow;
- ``alive`` where nothing else was to be said for a while.

Only events carry ``seq``; whoever wants events alone ignores the other types.

The page takes parameters in its address, as in ``/?background=transparent&lines=1``:

============== ======================================== =====================================
``size``       of the letters: ``48``, ``48px``, ``80%`` 6 % of the window's height; in any
                                                        case a whole line fits
``font``       a font that the viewer has               the system's
``contrast``   ``normal``, ``high`` (white on black)    what the viewer's system prefers
``background`` ``transparent``, a colour, ``0a141e``    dark; transparent in OBS
``align``      ``left``, ``center``, ``right``          center
``lines``      1 to 12 for each speaker                 2
``clear``      seconds of silence, 0 for never          what the sink was told
``label``      ``on``, ``off``: names of speakers       on
``tentative``  ``1``, ``0``: text that may change       1
============== ======================================== =====================================
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from streaming.errors import ConfigurationError, SinkError
from streaming.events import Event, Notice

from ._captions.address import is_loopback, parse_address, reason
from ._captions.publisher import Publisher, TooManyViewersError
from ._captions.wire import answer
from ._report import log_notice

if TYPE_CHECKING:
    from websockets.asyncio.server import Server, ServerConnection
    from websockets.http11 import Request, Response

__all__ = ["CaptionsSink", "parse_address"]

_LEAVE_S = 0.8
"""Time for viewers to take the last events and say goodbye."""
_ABORT_S = 0.2
"""Time for connections that were cut off to be gone."""
_PING_S = 20.0
_OPEN_S = 5.0
"""Time for a request to arrive."""
_SEND_BUFFER = 65_536
"""Bytes that the system may hold for a viewer. By default it is megabytes, minutes of old text
that a viewer who fell behind would have to read first."""
_MOST_INCOMING = 1024
"""Bytes of a message from a viewer. It is not read, but it has to arrive."""
_MORE_CONNECTIONS = 64
"""Connections besides the viewers': requests for the page, viewers that are turned away."""
_TOO_MANY = 1013  # "try again later"


class CaptionsSink:
    """Shows a session to viewers on the network, by default on this machine only.

    A viewer may come at any time and sees what came before. Viewers never hold the session
    up: each has a bounded queue, is skipped ahead where it does not keep up, and is closed
    where it takes nothing any more. What viewers send is ignored.

    Args:
        host: address or name to listen on; "0.0.0.0" and "::" let everybody read who can
            reach this machine. On a loopback address, requests that name another host are
            refused, so that no site on the web can read along.
        port: 0 takes any free one.
        clear_after_s: silence after which the page clears the screen, unless it was told
            otherwise; 0 leaves the text.
        max_viewers: at once; more are turned away and told.
        stall_limit_s: a viewer that takes nothing for this long is closed.

    Raises:
        ConfigurationError: a value that cannot work.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        *,
        clear_after_s: float = 6.0,
        max_viewers: int = 100,
        stall_limit_s: float = 15.0,
    ) -> None:
        if max_viewers < 1:
            raise ConfigurationError("captions need at least one viewer")
        self.url = ""
        """Where the page is, once entered."""
        self.report: Callable[[Notice], None] = log_notice
        """Tells of this sink's own troubles; the pipeline replaces it."""
        self._host, self._port = host, port
        self._max_viewers = max_viewers
        self._names = ["localhost"]
        self._publisher = Publisher(
            clear_after_s=clear_after_s, max_viewers=max_viewers, stall_limit_s=stall_limit_s
        )
        self._connections: set[ServerConnection] = set()
        self._told = False
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        await self._publisher.__aenter__()
        self._server = server = await self._serve()
        address, port = server.sockets[0].getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        private = all(is_loopback(each.getsockname()[0]) for each in server.sockets)
        self._names = [shown, self._host.lower(), "localhost"] if private else []
        if private:
            self.url = f"http://{shown}:{port}/"
            readers = ""
        else:
            own = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(shown, shown)
            self.url = f"http://{own}:{port}/"
            readers = f", for everybody who can reach port {port} of this machine"
        self.report(
            Notice(level="info", code="captions", message=f"captions at {self.url}{readers}")
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        from websockets.protocol import State

        _let_nobody_in(server)
        server.close(close_connections=False)
        self._publisher.end()
        for connection in list(self._connections):
            if connection.state is State.CONNECTING:  # browsers open some in advance
                connection.transport.close()
        try:
            await _closed(server, _LEAVE_S)
        finally:
            for connection in list(self._connections):
                connection.transport.abort()
        await _closed(server, _ABORT_S)

    async def write(self, event: Event) -> None:
        """Hand the event to all viewers; does not wait for any of them."""
        await self._publisher.write(event)

    # -- the server ---------------------------------------------------------------------------

    async def _serve(self) -> Server:
        from websockets.asyncio.server import ServerConnection, serve

        connections, most = self._connections, self._max_viewers + _MORE_CONNECTIONS

        class Connection(ServerConnection):
            """Known to the sink from its first byte to its last."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                connections.add(self)
                if len(connections) > most:
                    transport.abort()
                    return
                raw = transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                connections.discard(self)

        try:
            return await serve(
                self._follow,
                self._host,
                self._port,
                process_request=self._process_request,
                create_connection=Connection,
                compression=None,
                server_header=None,
                open_timeout=_OPEN_S,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                close_timeout=_LEAVE_S,
                max_size=_MOST_INCOMING,
                max_queue=4,
            )
        except (OSError, UnicodeError) as error:
            raise SinkError(f"cannot show captions at {self._where}: {reason(error)}") from error

    @property
    def _where(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        from websockets.datastructures import Headers
        from websockets.http11 import Response

        found = answer(
            request.method,
            request.path,
            request.headers.get_all("Host"),
            request.headers.get_all("Origin"),
            self._names,
        )
        if found is None:
            return None
        return Response(found.status.value, found.status.phrase, Headers(found.headers), found.body)

    async def _follow(self, connection: ServerConnection) -> None:
        """Serve one viewer from its handshake to its end."""
        from websockets.exceptions import ConnectionClosed

        try:
            await self._publisher.follow(lambda data: connection.send(data, text=True), connection)
            await connection.close(1000, "the session has ended")
        except TooManyViewersError as error:
            self._turn_away()
            await connection.close(_TOO_MANY, str(error))
        except TimeoutError:
            connection.transport.abort()
        except ConnectionClosed:
            pass

    def _turn_away(self) -> None:
        if not self._told:
            self._told = True
            text = f"there are {self._max_viewers} viewers of the captions; more are turned away"
            self.report(Notice(level="warning", code="captions", message=text))


def _let_nobody_in(server: Server) -> None:
    """Accept no more connections.

    One that arrived between asking the server to close and its closing would be forgotten by
    Python 3.11, with its socket left open.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows
        for each in server.sockets:
            loop.remove_reader(each)


async def _closed(server: Server, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await server.wait_closed()
