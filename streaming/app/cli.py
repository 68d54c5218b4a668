"""The command ``stream-transcribe``: subcommands, errors and exit codes.

Exit codes: 0 done, 1 runtime failure, 2 bad arguments or unreadable input, 130 interrupted
(143 by SIGTERM). The transcript goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from textwrap import shorten

from ..backends.memory import is_shortage
from ..errors import StreamingError
from .clash import require_own_packages
from .log_stream import LogStream

__all__ = ["SUBCOMMANDS", "main", "run_command"]

SUBCOMMANDS = (
    "serve",
    "wyoming",
    "resume",
    "models",
    "evaluate",
    "report",
    "devices",
    "doctor",
)
"""Each is a function ``NAME_command`` in a module of that name; without one, it is `transcribe`."""
NATIVE_THREADS = "backend "
"""What the names of a pool's threads begin with."""


def main() -> None:
    """Entry point of the command; leaves the process with its exit code."""
    _open_standard_streams()
    code = run_command(sys.argv[1:])
    _leave(code)


def run_command(argv: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit code."""
    _use_utf8()
    debug = "--debug" in argv  # anywhere: before a subcommand, after its own ones
    argv = [argument for argument in argv if argument != "--debug"]
    _log_to_stderr(debug)
    try:
        require_own_packages()
        command, rest = _command(argv)
        return command(rest)
    except SystemExit:  # --help and --version
        return 0
    except StreamingError as error:
        if is_shortage(error):
            return _fail(error, _shortage(error), 1, debug)
        return _fail(error, str(error), error.exit_code, debug)
    except BrokenPipeError:
        return 0  # whoever read stdout has seen enough
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if is_shortage(error):
            return _fail(error, _shortage(error), 1, debug)
        if isinstance(error, ImportError):
            text = f"a part is missing ({error}); install stream-transcribe again"
            return _fail(error, text, 1, debug)
        text = f"unexpected {type(error).__name__}: {error}; --debug shows where"
        return _fail(error, text, 1, debug)


def _shortage(error: Exception) -> str:
    """Of memory, which native parts tell in many ways."""
    text = str(error)
    if isinstance(error, StreamingError) and "; try " in text:
        return text  # it knows better
    text = shorten(text, 160)
    return f"not enough memory{f' ({text})' if text else ''}; try a smaller --model"


def _command(argv: Sequence[str]) -> tuple[Callable[[Sequence[str]], int], Sequence[str]]:
    """The subcommand and its arguments; imported on use, as some are slow to import."""
    name, rest = "transcribe", argv
    if argv and argv[0] in SUBCOMMANDS:
        name, rest = argv[0], argv[1:]
    command = f"{name}_command"
    return getattr(import_module(f".{command}", __package__), command), rest


def _fail(error: BaseException, text: str, code: int, debug: bool) -> int:
    with contextlib.suppress(OSError, ValueError):  # nobody reads stderr: the code still tells
        if debug:
            traceback.print_exception(error)
        print(f"stream-transcribe: {' '.join(text.split())}", file=sys.stderr, flush=True)
    return code


def _open_standard_streams() -> None:
    """Put the null device where standard streams are closed.

    Else the next file that is opened takes the free descriptor, and what native code writes
    to stderr goes into it; and `print` to a stderr of None writes to stdout.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def _use_utf8() -> None:
    """All output is UTF-8, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _log_to_stderr(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(name)s: %(message)s" if debug else "%(message)s",
        stream=LogStream(),
    )
    logging.getLogger("streaming").setLevel(logging.DEBUG if debug else logging.INFO)
    for noisy in ("numba", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _leave(code: int) -> None:
    """End the process, also while a native pass is still running on its daemon thread."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # said already; the interpreter would say it again
            with contextlib.suppress(ValueError):  # the stream may be closed altogether
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    if any(t.is_alive() for t in threading.enumerate() if t.name.startswith(NATIVE_THREADS)):
        # Tearing the interpreter down under a native thread can crash; there is nothing
        # left to do that the exit would.
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
