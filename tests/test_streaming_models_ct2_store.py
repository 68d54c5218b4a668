from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_files import ct2_arrays, ct2_model, write_vocabulary
from model_server import ModelServer, model_server

from streaming.errors import ConfigurationError, ModelError, UnknownModelError
from streaming.models import Ct2Store, is_ggml
from streaming.models.wheels import find_wheel

WEIGHTS = ct2_model(ct2_arrays())
BASE = "/Systran/faster-whisper-small/resolve/main"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModelServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write_vocabulary(tmp_path / "vocabulary.txt")
    with model_server() as server:
        server.files[f"{BASE}/model.bin"] = WEIGHTS
        server.files[f"{BASE}/config.json"] = b"{}"
        server.files[f"{BASE}/vocabulary.txt"] = (tmp_path / "vocabulary.txt").read_bytes()
        yield server


@pytest.fixture
def store(server: ModelServer, tmp_path: Path) -> Ct2Store:
    return Ct2Store(tmp_path / "cache", hub_url=server.url)


def test_a_model_is_downloaded_once_and_then_at_hand(server: ModelServer, store: Ct2Store) -> None:
    assert not store.at_hand("small")
    told: list[tuple[str, int, int]] = []
    model = store.find("small", progress=lambda *told_now: told.append(told_now))
    assert model.folder is not None
    assert model.parts[0].read_bytes() == WEIGHTS
    assert told[-1] == ("download", len(WEIGHTS), len(WEIGHTS))
    assert store.at_hand("small")
    n_requests = len(server.requests)
    assert store.find("small") == model
    assert len(server.requests) == n_requests


def test_the_digest_that_the_hub_announces_is_checked(server: ModelServer, store: Ct2Store) -> None:
    moved = "/elsewhere/model.bin"
    server.files[moved] = WEIGHTS
    server.redirects[f"{BASE}/model.bin"] = moved
    told = {"X-Linked-Size": str(len(WEIGHTS)), "X-Linked-Etag": f'"{"0" * 64}"'}
    server.told[f"{BASE}/model.bin"] = told
    with pytest.raises(ModelError, match="damaged on the way"):
        store.find("small")
    assert not list(store._folder("small").glob("model.bin*"))
    told["X-Linked-Etag"] = f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    assert store.find("small").parts[0].read_bytes() == WEIGHTS


def test_a_download_that_breaks_off_is_gone_on_with(server: ModelServer, store: Ct2Store) -> None:
    server.files[f"{BASE}/model.bin"] = WEIGHTS
    server.cuts = [10**9, 10**9, 1000]
    assert store.find("small").parts[0].read_bytes() == WEIGHTS
    assert (f"{BASE}/model.bin", "bytes=1000-") in server.requests


def test_newer_models_have_their_vocabulary_as_json(server: ModelServer, store: Ct2Store) -> None:
    names = server.files.pop(f"{BASE}/vocabulary.txt").decode().split()
    server.files[f"{BASE}/vocabulary.json"] = json.dumps(names).encode()
    assert store.find("small").vocabulary.name == "vocabulary.json"


def test_a_page_in_place_of_the_weights_is_refused(server: ModelServer, store: Ct2Store) -> None:
    server.files[f"{BASE}/model.bin"] = b"<html>Please log in</html>"
    with pytest.raises(ModelError, match="not what it should be"):
        store.find("small")


def test_a_hub_without_the_model_is_told_with_a_way_out(
    server: ModelServer, store: Ct2Store
) -> None:
    with pytest.raises(ModelError, match=r"404.*STREAM_TRANSCRIBE_CT2_HUB"):
        store.find("medium")


def test_a_damaged_download_is_removed_and_can_be_had_again(store: Ct2Store) -> None:
    path = store.find("small").parts[0]
    path.write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelError, match="has been removed: run it again"):
        store.find("small")
    assert store.find("small").parts[0].read_bytes() == WEIGHTS


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    assert not is_ggml(str(tmp_path / "whisper-small-quantized"))
    assert not is_ggml("./my-quick-model")


def test_a_folder_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    (tmp_path / "config.json").write_text("{}")
    write_vocabulary(tmp_path / "vocabulary.txt")
    assert Ct2Store().find(str(tmp_path)).folder == tmp_path


@pytest.mark.parametrize("length", [0, 100, len(WEIGHTS) // 2, len(WEIGHTS) - 1])
def test_truncated_weights_are_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "model.bin").write_bytes(WEIGHTS[:length])
    (tmp_path / "config.json").write_text("{}")
    write_vocabulary(tmp_path / "vocabulary.txt")
    with pytest.raises(ModelError, match="not a sound CTranslate2 model"):
        Ct2Store().find(str(tmp_path))


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "vocabulary.txt"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "model.bin").write_bytes(WEIGHTS)
    (tmp_path / "config.json").write_text("{}")
    write_vocabulary(tmp_path / "vocabulary.txt")
    (tmp_path / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        Ct2Store().find(str(tmp_path))


def test_unknown_names_and_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match=r"no model 'nosuch'"):
        Ct2Store().find("nosuch")
    with pytest.raises(UnknownModelError, match="no folder"):
        Ct2Store().find(str(tmp_path / "nosuch"))


@pytest.mark.parametrize("name", ["tiny.en-q8_0", "./ggml-mine.bin", "base-q5_1"])
def test_models_of_whisper_cpp_are_refused(name: str) -> None:
    assert is_ggml(name)
    with pytest.raises(ConfigurationError, match=r"whisper\.cpp"):
        Ct2Store().find(name)


def test_installed_weights_are_used_where_they_lie() -> None:
    for name in ("tiny.en", "base"):
        wheel = find_wheel(name)
        assert wheel is not None
        assert Ct2Store().find(name).parts == wheel.parts
        assert not is_ggml(name)
