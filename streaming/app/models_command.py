"""``stream-transcribe models list|get|verify|path|quantize``."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import ModelStore
from .console import say
from .options import CommandParser
from .progress import ModelProgress

__all__ = ["models_command"]

_STATES = {
    "cached": "in the cache",
    "unchecked": "in the cache, not checked yet",
    "installed": "from an installed package",
    "downloadable": "to be downloaded",
}


def models_command(argv: Sequence[str]) -> int:
    """List, fetch, check, locate or quantize models."""
    parser = CommandParser(
        prog="stream-transcribe models", description="The models on this machine."
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="what there is, and where")
    for action, text in (
        ("get", "make, download or repair it"),
        ("verify", "check every byte of it"),
        ("path", "print where its file is, getting it first if need be"),
        ("quantize", "write its q8_0 form, half the size"),
    ):
        one = actions.add_parser(action, help=text)
        one.add_argument("name", metavar="MODEL")
    arguments = parser.parse_args(argv)
    store = ModelStore()
    if arguments.action == "list":
        for status in store.list():
            size = f"{status.size_bytes / 1e6:8.1f} MB"
            say(f"{status.name:22}{size}  {_STATES[status.state]}")
    elif arguments.action == "verify":
        say(f"{arguments.name}: ok, SHA-1 {store.verify(arguments.name)}")
    else:
        obtain = {"get": store.get, "path": store.path, "quantize": store.quantize}
        with ModelProgress() as progress:
            path = obtain[arguments.action](arguments.name, progress=progress)
        say(path)
    return 0
