"""One request with a file: received, heard and answered while its client is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from ...errors import StreamingError
from .access import refusal_response
from .forms import Form, received_form
from .refusal import TRY_LATER, Refusal
from .service import Service

__all__ = ["Answer", "UploadEndpoint"]

_LINGER_S = 1.0
"""How long what a refused client still sends is read, so that it gets to read the refusal."""

_RETRY_AFTER_S = 5

Answer = Callable[[Form, Scope, Receive, Send], Coroutine[Any, Any, None]]
"""Hears the file of a form, and sends the response. A `Refusal` may be raised before that."""


class UploadEndpoint:
    """A route's application: receives a form and has it answered, while its client is there.

    Args:
        service: bounds, and who is next.
        answer: does the work.
    """

    def __init__(self, service: Service, answer: Answer) -> None:
        self._service = service
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = _Body(receive)
        client = scope.get("state", {}).get("client", "")
        sending = _Sending(send, self._service.limits.request_s)
        with contextlib.suppress(ClientDisconnect):  # nobody is there to be answered
            try:
                with self._service.uploads.let_in(client) as check:
                    self._check_ready()
                    limits = self._service.limits
                    async with received_form(scope, body, limits) as form:
                        form.check = check
                        await _while_connected(body, self._answer(form, scope, body, sending))
            except StreamingError as error:
                if sending.begun:
                    raise
                refusal = _refusal(error)
                self._service.metrics.refused(refusal.code)
                await _refuse(refusal, scope, body, sending)

    def _check_ready(self) -> None:
        """Refuse what would have the machine look slower while its speed is measured."""
        if not self._service.metrics.is_ready:
            raise Refusal(
                "not_ready",
                "the model is being loaded, and its speed measured; try again in a moment",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                close_code=TRY_LATER,
                retry_after_s=_RETRY_AFTER_S,
            )


class _Body:
    """Receives a request, and knows whether all of it has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.ended = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.ended = self.ended or not message.get("more_body", False)
        return message


class _Sending:
    """Sends a response to a client that reads it; one that does not counts as gone."""

    def __init__(self, send: Send, timeout_s: float) -> None:
        self._send = send
        self._timeout_s = timeout_s
        self.begun = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(message)
        except TimeoutError:
            raise ClientDisconnect from None


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; cancel it when the client goes away."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refusal(error: StreamingError) -> Refusal:
    if isinstance(error, Refusal):
        return error
    return Refusal("internal", str(error), status=HTTPStatus.INTERNAL_SERVER_ERROR)


async def _refuse(refusal: Refusal, scope: Scope, body: _Body, send: Send) -> None:
    """Say no; a client that is still sending gets a moment to notice.

    A socket that is closed while bytes wait unread is reset, and what was said on it lost.
    """
    response = refusal_response(refusal)
    if body.ended:
        await response(scope, body, send)
        return
    response.headers["connection"] = "close"
    headers = {"type": "http.response.start", "status": response.status_code}
    await send({**headers, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while not body.ended:
                await body()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
