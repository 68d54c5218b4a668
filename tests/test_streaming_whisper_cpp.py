"""The whisper.cpp backend with the real tiny.en (and base) weights."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from audio_files import read_audio
from windows import window_of

from streaming.audio import SAMPLE_RATE
from streaming.backends.whisper_cpp import WhisperCppBackend
from streaming.errors import ConfigurationError, ModelError
from streaming.models import ModelStore, alignment_heads

pytestmark = pytest.mark.needs_model


def _load(name: str, threads: int = 2, **context: int) -> WhisperCppBackend:
    path = ModelStore().path(name)
    heads = alignment_heads(path)
    return WhisperCppBackend(path, model=name, threads=threads, alignment_heads=heads, **context)


@pytest.fixture(scope="module")
def tiny() -> Iterator[WhisperCppBackend]:
    backend = _load("tiny.en")
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def base() -> Iterator[WhisperCppBackend]:
    backend = _load("base")
    yield backend
    backend.close()


def test_a_mel_window_gives_the_tokens_that_its_pcm_gives(
    tiny: WhisperCppBackend, jfk: Path
) -> None:
    """The core's own mel of the same audio, through its PCM entry."""
    core, context = tiny._core, tiny._context
    samples = read_audio(jfk)

    def tokens() -> list[int]:
        return [
            core.whisper_full_get_token_id(context, 0, i)
            for i in range(core.whisper_full_n_tokens(context, 0))
        ]

    tiny.decode(window_of(samples))
    ours = tokens()
    params = core.whisper_full_default_params(
        core.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
    )
    params.n_threads = 2
    params.language = "en"
    params.audio_ctx = len(samples) // 320 + 256
    params.no_context = params.single_segment = params.no_timestamps = True
    params.suppress_nst = True
    params.temperature_inc = 0.0
    params.print_progress = params.print_realtime = False
    assert core.whisper_full(context, params, samples, len(samples)) == 0
    assert tokens() == ours


def test_aborting_ends_a_pass_and_leaves_the_backend_usable(
    tiny: WhisperCppBackend, jfk: Path
) -> None:
    samples = read_audio(jfk)
    window = window_of(samples)
    expected = tiny.decode(window)
    results = []
    thread = threading.Thread(target=lambda: results.append(tiny.decode(window)))
    thread.start()
    time.sleep(0.05)
    tiny.abort()
    thread.join(10)
    assert not thread.is_alive()
    assert results[0].words == ()
    assert tiny.decode(window) == expected


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ggml-wrong.bin"
    path.write_bytes(b"not a model" * 100)
    with pytest.raises(ModelError):
        WhisperCppBackend(path, model="wrong", threads=1)


def test_the_segment_list_has_room_from_the_start() -> None:
    """Without it, a pass that its token limit ends reads outside whisper.cpp's memory."""
    backend = _load("tiny.en")
    try:
        assert backend._core.whisper_full_n_segments(backend._context) > 8
    finally:
        backend.close()


def test_the_context_is_the_window_and_its_margin(tiny: WhisperCppBackend, jfk: Path) -> None:
    window = window_of(read_audio(jfk)[: 3 * SAMPLE_RATE + 160])  # an odd number of frames
    full, bare = _load("tiny.en", margin=1500), _load("tiny.en", margin=0, least_context=0)
    try:
        # At full context it is the second try of a pass that looped.
        assert full.decode(window).words == tiny.decode(replace(window, careful=True)).words
        assert bare.decode(window).words != full.decode(window).words
    finally:
        full.close()
        bare.close()
    with pytest.raises(ConfigurationError, match="margin and least_context must be at least 0"):
        _load("tiny.en", margin=-1)
