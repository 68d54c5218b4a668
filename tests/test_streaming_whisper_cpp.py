"""The whisper.cpp backend with the real tiny.en (and base) weights."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audio_files import read_audio

from streaming.audio import SAMPLE_RATE, Samples
from streaming.backends.pool import BackendPool
from streaming.backends.whisper_cpp import WhisperCppBackend
from streaming.errors import BackendError, ConfigurationError, ModelError
from streaming.events import text_of
from streaming.mel import IncrementalMel
from streaming.models import ModelStore, alignment_heads
from streaming.protocols import Window
from streaming.words import key

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


def window_of(samples: Samples, start_sample: int = 0, **fields: object) -> Window:
    mel = IncrementalMel(80, 3_000, start_sample)
    mel.push(samples)
    mel.flush()
    fields = {"language": "en", **fields}
    return Window(start_sample=start_sample, mel=mel.window(0, mel.end_frame), **fields)  # type: ignore[arg-type]


def test_the_sample_is_heard_with_words_in_order(tiny: WhisperCppBackend, jfk: Path) -> None:
    hypothesis = tiny.decode(window_of(read_audio(jfk)))
    heard = [key(word.text) for word in hypothesis.words]
    assert heard[:7] == ["and", "so", "my", "fellow", "americans", "ask", "not"]
    assert heard[-2:] == ["your", "country"]
    assert hypothesis.timing == "aligned"
    assert not hypothesis.looped


def test_word_times_are_absolute_monotone_and_inside_the_window(
    tiny: WhisperCppBackend, jfk: Path
) -> None:
    start = 5 * SAMPLE_RATE
    words = tiny.decode(window_of(read_audio(jfk), start)).words
    assert words[0].start_s >= 5.0
    assert words[-1].end_s <= 5.0 + 11.0
    for before, after in itertools.pairwise(words):
        assert before.start_s <= before.end_s
        assert before.start_s <= after.start_s


def test_word_ends_do_not_reach_through_the_pause_behind_them(
    tiny: WhisperCppBackend, jfk: Path
) -> None:
    """In the sample nobody speaks from 7.6 to 8.1 s and from 2.3 to 3.2 s."""
    words = {round(w.start_s, 1): w for w in tiny.decode(window_of(read_audio(jfk))).words}
    americans = next(w for w in words.values() if key(w.text) == "americans")
    ask = next(w for w in words.values() if key(w.text) == "ask")
    assert americans.end_s < 2.5
    assert ask.start_s > 3.0


def test_decoding_is_stateless(tiny: WhisperCppBackend, jfk: Path) -> None:
    samples = read_audio(jfk)
    first = tiny.decode(window_of(samples))
    tiny.decode(window_of(samples[: 3 * SAMPLE_RATE], context=" Something else was said."))
    assert tiny.decode(window_of(samples)) == first


def test_two_models_hear_at_the_same_time_what_one_hears_alone(
    tiny: WhisperCppBackend, jfk: Path
) -> None:
    samples = read_audio(jfk)
    starts = (0, 3 * SAMPLE_RATE, 6 * SAMPLE_RATE)
    windows = [window_of(samples[start:][: 5 * SAMPLE_RATE], start) for start in starts]
    alone = [tiny.decode(window).words for window in windows]
    assert all(alone)
    pool = BackendPool(lambda: _load("tiny.en", threads=1), workers=2)
    futures = [pool.submit(window) for window in windows * 2]
    together = [future.result(60) for future in futures]
    assert pool.close(timeout_s=10)
    assert [decoded.hypothesis.words for decoded in together] == alone * 2


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


@pytest.mark.parametrize("n_samples", [0, 160, 1_599, 1_600, 4_800])
def test_very_short_windows_are_no_trouble(tiny: WhisperCppBackend, n_samples: int) -> None:
    tiny.decode(window_of(np.zeros(n_samples, dtype=np.float32)))


def test_a_window_of_thirty_seconds_fits_and_more_is_refused(tiny: WhisperCppBackend) -> None:
    silence = np.zeros((80, 3_000), dtype=np.float32)
    tiny.decode(Window(start_sample=0, mel=silence, language="en"))
    with pytest.raises(BackendError, match="longer than 30 s"):
        tiny.decode(
            Window(start_sample=0, mel=np.zeros((80, 3_001), dtype=np.float32), language="en")
        )


def test_a_prompt_and_hotwords_can_change_the_spelling(
    tiny: WhisperCppBackend, recordings: Path
) -> None:
    samples = read_audio(recordings / "harvard_18s.flac")[: 6 * SAMPLE_RATE]
    plain = text_of(tiny.decode(window_of(samples)).words)
    prompted = text_of(tiny.decode(window_of(samples, prompt="THE STALE SMELL OF OLD BEER")).words)
    assert plain != prompted


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


def test_silence_gives_no_words(tiny: WhisperCppBackend) -> None:
    rng = np.random.default_rng(1)
    hiss = rng.normal(0, 1e-3, 4 * SAMPLE_RATE).astype(np.float32)
    assert len(tiny.decode(window_of(hiss)).words) <= 2


def test_the_wrong_language_does_not_loop_for_long(
    tiny: WhisperCppBackend, recordings: Path
) -> None:
    samples = read_audio(recordings / "veneno_es_70s.flac")
    for start in range(0, 60, 10):
        piece = samples[start * SAMPLE_RATE : (start + 10) * SAMPLE_RATE]
        words = [key(w.text) for w in tiny.decode(window_of(piece)).words]
        grams = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
        for i in range(len(grams) - 12):
            assert len({grams[i], grams[i + 4], grams[i + 8], grams[i + 12]}) > 1


@pytest.mark.parametrize(
    ("clip", "language"),
    [("consulat_fr_7s", "fr"), ("kyakkan_ja_5s", "ja"), ("guangzhou_zh_4s", "zh")],
)
def test_the_language_is_detected(
    base: WhisperCppBackend, recordings: Path, clip: str, language: str
) -> None:
    samples = read_audio(recordings / f"{clip}.flac")
    hypothesis = base.decode(window_of(samples, language=None))
    assert (hypothesis.language, hypothesis.language_detected) == (language, True)


def test_detection_keeps_to_the_candidates(base: WhisperCppBackend, recordings: Path) -> None:
    samples = read_audio(recordings / "consulat_fr_7s.flac")
    hypothesis = base.decode(window_of(samples, language=None, candidates=("en", "ja")))
    assert hypothesis.language in ("en", "ja")


def test_translation_goes_into_english(base: WhisperCppBackend, recordings: Path) -> None:
    samples = read_audio(recordings / "consulat_fr_7s.flac")
    text = text_of(base.decode(window_of(samples, language="fr", task="translate")).words)
    assert "becomes" in text
    assert "devient" not in text


def test_an_unknown_language_is_refused(base: WhisperCppBackend) -> None:
    with pytest.raises(ConfigurationError, match="does not know"):
        base.decode(window_of(np.zeros(16_000, dtype=np.float32), language="xx"))


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


def test_windows_too_short_for_word_times_hold_no_words(tiny: WhisperCppBackend, jfk: Path) -> None:
    samples = read_audio(jfk)[SAMPLE_RATE // 2 :]
    for n_frames in range(17):
        window = window_of(samples[: n_frames * 160])
        assert window.n_frames == n_frames
        words = tiny.decode(window).words
        assert n_frames >= 16 or not words
        assert all(word.end_s <= n_frames / 100 for word in words)
