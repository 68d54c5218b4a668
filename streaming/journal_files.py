"""What a journal looks like on disk, and how it is read.

A folder for each session::

    20261121T223015123-5f0c2d1e/
        session.json             what the session was made of
        events.jsonl             every event, as `sinks.jsonl` writes them
        audio-000000000000.s16   16-bit little-endian mono at 16 kHz, from that sample on
        audio-000009600000.s16   the next ten minutes, or what came behind a gap
        quiet.json               from which sample on audio is needed, where no event tells
        lock                     held by the process that writes
        failed                   the run went on, and ended, without its journal

Events and audio are appended to. Silence makes no events, so that they alone would have all of
it kept; ``quiet.json`` is replaced with every file of audio that begins in a silence. It counts
once the log has the events that it follows; without it there is only more audio to hear.

Where a process was killed or the power went, the end may be torn: a line without its newline,
half a sample, zeros in place of an event. It is cut off. Zeros in place of audio are audio: they
are heard as silence.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .events import Event, SessionEnded, event_from_json
from .json_fields import load_object, read_fields
from .recovery import Quiet

__all__ = [
    "ABOUT",
    "EVENTS",
    "FAILED",
    "LOCK",
    "VERSION",
    "AudioFile",
    "audio_files",
    "audio_path",
    "cut_torn",
    "folders_in",
    "has_ended",
    "read_about",
    "read_events",
    "read_quiet",
    "size_of",
    "write_quiet",
]

VERSION = 1
"""Of the layout."""
ABOUT, EVENTS, LOCK, FAILED = "session.json", "events.jsonl", "lock", "failed"
_QUIET = "quiet.json"
_SAMPLE_BYTES = 2
_TAIL_BYTES = 1 << 16
"""More than the last line of an ended session takes."""


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A piece of contiguous audio."""

    path: Path
    start_sample: int
    end_sample: int


def audio_path(folder: Path, start_sample: int) -> Path:
    """The file for the audio from a sample on."""
    return folder / f"audio-{start_sample:012d}.s16"


def audio_files(folder: Path) -> list[AudioFile]:
    """The audio that is there, in order."""
    found = []
    for path in sorted(folder.glob("audio-*.s16")):
        with contextlib.suppress(ValueError):
            start = int(path.stem.removeprefix("audio-"))
            found.append(AudioFile(path, start, start + path.stat().st_size // _SAMPLE_BYTES))
    return found


def read_about(folder: Path) -> Mapping[str, Any]:
    """What ``session.json`` holds.

    Raises:
        ConfigurationError: it cannot be read, or is of another version.
    """
    path = folder / ABOUT
    try:
        about = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise ConfigurationError(f"{path} is damaged; the events are in {EVENTS} there") from None
    version = about.get("version") if isinstance(about, dict) else None
    if version != VERSION:
        raise ConfigurationError(f"{path} is of version {version}, not {VERSION}: update this")
    return dict(about)


def read_events(folder: Path) -> Iterator[Event]:
    """The events of a session, without a torn end.

    Raises:
        ConfigurationError: they cannot be read, or the log is damaged in the middle.
    """
    for event, _ in _lines(folder / EVENTS):
        if event is not None:
            yield event


def read_quiet(folder: Path) -> Quiet | None:
    """What ``quiet.json`` holds; None where it is not there or damaged."""
    try:
        return read_fields(Quiet, load_object((folder / _QUIET).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_quiet(folder: Path, quiet: Quiet) -> None:
    """Replace ``quiet.json``: a reader finds the old one or the new one.

    Raises:
        OSError: it cannot be written.
    """
    unnamed = folder / f"{_QUIET}.new"
    unnamed.write_text(json.dumps(asdict(quiet)), encoding="utf-8")
    unnamed.replace(folder / _QUIET)


def cut_torn(folder: Path) -> None:
    """Cut off what was not written whole.

    Raises:
        ConfigurationError: as `read_events`, or the files cannot be written.
    """
    path = folder / EVENTS
    whole = max((end for _, end in _lines(path)), default=0)
    try:
        if path.exists() and path.stat().st_size > whole:
            os.truncate(path, whole)
        for file in audio_files(folder):
            if file.path.stat().st_size % _SAMPLE_BYTES:
                os.truncate(file.path, (file.end_sample - file.start_sample) * _SAMPLE_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot write {folder}: {error.strerror or error}") from None


def _lines(path: Path) -> Iterator[tuple[Event | None, int]]:
    """Each event, None for one of a type that this version does not know, and where it ends."""
    end, torn = 0, 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                end += len(line)
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("torn")
                    event = event_from_json(line.decode("utf-8"))
                except (ValueError, KeyError, TypeError):
                    torn = torn or number
                    continue
                if torn:
                    raise ConfigurationError(f"{path} is damaged: line {torn} is no event")
                yield event, end
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None


def has_ended(folder: Path) -> bool:
    """Whether the session's last event says that it has ended, or its run did without a journal."""
    if (folder / FAILED).exists():
        return True
    try:
        with (folder / EVENTS).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().splitlines()
        return bool(lines) and isinstance(event_from_json(lines[-1].decode()), SessionEnded)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def folders_in(directory: Path) -> list[Path]:
    """The sessions below a folder, oldest first; the folder itself where it is one.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if (directory / ABOUT).is_file():
        return [directory]
    try:
        return sorted(each for each in directory.iterdir() if (each / ABOUT).is_file())
    except OSError as error:
        raise ConfigurationError(f"cannot read {directory}: {error.strerror or error}") from None


def size_of(folder: Path) -> int:
    """Bytes of a session's files."""
    total = 0
    with contextlib.suppress(OSError):  # another process may just have deleted it
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                total += path.stat().st_size
    return total
