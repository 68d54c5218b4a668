"""The page at ``/``: a button, a microphone, and captions. Its files lie in ``page/``.

Plain HTML, CSS and JavaScript modules, served as they are. They refer to each other and to the
server by relative addresses only, so a proxy may strip a path prefix. Which module does what:

=================== ==========================================================================
``app.js``          the parts put together
``run.js``          one run, from the start of the microphone to the last word
``stream.js``       the connection: what `PROTOCOL.md` asks of a client; knows no page
``refusals.js``     what follows when the server ends a connection
``backlog.js``      the audio that may have to be sent again
``microphone.js``   getUserMedia, and ``worklet.js`` on the audio thread
``server.js``       the addresses, the token, the languages
``transcript.js``   the text so far, as paragraphs; knows no page
``captions.js``     shows it
``subtitles.js``    cues, SRT and WebVTT
``delay.js``        how late the words are
``sentences.js``    what the page says to people
``menus.js``        sheets that open and close, dark and light
=================== ==========================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

__all__ = ["routes"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_HEADERS = {
    # Browsers count the WebSocket of the same address as 'self'.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",  # ask every time; the ETag makes that cheap
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def routes() -> list[BaseRoute]:
    """``/`` and the files that the page asks for, read once."""
    return [
        Route("/" if name == "index.html" else f"/page/{name}", _answer(name, body))
        for name, body in _files()
    ]


def _files() -> Iterator[tuple[str, bytes]]:
    for file in resources.files(__package__).joinpath("page").iterdir():
        if file.name.rpartition(".")[2] in _TYPES:
            yield file.name, file.read_bytes()


def _answer(name: str, body: bytes) -> Callable[[Request], Awaitable[Response]]:
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**_HEADERS, "ETag": etag, "Content-Type": _TYPES[name.rpartition(".")[2]]}

    async def answer(request: Request) -> Response:
        known = request.headers.get("If-None-Match", "")
        if etag in [each.strip().removeprefix("W/") for each in known.split(",")]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, headers=headers)

    return answer
