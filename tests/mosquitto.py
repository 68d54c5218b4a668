"""A real MQTT broker for tests: mosquitto, started and ended by them."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Broker", "free_port", "self_signed"]

_STARTS_WITHIN_S = 5.0


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key; made by openssl."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


class Broker:
    """Mosquitto on a port of its own.

    Args:
        folder: for its configuration and its memory.
        users: names and passwords; anybody may connect by default.
        tls: certificate and key; no TLS by default.
        clients: authority of the certificates that clients have to show; none by default.
        persistent: remembers messages and sessions, if it is ended by `terminate`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        clients: Path | None = None,
        persistent: bool = False,
    ) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # It would become another user, who cannot read a test's folder.
        lines = [f"user {getpass.getuser()}", f"listener {self.port} 127.0.0.1"]
        if users is None:
            lines.append("allow_anonymous true")
        else:
            passwords = folder / "passwords"
            passwords.touch(0o600)
            for user, word in users.items():
                command = [_program("mosquitto_passwd"), "-b", str(passwords), user, word]
                subprocess.run(command, check=True, capture_output=True)
            lines += ["allow_anonymous false", f"password_file {passwords}"]
        if tls is not None:
            lines += [f"certfile {tls[0]}", f"keyfile {tls[1]}"]
        if clients is not None:
            lines += [f"cafile {clients}", "require_certificate true"]
        if persistent:
            lines += ["persistence true", f"persistence_location {folder}/"]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self._log = folder / "mosquitto.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            command = [_program("mosquitto"), "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(self._log.read_text()) from None
                time.sleep(0.01)

    def terminate(self) -> None:
        """End it in order: it saves what it remembers."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(5)

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)


def _program(name: str) -> str:
    return shutil.which(name) or f"/usr/sbin/{name}"
