"""``--journal DIR``: what a session's journal says of how it was made, and back."""

from __future__ import annotations

import argparse
import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from sources.file import FileSource
from sources.split import split

from ..audio import SAMPLE_RATE, seconds
from ..errors import ConfigurationError
from ..journal import Journal
from ..protocols import Source
from .options import finite_number
from .settings import Settings

__all__ = [
    "add_journal_options",
    "add_limit_option",
    "input_left",
    "limit_bytes",
    "make_journals",
    "settings_of",
]

_LIMIT_MB = 2000.0
_LEAST_MB = 50.0
_SIDES = ("left", "right")
_ENDS_BYTES = 65_536


def add_journal_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run that is kept."""
    group = parser.add_argument_group("journal")
    group.add_argument(
        "--journal",
        metavar="DIR",
        help="keep audio and events in a folder below DIR, so that `stream-transcribe resume DIR` "
        "goes on where a run was cut off",
    )
    add_limit_option(group)


def add_limit_option(group: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option that bounds a journal."""
    group.add_argument(
        "--journal-limit",
        type=finite_number,
        metavar="MB",
        help="when DIR has grown to this, audio that is done with goes, then sessions that have "
        f"ended, the oldest first (default: {_LIMIT_MB:g})",
    )


def limit_bytes(arguments: argparse.Namespace) -> int:
    """The chosen limit.

    Raises:
        ConfigurationError: it is too low to work with.
    """
    limit_mb = _LIMIT_MB if arguments.journal_limit is None else arguments.journal_limit
    if limit_mb < _LEAST_MB:
        raise ConfigurationError(f"--journal-limit must be at least {_LEAST_MB:g} MB")
    return int(limit_mb * 1e6)


def make_journals(
    arguments: argparse.Namespace, settings: Settings, labels: Sequence[str]
) -> Mapping[str, Journal] | None:
    """A journal for each session of a run, by label; None without ``--journal``.

    Raises:
        ConfigurationError: choices that cannot work.
    """
    if arguments.journal is None:
        if arguments.journal_limit is not None:
            raise ConfigurationError("--journal-limit is for --journal DIR")
        return None
    run = uuid.uuid4().hex
    return {
        label: Journal(
            arguments.journal,
            {
                "run": run,
                "settings": _kept(replace(settings, label=label)),
                "input": _input(arguments, label if len(labels) > 1 else None),
            },
            limit_bytes=limit_bytes(arguments),
        )
        for label in labels
    }


def _kept(settings: Settings) -> dict[str, Any]:
    """Settings as JSON, with files where they are found from anywhere."""
    values = asdict(settings)
    for name in ("model", "final_model", "replace"):
        value = values[name]
        if value is not None and Path(value).exists():
            values[name] = str(Path(value).resolve())
    return values


def settings_of(about: Mapping[str, Any]) -> Settings:
    """The settings of a session that goes on: as they were, at pace fast.

    Raises:
        ConfigurationError: they are not there, or cannot work any more.
    """
    kept = about.get("settings")
    known = {field.name for field in fields(Settings)}
    if not isinstance(kept, dict) or not {"hotwords"} <= kept.keys() <= known:
        raise ConfigurationError("the journal is not of this command, or of a newer version of it")
    values: dict[str, Any] = {**kept, "hotwords": tuple(kept["hotwords"])}
    return Settings(**{**values, "pace": "fast", "pass_cost_s": None})


def _input(arguments: argparse.Namespace, label: str | None) -> dict[str, Any] | None:
    """What it takes to go on reading the input: only files can be."""
    name = arguments.input
    if name is None or name == "-" or "://" in name or not Path(name).is_file():
        return None
    path = Path(name).resolve()
    return {
        "path": str(path),
        "start_s": arguments.start,
        "duration_s": arguments.duration,
        "channel": label if arguments.channels == "split" else None,
        **_looks(path),
    }


def _looks(path: Path) -> dict[str, int | str]:
    """What tells a file from another version of it, wherever it was copied to meanwhile."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = hashlib.sha256()
        for place in (0, max(0, size - _ENDS_BYTES)):
            file.seek(place)
            digest.update(file.read(_ENDS_BYTES))
    return {"size": size, "ends": digest.hexdigest()}


def input_left(
    about: Mapping[str, Any], audio_end: int, *, without: bool = False
) -> tuple[Source | None, int, str]:
    """What of the input the journal does not have.

    Args:
        about: of the session.
        audio_end: the end of the journal's audio.
        without: do with what the journal has, where the file is not what it was.

    Returns:
        A source that begins a second before that, or None; the session's number of its first
        sample; and what a person should know, or nothing.

    Raises:
        ConfigurationError: the file is not what it was.
    """
    kept = about.get("input")
    if kept is None:
        return None, 0, ""
    path = Path(kept["path"])
    try:
        same = _looks(path) == {name: kept[name] for name in ("size", "ends")}
        what = "has changed"
    except OSError:
        same, what = False, "is gone"
    if not same and without:
        return None, 0, f"{path} {what}; what the journal has of it is finished"
    if not same:
        raise ConfigurationError(
            f"{path} {what} since; bring it back, or finish what the journal has of it with "
            "--without-input"
        )
    # A whole second that the file is known to have: it may end where the journal does.
    first = max(0, audio_end // SAMPLE_RATE - 1)
    part = {"start_s": kept["start_s"] + first, "duration_s": None}
    if kept["duration_s"] is not None:
        part["duration_s"] = kept["duration_s"] - first
        if part["duration_s"] <= seconds(1):
            return None, 0, ""
    if kept["channel"] is None:
        return FileSource(path, pace="fast", **part), first * SAMPLE_RATE, ""
    sides = dict(zip(_SIDES, split(path, pace="fast", **part), strict=True))
    return sides[kept["channel"]], first * SAMPLE_RATE, ""
