"""The addresses of the server, and who answers."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from . import metrics, openai_api, page, stream, view, whisper_cpp_api
from .access import Access, AccessMiddleware
from .service import Service

__all__ = ["make_application"]


def make_application(service: Service, access: Access) -> ASGIApp:
    """Everything the server answers.

    Args:
        service: what all parts share.
        access: who may come in.
    """
    routes = [
        *stream.routes(service),
        *view.routes(service),
        *openai_api.routes(service),
        *whisper_cpp_api.routes(service),
        *metrics.routes(service),
        *page.routes(),
    ]
    return AccessMiddleware(Starlette(routes=routes), access, service.metrics.refused)
