"""Temporary."""

from starlette.routing import BaseRoute
from .service import Service


def routes(service: Service) -> list[BaseRoute]:
    return []
