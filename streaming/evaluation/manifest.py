"""Sets of clips: a JSON file that lies beside its recordings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError

__all__ = ["Clip", "load_manifest"]


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording of a set."""

    name: str
    audio: Path
    reference: str | None
    """What is said in it; None where nobody wrote that down."""
    language: str | None
    """Language code; None where there is no speech or it is not told."""


def load_manifest(path: str | PathLike[str]) -> tuple[Clip, ...]:
    """Read ``{"clips": [{"name", "file", "language", "reference"}, ...]}``.

    ``file`` is relative to the manifest's folder; ``language`` may be missing or "-". Where
    ``reference`` is true, the text is in ``<name>.txt`` in that folder. Other fields are
    ignored.

    Raises:
        ConfigurationError: the file, or one that it names, is missing or not as described.
    """
    path = Path(path)
    try:
        body = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from None
    entries = body.get("clips") if isinstance(body, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigurationError(f'{path} has no clips: it should be {{"clips": [...]}}')
    clips = tuple(_clip(path, number, entry) for number, entry in enumerate(entries, start=1))
    names = [clip.name for clip in clips]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{path} names two clips {name!r}")
    return clips


def _clip(manifest: Path, number: int, entry: Any) -> Clip:
    def field(name: str, kind: type, default: Any = None) -> Any:
        value = entry.get(name, default)
        if not isinstance(value, kind):
            raise ConfigurationError(
                f"clip {number} of {manifest}: {name!r} should be a {kind.__name__}"
            )
        return value

    if not isinstance(entry, dict):
        raise ConfigurationError(f"clip {number} of {manifest} is not an object")
    name = field("name", str)
    audio = manifest.parent / field("file", str)
    if not _is_file(audio):
        raise ConfigurationError(f"clip {name!r} of {manifest}: there is no file {audio}")
    language = field("language", str, "-")
    reference = None
    if field("reference", bool, False):
        reference = _read(manifest.parent / f"{name}.txt")
    return Clip(name, audio, reference, None if language in ("", "-") else language)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text") from None
    except ValueError:
        raise ConfigurationError(f"cannot read {str(path)!r}: no file has such a name") from None
