"""Whether `sources`, `sinks` and `policies` are ours.

The names are plain: a folder of the same name beside a user's script shadows them. Without
this check the result would be a puzzling import error from deep inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigurationError

__all__ = ["require_own_packages"]

_ALSO_STREAMING = "mosaicml-streaming"


def require_own_packages(names: Iterable[str] = ("sources", "sinks", "policies")) -> None:
    """Check that the packages lie beside this one.

    Raises:
        ConfigurationError: one of them is somebody else's, or is missing; or a distribution is
            installed that also writes into the folder ``streaming``.
    """
    with suppress(PackageNotFoundError):
        distribution(_ALSO_STREAMING)
        raise ConfigurationError(
            f"{_ALSO_STREAMING} is installed here and overwrites files of the package 'streaming'; "
            "use a virtual environment of its own for stream-transcribe"
        )
    home = Path(__file__).resolve().parents[2]
    for name in names:
        spec = find_spec(name)
        places: list[str] = []
        if spec is not None:  # a package has folders, a plain module has only a file
            places = list(spec.submodule_search_locations or ([spec.origin] if spec.origin else []))
        found = [Path(place).resolve() for place in places]
        if found[:1] == [home / name]:
            continue
        wrong = f"{found[0]} shadows it; rename that one, or run from another directory"
        raise ConfigurationError(
            f"the package {name!r} of stream-transcribe cannot be used: "
            + (wrong if found else "it is missing; install stream-transcribe again")
        )
