"""Temporary."""

from __future__ import annotations
from collections.abc import Callable
from typing import Any, Self
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from ...events import Event
from .service import Service


class Metrics:
    def event(self, event: Event) -> None:
        pass

    def watch(self, name: str, read: Callable[[], float]) -> None:
        pass

    def refused(self, code: str) -> None:
        pass

    def began(self) -> None:
        pass

    def ready(self) -> None:
        pass

    def upload(self, audio_s: float, compute_s: float) -> None:
        pass


class MetricsSink:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        pass

    async def write(self, event: Event) -> None:
        self._metrics.event(event)


def routes(service: Service) -> list[BaseRoute]:
    async def ok(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    return [Route("/healthz", ok), Route("/readyz", ok)]
