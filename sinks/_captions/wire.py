"""What goes over the wire: messages, and answers to HTTP requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

from .address import is_loopback, parse_host

__all__ = ["Answer", "answer", "message", "page_for"]

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def message(body: Mapping[str, Any]) -> bytes:
    """A message that is no event: JSON in UTF-8, without ``seq``."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def answer(
    method: str, target: str, hosts: Sequence[str], origins: Sequence[str], names: Sequence[str]
) -> Answer | None:
    """Answer a request, or None for one that may open a WebSocket.

    A page of a stranger in a browser on this machine reaches us too. It has another origin; and
    one whose name was made to point here (DNS rebinding) still sends that name as the host.

    Args:
        method: of the request.
        target: path and query.
        hosts: values of the ``Host`` header.
        origins: values of the ``Origin`` header; only browsers send one.
        names: what this machine may be called, besides addresses of its own loopback
            interface; empty where everybody may read.
    """
    found = _answer(method, target, hosts, origins, names)
    if found is None:
        return None
    return replace(found, headers={**found.headers, "Connection": "close"})


def _answer(
    method: str, target: str, hosts: Sequence[str], origins: Sequence[str], names: Sequence[str]
) -> Answer | None:
    name, port = parse_host(hosts)
    if not name:
        return page_for(hosts)
    if names and name not in names and not is_loopback(name):
        return _refusal(HTTPStatus.FORBIDDEN, f"captions are for this machine, as {names[0]}")
    if origins and [_host_of(origin) for origin in origins] != [name + port]:
        return _refusal(HTTPStatus.FORBIDDEN, "captions are not for other sites' pages")
    path = target.partition("?")[0]
    if path not in ("/", "/ws"):
        return _refusal(HTTPStatus.NOT_FOUND, "there is / (the page) and /ws (the events)")
    if path == "/ws" and method == "GET":
        return None
    if method not in ("GET", "HEAD") or path == "/ws":
        allowed = "GET" if path == "/ws" else "GET, HEAD"
        return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"only {allowed}", {"Allow": allowed})
    page = page_for(hosts)
    return page if method == "GET" else replace(page, body=b"")


def page_for(hosts: Sequence[str]) -> Answer:
    """The page, which may speak to its own host alone.

    Its WebSocket is ``ws`` below its own address: ``/ws`` for ``/``, ``/view/1/ws`` for
    ``/view/1``.

    Args:
        hosts: values of the request's ``Host`` header.
    """
    host = "".join(parse_host(hosts))
    if not host:
        return _refusal(HTTPStatus.BAD_REQUEST, "the request names no host")
    body, script = _page()
    policy = (
        f"default-src 'none'; script-src 'sha256-{script}'; img-src data:; "
        # Where captions are overlaid, people style them: the broadcasting program adds CSS.
        "style-src 'unsafe-inline'; "
        f"connect-src ws://{host} wss://{host}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Length": str(len(body)),
        "Content-Security-Policy": policy,
        **_ALWAYS,
    }
    return Answer(HTTPStatus.OK, headers, body)


_ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _refusal(status: HTTPStatus, reason: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = f"{status.value} {status.phrase}: {reason}\n".encode()
    kind = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    return Answer(status, {**kind, **_ALWAYS, **(headers or {})}, body)


def _host_of(origin: str) -> str:
    """Host and port of an origin; "" for "null" and the like."""
    scheme, _, host = origin.lower().partition("://")
    return host if scheme in ("http", "https") else ""


@cache
def _page() -> tuple[bytes, str]:
    """The captions page, and the hash of its script as a content security policy has it."""
    body = resources.files(__package__).joinpath("page.html").read_bytes()
    found = _SCRIPT.search(body)
    assert found is not None
    return body, base64.b64encode(hashlib.sha256(found[1]).digest()).decode()
