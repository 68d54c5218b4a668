"""Lines on standard output."""

from __future__ import annotations

import sys

from ..errors import SinkError

__all__ = ["say"]


def say(line: object) -> None:
    """Print a line and hand it over at once.

    Raises:
        SinkError: standard output fails.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        print(line, flush=sys.stdout is not None)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkError(f"cannot write standard output: {error.strerror or error}") from error
