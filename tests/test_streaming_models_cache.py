from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

import pytest
from model_files import ggml_model

from streaming.errors import ModelError
from streaming.models import cache as cache_module
from streaming.models.cache import ModelCache, default_cache_dir, disk_errors, sha1_of
from streaming.models.catalogue import ModelSpec
from streaming.models.lock import file_lock

CONTENT = ggml_model()
SPEC = ModelSpec("mini", hashlib.sha1(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path, lock_timeout_s=0.2)


@pytest.fixture
def target(cache: ModelCache) -> Path:
    return cache.file("mini")


def installed(cache: ModelCache, target: Path) -> Path:
    cache.write(target, lambda file: void(file.write(CONTENT)), SPEC.sha1, "wrong")
    return target


def void(_: object) -> None:
    """Forget a result."""


def flip_a_bit(target: Path) -> None:
    with target.open("r+b") as file:
        file.seek(len(CONTENT) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_a_file_that_was_written_is_sound_and_alone(cache: ModelCache, target: Path) -> None:
    installed(cache, target)
    assert target.read_bytes() == CONTENT
    assert cache.defect(target, SPEC, thorough=True) is None
    assert {path.name for path in cache.folder.iterdir()} == {
        "ggml-mini.bin",
        ".ggml-mini.bin.checked",
    }


def test_a_file_with_another_digest_never_has_the_final_name(
    cache: ModelCache, target: Path
) -> None:
    with pytest.raises(ModelError, match="told you so"):
        cache.write(target, lambda file: void(file.write(b"no")), SPEC.sha1, "told you so")
    assert list(cache.folder.iterdir()) == []


def test_a_file_is_on_the_disk_before_it_has_the_final_name(
    cache: ModelCache, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        calls.append("fsync")
        fsync(descriptor)

    def recorded_replace(source: Path, destination: Path) -> None:
        calls.append("replace")
        replace(source, destination)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    installed(cache, target)
    assert calls == ["fsync", "replace"]


def test_a_writer_that_fails_leaves_nothing(cache: ModelCache, target: Path) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(CONTENT[:100])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.write(target, fail, SPEC.sha1, "wrong")
    assert list(cache.folder.iterdir()) == []


def test_a_checked_file_is_not_read_again(
    cache: ModelCache, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(cache, target)

    def never(path: Path) -> str:
        pytest.fail(f"read {path}")

    monkeypatch.setattr(cache_module, "sha1_of", never)
    assert cache.defect(target, SPEC, thorough=False) is None
    assert cache.is_stamped(target)


def test_a_changed_file_is_read_again(cache: ModelCache, target: Path) -> None:
    installed(cache, target)
    flip_a_bit(target)
    os.utime(target, ns=(1, 1))
    assert not cache.is_stamped(target)
    assert "SHA-1" in str(cache.defect(target, SPEC, thorough=False))


def test_a_change_that_keeps_size_and_time_is_found_by_the_thorough_check(
    cache: ModelCache, target: Path
) -> None:
    installed(cache, target)
    before = target.stat()
    flip_a_bit(target)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.defect(target, SPEC, thorough=False) is None
    assert "SHA-1" in str(cache.defect(target, SPEC, thorough=True))


def test_a_stamp_of_another_model_does_not_count(cache: ModelCache, target: Path) -> None:
    cache.write(target, lambda file: void(file.write(CONTENT)), None, "wrong")
    other = ModelSpec("mini", "0" * 40, len(CONTENT))
    assert "instead of 0000" in str(cache.defect(target, other, thorough=False))


@pytest.mark.parametrize("stamp", ["", "{}", "[1, 2]", '["a", 2, "b"]', "\N{SNOWMAN}", "null"])
def test_a_broken_stamp_is_no_stamp(cache: ModelCache, target: Path, stamp: str) -> None:
    installed(cache, target)
    (cache.folder / ".ggml-mini.bin.checked").write_text(stamp, "utf-8")
    assert not cache.is_stamped(target)
    assert cache.defect(target, SPEC, thorough=False) is None
    assert cache.is_stamped(target)


def test_a_file_that_nobody_knows_is_judged_by_its_structure(
    cache: ModelCache, target: Path
) -> None:
    target.write_bytes(CONTENT)
    assert cache.defect(target, None, thorough=False) is None
    target.write_bytes(CONTENT[:-1])
    (cache.folder / ".ggml-mini.bin.checked").unlink()
    with pytest.raises(ModelError, match="is cut off"):
        cache.defect(target, None, thorough=False)


def test_a_missing_file_is_a_defect(cache: ModelCache, target: Path) -> None:
    assert cache.defect(target, SPEC, thorough=False) == "it is not there"


def test_a_holder_without_progress_is_waited_for_only_so_long(
    cache: ModelCache, target: Path
) -> None:
    waits: list[None] = []
    lock = cache.folder / ".ggml-mini.bin.lock"
    with (
        file_lock(lock, timeout_s=0),
        pytest.raises(ModelError, match=r"another process has been busy .* for 0\.2 s"),
        cache.locked(target, lambda: waits.append(None)),
    ):
        pytest.fail("entered a lock that is held")
    assert waits


def test_a_full_disk_is_one_line_and_leaves_nothing(cache: ModelCache, target: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    target.with_name("ggml-mini.bin.tmp").symlink_to("/dev/full")
    with (
        pytest.raises(ModelError, match="no space is left") as caught,
        disk_errors(cache.folder),
    ):
        installed(cache, target)
    assert "\n" not in str(caught.value)
    assert list(cache.folder.iterdir()) == []


def test_too_little_space_is_known_beforehand(cache: ModelCache) -> None:
    cache.require_space(1)
    with pytest.raises(OSError, match="space") as caught:
        cache.require_space(1 << 62)
    assert caught.value.errno == errno.ENOSPC


def test_the_folder_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_TRANSCRIBE_CACHE", str(tmp_path / "mine"))
    assert default_cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("STREAM_TRANSCRIBE_CACHE")
    assert default_cache_dir().is_absolute()
    assert "stream-transcribe" in str(default_cache_dir())


def test_sha1_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha1_of(path) == "a9993e364706816aba3e25717850c26c9cd0d89d"
