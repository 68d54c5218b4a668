"""One run of a command: text in, exit status and last words out, within a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from typing import cast

from ._text import one_line

__all__ = ["run_command"]

_MOST_OF_ERRORS = 4096
"""Bytes of standard error that are kept, the last ones."""
_MOST_OF_LINE = 200
_REST_S = 0.2
"""How long what a finished command still has to say may take."""
_DYING_S = 0.5


async def run_command(
    argv: Sequence[str], text: str, *, env: Mapping[str, str], limit_s: float
) -> str | None:
    """Run a command to its end; returns what went wrong, or None.

    The command gets a session and process group of its own, so that Ctrl-C is for us alone.
    It is done when it exits; what it leaves in the background stays. At the limit, or when the
    caller is cancelled, the whole group is killed.

    Standard input is a file with the text, not a pipe: a command may read it when it likes, in
    part, or never. Standard output goes nowhere; of standard error the last line is told where
    the command fails.
    """
    loop = asyncio.get_running_loop()
    transport = None
    try:
        with tempfile.TemporaryFile() as stdin:
            stdin.write(text.encode("utf-8", errors="replace"))
            stdin.seek(0)
            transport, run = await loop.subprocess_exec(
                _Run,
                *argv,
                stdin=stdin,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=env,
                start_new_session=True,
            )
        async with asyncio.timeout(limit_s):
            await run.exited.wait()
        status = transport.get_returncode()
        if status == 0:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REST_S):
                await run.silent.wait()
        return _told(cast(int, status), run.last_line)
    except TimeoutError:
        return f"took longer than {limit_s:g} s and was ended"
    except OSError as error:
        return f"could not be started: {error.strerror or error}"
    finally:
        if transport is not None:
            await _end(transport, run)


async def _end(transport: asyncio.SubprocessTransport, run: _Run) -> None:
    if transport.get_returncode() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(transport.get_pid(), signal.SIGKILL)
            else:
                transport.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DYING_S):
                await run.exited.wait()
    transport.close()


def _told(status: int, last_line: str) -> str:
    if status < 0:
        try:
            ended = f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            ended = f"was ended by signal {-status}"
    else:
        ended = f"ended with status {status}"
    return f"{ended}: {last_line}" if last_line else ended


class _Run(asyncio.SubprocessProtocol):
    """What there is to know of a process.

    `asyncio.subprocess.Process.wait` may wait for its children too, where they have inherited
    standard error.
    """

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        """Nobody can write to its standard error any more."""
        self._errors = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._errors = (self._errors + data)[-_MOST_OF_ERRORS:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()

    @property
    def last_line(self) -> str:
        lines = [line.strip() for line in self._errors.splitlines()]
        last = next((line for line in reversed(lines) if line), b"")
        return one_line(last.decode("utf-8", errors="replace"))[-_MOST_OF_LINE:]
