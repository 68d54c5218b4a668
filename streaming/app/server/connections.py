"""Temporary."""

from __future__ import annotations
from typing import Any
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from .limits import Limits


class HttpConnection(H11Protocol):
    @classmethod
    def bounded(cls, limits: Limits) -> Any:
        return cls


class WebSocketConnection(WebSocketsSansIOProtocol):
    @classmethod
    def bounded(cls, limits: Limits) -> Any:
        return cls
