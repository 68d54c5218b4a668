"""The process of the server: its socket, its loop, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from sinks.publisher import reason

from ...errors import ConfigurationError
from .connections import uvicorn_options
from .door import Door
from .limits import Limits

__all__ = ["WebServer", "listen"]

_LEAVE_S = 2
"""What connections have to close once the sessions have ended."""
_TLS_S = 5.0
"""For the handshakes of TLS, at the begin and at the end."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that no model is loaded for an address that cannot be had.

    Raises:
        ConfigurationError: it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"cannot serve at {host}:{port}: {reason(error)}") from error


class WebServer(uvicorn.Server):
    """uvicorn with our bounds, without its signal handlers and its words.

    Args:
        application: what answers.
        limits: bounds.
        door: counts connections.
        tls: serves https and wss.
    """

    def __init__(
        self, application: ASGIApp, limits: Limits, door: Door, tls: ssl.SSLContext | None
    ) -> None:
        for name in ("uvicorn", "websockets"):  # they tell addresses with their queries
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what strangers send
        config = uvicorn.Config(
            application,
            lifespan="off",
            timeout_graceful_shutdown=_LEAVE_S,
            **uvicorn_options(limits, door),
        )
        config.load()
        config.ssl = tls
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; as uvicorn does, which leaves a minute for every half-open handshake of TLS."""
        loop = asyncio.get_running_loop()
        config = self.config
        tls: dict[str, Any] = {}
        if config.ssl is not None:
            times = {"ssl_handshake_timeout": _TLS_S, "ssl_shutdown_timeout": _TLS_S}
            tls = {"ssl": config.ssl, **times}

        def connection() -> asyncio.Protocol:
            make = cast(Any, config.http_protocol_class)
            made = make(config=config, server_state=self.server_state, app_state={})
            return cast(asyncio.Protocol, made)

        self.servers = [
            await loop.create_server(connection, sock=each, backlog=config.backlog, **tls)
            for each in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to the program: sessions are drained first."""
        yield
