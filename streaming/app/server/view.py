"""``/view/SESSION``: the captions of a session, to read.

The page and its messages are those of `sinks.captions`; the WebSocket is at
``/view/SESSION/ws``. Whoever knows the session's id may look: nobody guesses it, and it lets
nobody speak, which takes the session's secret.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from sinks.publisher import Publisher, TooManyViewersError, page_for

from .access import refuse_websocket
from .refusal import TOO_BIG, TRY_LATER, Refusal
from .service import Service

__all__ = ["routes"]

_MOST_INCOMING = 1024
"""Bytes or characters of a message from a viewer. It is not read, but it has to arrive."""
_GOODBYE_S = 5.0
"""For a viewer to have room for the last message."""


def routes(service: Service) -> list[BaseRoute]:
    """The page and the events of every session that ``service.sessions`` has captions of."""

    def captions_for(asked: HTTPConnection[Any]) -> Publisher:
        found = service.sessions.captions_of(asked.path_params["session"])
        if found is None:
            raise Refusal(
                "unknown_session",
                "this session is not known here: it ended some time ago, or the server was "
                "restarted; ask for a new link",
                status=HTTPStatus.NOT_FOUND,
            )
        return found

    async def page(request: Request) -> Response:
        try:
            captions_for(request)
        except Refusal as refusal:
            headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
            return PlainTextResponse(f"{refusal.message}\n", refusal.status, headers)
        found = page_for(request.headers.getlist("host"))
        return Response(found.body, found.status, found.headers)

    async def follow(websocket: WebSocket) -> None:
        with contextlib.suppress(WebSocketDisconnect, TimeoutError):
            try:
                publisher = captions_for(websocket)
                await websocket.accept()
                await _follow(websocket, publisher)
            except Refusal as refusal:
                service.metrics.refused(refusal.code)
                async with asyncio.timeout(_GOODBYE_S):
                    await refuse_websocket(websocket, refusal)
            else:
                async with asyncio.timeout(_GOODBYE_S):
                    await websocket.close()

    return [
        Route("/view/{session}", page),
        Route("/view/{session}/", page),
        WebSocketRoute("/view/{session}/ws", follow),
    ]


async def _follow(websocket: WebSocket, publisher: Publisher) -> None:
    """Serve a viewer to the end of the session."""

    async def send(data: bytes) -> None:
        await websocket.send_text(data.decode())
        await asyncio.sleep(0)  # sending may not have waited: let the loop see who has gone

    try:
        await publisher.follow(send, _incoming(websocket))
    except TooManyViewersError as error:
        raise Refusal("too_many_viewers", str(error), close_code=TRY_LATER) from None


async def _incoming(websocket: WebSocket) -> AsyncIterator[None]:
    while (message := await websocket.receive())["type"] == "websocket.receive":
        if len(message.get("text") or message.get("bytes") or "") > _MOST_INCOMING:
            raise Refusal("too_long", "viewers have nothing to say here", close_code=TOO_BIG)
        yield
    raise WebSocketDisconnect(message["code"])
