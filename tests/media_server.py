"""A media server on the loopback interface: files, live playlists, a radio, and their faults."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "Handler", "MediaServer", "content", "media_server", "radio"]


class MediaServer(ThreadingHTTPServer):
    """Calls what ``routes`` has for a path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Answer] = {}
        self.requests: list[tuple[str, str | None]] = []
        """Path and range of each request."""
        self.ending = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: MediaServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        answer = self.server.routes.get(self.path.partition("?")[0])
        with suppress(OSError):  # the client may be gone
            if answer is None:
                self.begin(404, {"Content-Length": "0"})
            else:
                answer(self)
                self.wfile.flush()

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def hang(self) -> None:
        """Say nothing more, and keep the connection."""
        self.wfile.flush()
        self.server.ending.wait(30)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""


Answer = Callable[[Handler], None]


def content(
    body: bytes,
    *,
    ranges: bool = True,
    breaks: list[int] | None = None,
    stalls: bool = False,
    length: bool = True,
) -> Answer:
    """A file.

    Each item of ``breaks`` is a byte before which one connection ends, or hangs with ``stalls``.
    A client may look at the end of the file first.
    """

    def answer(handler: Handler) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "") if ranges else None
        start = int(wanted[1]) if wanted else 0
        headers = {"Content-Length": str(len(body) - start)} if length else {}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        handler.begin(206 if wanted else 200, headers)
        if breaks and start < breaks[0]:
            handler.wfile.write(body[start : breaks[0]])
            breaks.pop(0)
            if stalls:
                handler.hang()
        else:
            handler.wfile.write(body[start:])

    return answer


def radio(body: bytes, bytes_per_s: float, *, off_air: Callable[[float], bool]) -> Answer:
    """An endless station that began to play when it was made: now is heard, and nothing else.

    While ``off_air(time_s)`` says so it ends connections and answers 503.
    """
    zero_s = time.monotonic()

    def answer(handler: Handler) -> None:
        now_s = time.monotonic() - zero_s
        if off_air(now_s):
            handler.begin(503, {"Content-Length": "0"})
            return
        handler.begin(200, {"Content-Type": "audio/mpeg", "icy-name": "Test", "icy-br": "128"})
        position = round(now_s * bytes_per_s)
        while not off_air(now_s := time.monotonic() - zero_s) and position < len(body):
            end = round(now_s * bytes_per_s)
            handler.wfile.write(body[position:end])
            position = end
            if handler.server.ending.wait(0.02):
                return

    return answer


@contextmanager
def media_server() -> Iterator[MediaServer]:
    """Run a server inside the block."""
    server = MediaServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
