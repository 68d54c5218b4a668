"""Who may come in: hosts, origins, tokens, and how those are told who may not.

Three questions are asked of every request, in this order:

1. Whom does it take us for? A page of a stranger whose name was made to point to this machine
   (DNS rebinding) still sends that name as ``Host``. On a loopback address, and wherever names
   were allowed, only those and the ones of this machine will do.
2. Whose page sent it? Browsers send the ``Origin`` with WebSockets and with what may change
   something, and nothing else keeps a page from opening a WebSocket to another site.
3. Who is it? Where there are tokens, all paths but the public ones want one.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from sinks.publisher import is_loopback, parse_host

from ...errors import ConfigurationError
from .refusal import Refusal
from .tokens import Tokens

__all__ = [
    "PUBLIC",
    "Access",
    "AccessMiddleware",
    "refusal_response",
    "refuse_websocket",
]

PUBLIC = ("/", "/page/", "/view/", "/healthz", "/readyz")
"""Paths that need no token; those that end in a slash, but the first, with all that is below.

The name of a session is the permission to read it: it cannot be guessed.
"""

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]+)/?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Access:
    """Decides who may come in.

    Args:
        tokens: who has one.
        address: that the server listens on; hosts are checked on those of the loopback.
        name: of that address, as it was asked for: a host as well.
        hosts: names that the server has besides these. Where there are any, hosts are checked
            on every address.
        origins: of pages of other sites that may use it, ``https://captions.example``.
        public: paths for which no token is asked, see `PUBLIC`.

    Raises:
        ConfigurationError: a host or an origin that is none.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        address: str = "127.0.0.1",
        name: str = "",
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        public: Collection[str] = PUBLIC,
    ) -> None:
        self.origins = tuple(_allowed_origin(origin) for origin in origins)
        """Allowed besides the server's own, as browsers write them."""
        self._tokens = tokens
        allowed = {_allowed_host(host) for host in hosts}
        self._names = allowed | {name.lower().strip("[]")}
        self._checks_hosts = bool(allowed) or is_loopback(address)
        self._paths = frozenset(path for path in public if path == "/" or path[-1] != "/")
        self._folders = tuple(path for path in public if path != "/" and path[-1] == "/")

    @property
    def wants_tokens(self) -> bool:
        """Whether it takes one to come in."""
        return self._tokens.required

    def refresh(self) -> set[str]:
        """Names whose tokens were revoked since the last call, see `Tokens.refresh`."""
        return self._tokens.refresh()

    def check_host(self, headers: Headers) -> None:
        """Turn away who takes us for another server.

        Raises:
            Refusal: the host is missing, or not one of ours.
        """
        host = parse_host(headers.getlist("host"))[0].strip("[]")
        if not self._checks_hosts:
            return
        if not host:
            raise _refusal("host", "the request names no host", HTTPStatus.BAD_REQUEST)
        if host in self._names or is_loopback(host):
            return
        raise _refusal(
            "host",
            "the server is not known by this name; its option --allow-host adds one",
            HTTPStatus.MISDIRECTED_REQUEST,
        )

    def check_origin(self, headers: Headers) -> None:
        """Turn away pages of other sites.

        Raises:
            Refusal: there is an origin, and it is neither ours nor allowed.
        """
        origins = headers.getlist("origin")
        if not origins or (len(origins) == 1 and self._is_ours(origins[0].lower(), headers)):
            return
        raise _refusal(
            "origin",
            "pages of other sites may not use this server; its option --allow-origin lets one in",
            HTTPStatus.FORBIDDEN,
        )

    def check_token(self, scope: Scope) -> str:
        """Find out whose request it is.

        Returns:
            The name of its token, "" where none is asked for.

        Raises:
            Refusal: there is no token, or not a valid one.
        """
        if not self._tokens.required:
            return ""
        token = _token_of(scope)
        name = None if token is None else self._tokens.name_of(token)
        if name is not None:
            return name
        if self._is_public(_path_of(scope)):
            return ""
        raise _refusal(
            "unauthorized",
            "the server asks for a token: Authorization: Bearer TOKEN, or ?token=TOKEN"
            if token is None
            else "this token is not valid here",
            HTTPStatus.UNAUTHORIZED,
        )

    def _is_ours(self, origin: str, headers: Headers) -> bool:
        if origin in self.origins:
            return True
        scheme, _, place = origin.partition("://")
        port = _DEFAULT_PORTS.get(scheme, "")
        host = "".join(parse_host(headers.getlist("host")))
        return bool(port and host) and place.removesuffix(port) == host.removesuffix(port)

    def _is_public(self, path: str) -> bool:
        return path in self._paths or path.startswith(self._folders)


class AccessMiddleware:
    """Lets those in who may, with the name of their token in ``scope["state"]["client"]``.

    Args:
        app: for those.
        access: says who may.
        on_refusal: is told the code of every refusal.
    """

    def __init__(
        self, app: ASGIApp, access: Access, on_refusal: Callable[[str], None] = lambda code: None
    ) -> None:
        self._app = app
        self._access = access
        self._on_refusal = on_refusal
        self._inner: ASGIApp = self._with_token
        if access.origins:
            self._inner = CORSMiddleware(
                self._with_token,
                allow_origins=access.origins,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),
                allow_private_network=True,
                expose_headers=("Retry-After",),
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request, as an ASGI application does."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._access.check_host(headers)
            self._access.check_origin(headers)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
        else:
            await self._inner(scope, receive, send)

    async def _with_token(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = self._access.check_token(scope)
        except Refusal as refusal:
            await self._refuse(refusal, scope, receive, send)
        else:
            scope.setdefault("state", {})["client"] = client
            await self._app(scope, receive, send)

    async def _refuse(self, refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
        self._on_refusal(refusal.code)
        if scope["type"] == "http":
            await refusal_response(refusal)(scope, receive, send)
        else:
            await refuse_websocket(WebSocket(scope, receive, send), refusal)


def refusal_response(refusal: Refusal) -> Response:
    """What HTTP says of it, with a body as the clients of OpenAI's interface read it."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    headers = {"Cache-Control": "no-store"}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.retry_after_s is not None:
        headers["Retry-After"] = str(refusal.retry_after_s)
    error = {"message": refusal.message, "type": kind, "code": refusal.code}
    return JSONResponse({"error": error}, refusal.status, headers)


async def refuse_websocket(websocket: WebSocket, refusal: Refusal) -> None:
    """Say it in a text frame, and close.

    A WebSocket that is not open yet is opened for that: a browser tells a page nothing about
    one that was never open.
    """
    body = json.dumps(refusal.body(), ensure_ascii=False)
    with contextlib.suppress(WebSocketDisconnect, OSError):  # it is gone, which is as well
        if websocket.application_state is WebSocketState.CONNECTING:
            await websocket.accept()
        await websocket.send_text(body)
        await websocket.close(refusal.close_code, refusal.code)


def _refusal(code: str, message: str, status: HTTPStatus) -> Refusal:
    return Refusal(code, message, status=status)


def _path_of(scope: Scope) -> str:
    """The path as the router sees it, without the prefix that the server was told of."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    inside = path.startswith(f"{root}/")
    return path.removeprefix(root) if inside else path


def _token_of(scope: Scope) -> str | None:
    for value in Headers(scope=scope).getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    query = scope.get("query_string", b"").decode("latin-1")
    try:
        values = parse_qs(query, max_num_fields=100).get("token", [])
    except ValueError:  # so many fields that it is no request of ours
        return None
    return values[0] if len(values) == 1 else None


def _allowed_host(name: str) -> str:
    bare = name.lower().strip("[]")
    if not any(parse_host([f"[{bare}]" if ":" in bare else bare])):
        raise ConfigurationError(
            f"--allow-host takes a name without a port, as captions.example, not {name!r}"
        )
    return bare


def _allowed_origin(origin: str) -> str:
    found = _ORIGIN.fullmatch(origin.lower())
    host, port = parse_host([found[2]]) if found else ("", "")
    if found is None or not host:
        raise ConfigurationError(
            f"--allow-origin takes a site as https://captions.example, not {origin!r}"
        )
    scheme = found[1]
    return f"{scheme}://{host}{'' if port == _DEFAULT_PORTS.get(scheme) else port}"
