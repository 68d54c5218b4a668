"""The real server in a process of its own."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import cli_plugin

__all__ = ["Served", "serving"]

_SERVING = re.compile(r"info: serving at (https?://\S+:(\d+)/)\n")


@dataclass
class Served:
    """A server that listens."""

    process: subprocess.Popen[str]
    url: str
    port: int
    lines: list[str]
    """What it wrote to stderr so far."""

    @property
    def stream(self) -> str:
        """Where live audio goes."""
        return self.url.replace("http", "ws", 1) + "v1/stream"

    def until_ready(self, within_s: float = 60.0) -> None:
        """Wait until it has its model."""
        until_s = time.monotonic() + within_s
        while not any(line.endswith("ready\n") for line in self.lines):
            assert time.monotonic() < until_s, f"it is not ready: {self.lines}"
            time.sleep(0.02)

    def stop(self, timeout_s: float = 20.0) -> int:
        """Ask it to end, and wait for that; its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)


@contextmanager
def serving(
    folder: Path, *options: str | Path, backend: str = "scripted", port: int = 0, **more: Any
) -> Iterator[Served]:
    """``stream-transcribe serve`` on loopback, until the block ends.

    Args:
        folder: where it runs; installs the scripted backend there (see `cli_plugin`).
        options: of the command.
        backend: scripted, with parameters if need be, or a real one.
        port: 0 takes a free one.
        more: for `cli_plugin.start`, as ``environment``.
    """
    if not (folder / "cli_plugin-1.0.dist-info").exists():
        cli_plugin.install(folder)
    process = cli_plugin.start(
        folder, "serve", "--port", str(port), "--backend", backend, *options, **more
    )
    with process:
        lines: list[str] = []
        reading = Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                lines.append(line)
                if found := _SERVING.fullmatch(line):
                    break
            else:
                raise AssertionError(f"it does not serve: {lines}")
            reading.start()
            yield Served(process, found[1], int(found[2]), lines)
        finally:
            process.kill()
            process.wait()
            if reading.ident is not None:
                reading.join(5)
