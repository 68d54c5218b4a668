"""nginx as examples/server/nginx.conf has it, on ports and with files of the test's own."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mosquitto import free_port, self_signed

__all__ = ["Proxy", "reverse_proxy"]

CONFIGURATION = Path(__file__).parents[1] / "examples/server/nginx.conf"
_STARTS_WITHIN_S = 10.0


@dataclass(frozen=True)
class Proxy:
    """A proxy that listens."""

    port: int
    plain_port: int
    """Without TLS."""
    trust: ssl.SSLContext
    access_log: Path
    error_log: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/captions/"

    def websocket(self, path: str) -> str:
        return f"wss://127.0.0.1:{self.port}/captions/{path}"

    def connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trust)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        with closing(self.connection()) as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, named, answer.read()

    def logged(self) -> str:
        """All that nginx wrote down."""
        return self.access_log.read_text() + self.error_log.read_text()


@contextmanager
def reverse_proxy(folder: Path, server_port: int) -> Iterator[Proxy]:
    """nginx in front of a server on loopback, until the block ends.

    Args:
        folder: for its files.
        server_port: of the server.
    """
    certificate, key = self_signed(folder, "proxy")
    trust = ssl.create_default_context(cafile=str(certificate))
    port, plain_port = free_port(), free_port()
    proxy = Proxy(port, plain_port, trust, folder / "access.log", folder / "error.log")
    text = CONFIGURATION.read_text("utf-8")
    for there, here in (
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;"),
        ("/var/log/nginx/captions-error.log", str(proxy.error_log)),
        ("/var/log/nginx/captions-access.log", str(proxy.access_log)),
        ("listen 80;", f"listen 127.0.0.1:{plain_port};"),
        ("listen [::]:80;", ""),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("listen [::]:443 ssl;", ""),
        ("/etc/nginx/captions.crt", str(certificate)),
        ("/etc/nginx/captions.key", str(key)),
        ("server 127.0.0.1:8766;", f"server 127.0.0.1:{server_port};"),
        # Folders that only an installed service may write to.
        ("http {", "http {" + "".join(f" {kind}_temp_path {folder}/{kind};" for kind in _KINDS)),
    ):
        assert text.count(there) == 1, there
        text = text.replace(there, here)
    configuration = folder / "nginx.conf"
    configuration.write_text(text, "utf-8")
    options = "daemon off;"
    if os.geteuid() == 0:  # else its workers are nobody, to whom the folder is closed
        options += " user root;"
    command = ["nginx", "-e", str(proxy.error_log), "-c", str(configuration), "-g", options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait_for(process, port)
            yield proxy
        finally:
            process.terminate()


_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def _wait_for(process: subprocess.Popen[str], port: int) -> None:
    until_s = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > until_s:
                process.kill()
                said = process.stderr.read() if process.stderr else ""
                raise AssertionError(f"nginx does not listen: {said}") from None
            time.sleep(0.05)
