"""A hub on the loopback interface that misbehaves on request."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ModelServer(ThreadingHTTPServer):
    """Serves ``files``; how it does so can be changed between requests."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        """Path -> content."""
        self.redirects: dict[str, str] = {}
        """Path -> other path."""
        self.told: dict[str, dict[str, str]] = {}
        """Path -> headers of the answer to HEAD."""
        self.statuses: list[int] = []
        """Errors to answer the next requests with."""
        self.cuts: list[int] = []
        """Bytes after which to close the connections of the next requests."""
        self.ranges = True
        self.tells_length = True
        self.stall_after: int | None = None
        """Bytes after which to send nothing more, until ``resume`` is set."""
        self.resume = threading.Event()
        self.requests: list[tuple[str, str | None]] = []
        """Path and range of every request."""
        self.sent = 0
        """Bytes of content given to the network, in all."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_HEAD(self) -> None:
        told = self.server.told.get(self.path, {})
        if self.path in self.server.redirects:
            self._answer(302, {"Location": self.server.redirects[self.path], **told})
        elif self.path in self.server.files:
            length = {"Content-Length": str(len(self.server.files[self.path]))}
            self._answer(200, (length if self.server.tells_length else {}) | told)
        else:
            self._answer(404, {"Content-Length": "0"})

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers["Range"]
        server.requests.append((self.path, wanted))
        if server.statuses:
            self._answer(server.statuses.pop(0), {"Content-Length": "0"})
        elif self.path in server.redirects:
            self._answer(302, {"Location": server.redirects[self.path], "Content-Length": "0"})
        elif self.path not in server.files:
            self._answer(404, {"Content-Length": "0"})
        else:
            self._send(server.files[self.path], wanted if server.ranges else None)

    def _send(self, content: bytes, wanted: str | None) -> None:
        status, start = 200, 0
        if wanted is not None:
            status, start = 206, int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._answer(416, {"Content-Length": "0"})
                return
        body = content[start:]
        self._answer(status, {"Content-Length": str(len(body))} if self.server.tells_length else {})
        if self.server.cuts:
            body = body[: self.server.cuts.pop(0)]
        stall_after = self.server.stall_after
        if stall_after is not None:
            self._write(body[:stall_after])
            self.server.resume.wait(30)
            body = body[stall_after:]
        self._write(body)

    def _write(self, body: bytes) -> None:
        self.server.sent += len(body)  # before the client can have them
        with suppress(OSError):  # the client may be gone
            self.wfile.write(body)
            self.wfile.flush()

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """Run a server inside the block."""
    server = ModelServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.resume.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def wait_until(claim: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait until ``claim`` returns something true."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
