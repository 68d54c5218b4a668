"""Where models in CTranslate2's format come from: a folder, an installed wheel, or the hub.

The files are used as they are. From the hub come those that faster-whisper uses, too; the hub
announces the SHA-256 of the weights, which is checked, and so is the structure of the file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import ConfigurationError, ModelError, UnknownModelError
from . import hub
from .cache import ModelCache, default_cache_dir, disk_errors
from .catalogue import CATALOGUE
from .ct2_file import Ct2File
from .store import Progress
from .wheels import EXTRAS, find_wheel

__all__ = ["Ct2Model", "Ct2Store", "is_ggml"]

_HUB_URL = "https://huggingface.co"
_OWNER = "Systran"
_OWNERS = {"large-v3-turbo": "mobiuslabsgmbh"}
"""Who keeps the converted weights, where it is somebody else."""
_VOCABULARIES = ("vocabulary.txt", "vocabulary.json")
_MAGIC = b"\x06\x00\x00\x00\x0c\x00WhisperSpec"
"""Version 6, and what kind of model it is."""


@dataclass(frozen=True, slots=True)
class Ct2Model:
    """The files of a model."""

    parts: tuple[Path, ...]
    """What makes up ``model.bin``, in order."""
    config: Path
    """``config.json``: suppressed tokens and alignment heads."""
    vocabulary: Path
    """Every token's name, by id, the special ones included."""

    @property
    def folder(self) -> Path | None:
        """A folder that CTranslate2 can load; None if the model is spread over several."""
        together = len(self.parts) == 1 and self.parts[0].name == "model.bin"
        return self.config.parent if together else None


def is_ggml(name: str) -> bool:
    """Whether only whisper.cpp can have meant this model: a file of its, or a quantized one."""
    return name.endswith(".bin") or re.search(r"-q\d_\d$", name) is not None


class Ct2Store:
    """Finds, fetches and checks models.

    Args:
        cache_dir: where downloaded ones are kept; None means `default_cache_dir`.
        hub_url: what ``OWNER/REPOSITORY/resolve/main`` is appended to; None means
            ``$STREAM_TRANSCRIBE_CT2_HUB``, or the official one.
    """

    def __init__(self, cache_dir: Path | None = None, *, hub_url: str | None = None) -> None:
        self._cache = ModelCache(cache_dir or default_cache_dir(), lock_timeout_s=120.0)
        self._hub_url = hub_url or os.environ.get("STREAM_TRANSCRIBE_CT2_HUB") or _HUB_URL

    def at_hand(self, name: str) -> bool:
        """Whether the model can be had without the hub."""
        if _is_path(name):
            return Path(name).expanduser().is_dir()
        return find_wheel(name) is not None or (self._folder(name) / "model.bin").exists()

    def find(self, name: str, *, progress: Progress | None = None) -> Ct2Model:
        """The files of a model; downloaded first where they are nowhere at hand.

        Args:
            name: a name of the catalogue, or the path of a folder.
            progress: told how far a download is.

        Raises:
            UnknownModelError: there is no such model or folder.
            ModelError: a file is damaged, or the model cannot be had; the text says why.
        """
        if is_ggml(name):
            raise ConfigurationError(
                f"{name} is a model for whisper.cpp; use --backend whisper.cpp, or another model"
            )
        if _is_path(name):
            folder = Path(name).expanduser()
            if not folder.is_dir():
                raise UnknownModelError(f"there is no folder {folder}")
            return _checked(_in_folder(folder))
        wheel = find_wheel(name)
        if wheel is not None:
            config = wheel.vocabulary.with_name("config.json")
            return _checked(Ct2Model(wheel.parts, config, wheel.vocabulary))
        if name not in CATALOGUE:
            known = ", ".join(model for model in CATALOGUE if not is_ggml(model))
            raise UnknownModelError(f"there is no model {name!r} for CTranslate2; known: {known}")
        folder = self._folder(name)
        with disk_errors(self._cache.folder):
            if not (folder / "model.bin").exists():
                self._download(name, folder, progress)
            try:
                return _checked(_in_folder(folder))
            except ModelError as error:
                shutil.rmtree(folder)
                raise ModelError(f"{error}; it has been removed: run it again") from error

    def _folder(self, name: str) -> Path:
        return self._cache.folder / f"ct2-{name}"

    def _download(self, name: str, folder: Path, progress: Progress | None) -> None:
        owner = _OWNERS.get(name, _OWNER)
        base = f"{self._hub_url.rstrip('/')}/{owner}/faster-whisper-{name}/resolve/main"
        wait = partial(progress, "wait", 0, 0) if progress else _nothing
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with self._cache.locked(folder / "model.bin", wait):
                self._file(f"{base}/config.json", folder / "config.json", b"{", None)
                self._vocabulary(base, folder)
                # The weights last: once they are there, so is everything.
                self._file(f"{base}/model.bin", folder / "model.bin", _MAGIC, progress)
        except ModelError as error:
            extra = EXTRAS.get(name)
            way_out = (
                f'pip install "stream-transcribe[{extra}]" brings {name} without the hub'
                if extra
                else "set STREAM_TRANSCRIBE_CT2_HUB to a mirror, or give a folder as the model"
            )
            raise ModelError(f"{error}; {way_out}") from error

    def _vocabulary(self, base: str, folder: Path) -> None:
        first, *others = _VOCABULARIES
        try:
            self._file(f"{base}/{first}", folder / first, b"", None)
        except ModelError:
            for other in others:
                self._file(f"{base}/{other}", folder / other, b"", None)

    def _file(self, url: str, target: Path, magic: bytes, progress: Progress | None) -> None:
        if target.exists():
            return
        size_bytes, sha256 = hub.announced(url)

        def advance(done: int) -> None:
            if progress:
                progress("download", done, size_bytes)

        part = self._cache.part(target)
        there = part.stat().st_size if part.exists() else 0
        self._cache.require_space(size_bytes - there)
        hub.download(url, part, size_bytes, magic=magic, advance=advance)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256:
            part.unlink()
            raise ModelError(f"{url} was damaged on the way and has been removed; try again")
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name


def _in_folder(folder: Path) -> Ct2Model:
    vocabulary = next((folder / v for v in _VOCABULARIES if (folder / v).exists()), None)
    if vocabulary is None:
        raise ModelError(f"{folder} is not a CTranslate2 model: it has no {_VOCABULARIES[0]}")
    return Ct2Model((folder / "model.bin",), folder / "config.json", vocabulary)


def _checked(model: Ct2Model) -> Ct2Model:
    """Walk the file from end to end: CTranslate2's own message for a short one says little."""
    if not model.config.exists():
        raise ModelError(f"{model.config} is missing; the model cannot be used without it")
    with Ct2File(model.parts) as file:
        if "encoder/conv1/weight" not in file.variables:
            raise ModelError(f"{model.parts[0]} is not a Whisper model")
    return model


def _nothing() -> None:
    """Nobody wants to know."""
