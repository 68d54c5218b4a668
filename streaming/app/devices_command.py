"""``stream-transcribe devices``: what can be recorded."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from sources.loopback import loopback_devices
from sources.microphone import input_devices

from ..errors import SourceError
from .console import say
from .options import CommandParser

__all__ = ["devices_command", "listed"]

_HEAD = ("", "index", "name", "host", "channels", "rate")


def devices_command(argv: Sequence[str]) -> int:
    """List microphones, and outputs whose sound can be recorded.

    Raises:
        SourceError: there is neither; the text tells why.
    """
    parser = CommandParser(
        prog="stream-transcribe devices",
        description="What --device can name: inputs for --mic, outputs for --loopback. "
        "The default is marked with *.",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    arguments = parser.parse_args(argv)
    inputs, no_inputs = listed(input_devices)
    loopbacks, no_loopbacks = listed(loopback_devices)
    if no_inputs and no_loopbacks:
        raise SourceError(no_inputs)
    if arguments.json:
        for problem in filter(None, (no_inputs, no_loopbacks)):
            print(problem, file=sys.stderr)
        say(json.dumps({"inputs": inputs, "loopbacks": loopbacks}, ensure_ascii=False))
        return 0
    _table("microphones (--mic)", inputs, no_inputs)
    say("")
    _table("what is played (--loopback)", loopbacks, no_loopbacks)
    return 0


def listed(devices: Callable[[], Sequence[Any]]) -> tuple[list[dict[str, Any]], str]:
    """What there is, in the form of `devices --json`; or why there is nothing."""
    try:
        return [asdict(device) for device in devices()], ""
    except SourceError as error:
        return [], str(error)


def _table(title: str, devices: list[dict[str, Any]], problem: str) -> None:
    say(f"{title}:" if devices else f"{title}: {problem or 'none'}")
    rows = [
        ("*" if d["default"] else "", d["index"], d["name"], d["host"], d["channels"], d["rate"])
        for d in devices
    ]
    cells = [[str(cell) for cell in row] for row in (_HEAD, *rows)] if rows else []
    widths = [max(len(row[n]) for row in cells) for n in range(len(_HEAD))] if cells else []
    for row in cells:
        say("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
