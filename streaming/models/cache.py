"""A folder of model files in which a final name always means a whole, checked file.

Files are written under another name, flushed to the disk, checked and renamed. Beside each
lies a stamp with its size, time of change and SHA-1: while these hold, a check costs one
``stat``. Without it every start would read the whole file: 0.05 to 0.3 s for tiny.en, but
seconds for a large model. Whoever doubts the disk itself asks for the thorough check.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from ..errors import ModelError
from .catalogue import ModelSpec, file_name
from .ggml_file import read_index
from .lock import file_lock

__all__ = ["ModelCache", "default_cache_dir", "disk_errors", "sha1_of"]


def default_cache_dir() -> Path:
    """``$STREAM_TRANSCRIBE_CACHE``, or the user's cache folder on this platform."""
    chosen = os.environ.get("STREAM_TRANSCRIBE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_cache_dir("stream-transcribe", appauthor=False))


def sha1_of(path: Path) -> str:
    """SHA-1 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `ModelError` of one line with the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(
                f"no space is left for the model in {folder}; free some, or set "
                "STREAM_TRANSCRIBE_CACHE to a folder on another disk"
            ) from error
        raise ModelError(
            f"the model cache {folder} cannot be used ({error.strerror or error}); set "
            "STREAM_TRANSCRIBE_CACHE to a folder that you can write to"
        ) from error


class ModelCache:
    """The folder. Its methods raise `OSError` where the disk fails.

    Args:
        folder: made when it is first written to.
        lock_timeout_s: how long to wait for another process that shows no progress.
    """

    def __init__(self, folder: Path, *, lock_timeout_s: float) -> None:
        self.folder = folder
        self._lock_timeout_s = lock_timeout_s

    def file(self, name: str) -> Path:
        """Where the model of this name is, or would be."""
        return self.folder / file_name(name)

    def part(self, target: Path) -> Path:
        """Where a download of ``target`` grows."""
        return target.with_name(f"{target.name}.part")

    def is_stamped(self, target: Path) -> bool:
        """Whether the file is as it was when it was last checked."""
        return _read_stamp(target)[:2] == _key(target)

    def defect(self, target: Path, spec: ModelSpec | None, *, thorough: bool) -> str | None:
        """What is wrong with a file, or None.

        Args:
            target: the file.
            spec: what it must be; None for a file that the catalogue does not have, of
                which only the stamp or else its own structure can tell.
            thorough: read it all, whatever its stamp says.

        Raises:
            ModelError: a file without specification and stamp is not a sound model.
        """
        try:
            key = _key(target)
        except FileNotFoundError:
            return "it is not there"
        size, changed_ns, sha1 = _read_stamp(target)
        expected = spec.sha1 if spec else sha1
        if not thorough and (size, changed_ns) == key and sha1 == expected:
            return None
        if spec and key[0] != spec.size_bytes:
            return f"it has {key[0]:,} bytes instead of {spec.size_bytes:,}"
        if not expected:
            read_index(target)
        found = sha1_of(target)
        if expected and found != expected:
            return f"its SHA-1 is {found} instead of {expected}"
        _write_stamp(target, key, found)
        return None

    def remove(self, target: Path) -> None:
        """Take a damaged file away."""
        target.unlink(missing_ok=True)
        _stamp(target).unlink(missing_ok=True)

    @contextmanager
    def locked(self, target: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Nobody else makes or removes ``target`` inside the block.

        Args:
            target: the file.
            on_wait: called time and again while another process holds the lock.

        Raises:
            ModelError: another process holds it and makes no progress.
        """

        def sign_of_life() -> list[int]:
            on_wait()
            return [_size(path) for path in (self.part(target), _temporary(target))]

        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = file_lock(
                target.with_name(f".{target.name}.lock"),
                timeout_s=self._lock_timeout_s,
                sign_of_life=sign_of_life,
            )
            with lock:
                yield
        except TimeoutError as error:
            raise ModelError(
                f"another process has been busy with {target} for {self._lock_timeout_s:g} s "
                "without progress; end it and try again"
            ) from error

    def require_space(self, n_bytes: int) -> None:
        """Raise `OSError` now if the disk has no room, and not after a long download."""
        if shutil.disk_usage(self.folder).free < n_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(
        self, target: Path, produce: Callable[[BinaryIO], None], sha1: str | None, otherwise: str
    ) -> None:
        """Let ``produce`` write a file, and `install` it; all under the lock of the target."""
        temporary = _temporary(target)
        try:
            with temporary.open("wb") as file:
                produce(file)
            self.install(temporary, target, sha1, otherwise)
        finally:
            temporary.unlink(missing_ok=True)

    def install(self, temporary: Path, target: Path, sha1: str | None, otherwise: str) -> None:
        """Check a file and give it its final name, or remove it.

        Args:
            temporary: the file.
            target: its final name, in the same folder.
            sha1: what it must have; None where nobody knows.
            otherwise: text of the error if it has another.

        Raises:
            ModelError: with the text ``otherwise``.
        """
        found = sha1_of(temporary)
        if sha1 and found != sha1:
            temporary.unlink()
            raise ModelError(otherwise)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
        _write_stamp(target, _key(target), found)


def _temporary(target: Path) -> Path:
    return target.with_name(f"{target.name}.tmp")


def _stamp(target: Path) -> Path:
    return target.with_name(f".{target.name}.checked")


def _size(path: Path) -> int:
    """Bytes of a file that others make and remove; -1 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _key(target: Path) -> tuple[int, int]:
    status = target.stat()
    return status.st_size, status.st_mtime_ns


def _read_stamp(target: Path) -> tuple[int, int, str]:
    """Size, time of change and digest; impossible ones where there is no sound stamp."""
    try:
        size, changed_ns, sha1 = json.loads(_stamp(target).read_text("utf-8"))
        return int(size), int(changed_ns), str(sha1)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return -1, -1, ""


def _write_stamp(target: Path, key: tuple[int, int], sha1: str) -> None:
    with suppress(OSError):  # a cache that cannot be written is checked in full every time
        _stamp(target).write_text(json.dumps([*key, sha1]), "utf-8")
