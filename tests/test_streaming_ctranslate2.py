"""What only the CTranslate2 backend does, with the real tiny.en weights."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audio_files import read_audio
from windows import window_of

from streaming.audio import SAMPLE_RATE
from streaming.backends.ctranslate2 import CTranslate2Backend
from streaming.errors import BackendError, ConfigurationError, ModelError
from streaming.events import text_of
from streaming.models import Ct2Store

pytestmark = pytest.mark.needs_model


def load(**choices: Any) -> CTranslate2Backend:
    return CTranslate2Backend(Ct2Store().find("tiny.en"), model="tiny.en", threads=2, **choices)


@pytest.fixture(scope="module")
def tiny() -> Iterator[CTranslate2Backend]:
    backend = load()
    yield backend
    backend.close()


def test_a_forced_prefix_is_kept_word_for_word(tiny: CTranslate2Backend, jfk: Path) -> None:
    window = window_of(read_audio(jfk))
    heard = tiny.decode(window).words
    prefix = (*heard[:3], replace(heard[3], text=" FELLOWS,"))
    forced = tiny.decode(replace(window, prefix=prefix))
    assert forced.n_forced == 4
    assert forced.words[:4] == prefix
    assert "ask not what your country can do for you" in text_of(forced.words[4:])


def test_a_careful_pass_forces_nothing(tiny: CTranslate2Backend, jfk: Path) -> None:
    window = window_of(read_audio(jfk))
    prefix = tiny.decode(window).words[:4]
    careful = tiny.decode(replace(window, prefix=prefix, careful=True))
    assert careful.n_forced is None
    assert text_of(careful.words).strip().startswith("And so")


def test_silence_after_the_prefix_adds_nothing(tiny: CTranslate2Backend, jfk: Path) -> None:
    """In the sample nobody speaks from 2.3 to 3.2 s."""
    window = window_of(read_audio(jfk)[: 3 * SAMPLE_RATE])
    prefix = tiny.decode(window).words
    assert text_of(prefix).strip(" .") == "And so my fellow Americans"
    assert (
        text_of(tiny.decode(replace(window, prefix=prefix)).words[len(prefix) :]).strip(" .") == ""
    )


def test_speech_after_the_prefix_is_never_nothing(tiny: CTranslate2Backend, jfk: Path) -> None:
    window = window_of(read_audio(jfk))
    prefix = tiny.decode(window_of(read_audio(jfk)[: 3 * SAMPLE_RATE])).words
    assert len(tiny.decode(replace(window, prefix=prefix)).words) > len(prefix) + 10


_MANY_LENGTHS = """
import numpy as np
import psutil
from streaming.backends.ctranslate2 import CTranslate2Backend
from streaming.models import Ct2Store
from streaming.protocols import Window

backend = CTranslate2Backend(Ct2Store().find("tiny.en"), model="tiny.en", threads=1)
mel = np.random.default_rng(0).normal(0, 0.3, (80, 1000)).astype(np.float32)
used = []
for step in (97, 5):
    for n_frames in range(100, 1000, step):
        backend.decode(Window(start_sample=0, mel=mel[:, :n_frames], language="en"))
    used.append(psutil.Process().memory_info().rss / 1e6)
print(used[1] - used[0])
"""


def test_windows_of_many_lengths_take_no_more_memory_than_of_a_few() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MANY_LENGTHS], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 60  # MB; it is 200 where every length is kept


def test_other_compute_types_are_served(jfk: Path) -> None:
    backend = load(compute_type="float32")
    assert len(backend.decode(window_of(read_audio(jfk))).words) > 15
    backend.close()


@pytest.mark.parametrize("choice", [{"compute_type": "int3"}, {"device": "abacus"}])
def test_what_it_does_not_serve_is_one_line(choice: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="CTranslate2") as caught:
        load(**choice)
    assert "\n" not in str(caught.value)


def test_a_graphics_card_that_is_not_there_is_one_line() -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is one")
    with pytest.raises((BackendError, ConfigurationError), match="CTranslate2"):
        load(device="cuda")


def test_without_the_package_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "ctranslate2":
            raise ModuleNotFoundError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigurationError, match=r"stream-transcribe\[ct2\]"):
        load()


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("!\n" * 51864)
    files = replace(Ct2Store().find("tiny.en"), vocabulary=vocabulary)
    with pytest.raises(ModelError, match="not Whisper's"):
        CTranslate2Backend(files, model="tiny.en", threads=1)
