"""Temporary."""

from __future__ import annotations
from collections.abc import Iterable
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketState
from .refusal import Refusal


class Tokens:
    @classmethod
    def read(cls, name: str | None) -> Tokens:
        return cls()


class Access:
    def __init__(
        self, tokens: Tokens, *, address: str, hosts: Iterable[str], origins: Iterable[str]
    ) -> None:
        pass

    def refresh(self) -> set[str]:
        return set()


class AccessMiddleware:
    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["client"] = ""
        await self.app(scope, receive, send)


def refusal_response(refusal: Refusal) -> Response:
    return JSONResponse(
        {
            "error": {
                "message": refusal.message,
                "type": "invalid_request_error",
                "code": refusal.code,
            }
        },
        status_code=refusal.status,
    )


async def refuse_websocket(websocket: WebSocket, refusal: Refusal) -> None:
    import json

    if websocket.application_state is WebSocketState.CONNECTING:
        await websocket.accept()
    await websocket.send_text(json.dumps(refusal.body()))
    await websocket.close(refusal.close_code, refusal.message[:100])
