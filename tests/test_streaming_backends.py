"""What every backend has to do, with the real tiny.en (and base) weights of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from audio_files import read_audio
from windows import window_of

from streaming.app.compose import BACKENDS
from streaming.audio import SAMPLE_RATE
from streaming.backends.pool import BackendPool
from streaming.errors import BackendError, ConfigurationError
from streaming.events import text_of
from streaming.protocols import Backend, Window
from streaming.testing import check_backend
from streaming.words import key

pytestmark = pytest.mark.needs_model

NAMES = ("whisper.cpp", "ctranslate2")


def load(name: str, model: str, threads: int = 2) -> Backend:
    return BACKENDS[name](model=model, threads=threads, progress=None)


@pytest.fixture(scope="module", params=NAMES)
def tiny(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = load(request.param, "tiny.en")
    yield backend
    backend.close()


@pytest.fixture(scope="module", params=NAMES)
def base(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = load(request.param, "base")
    yield backend
    backend.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_is_kept(name: str, jfk: Path) -> None:
    check_backend(lambda: load(name, "tiny.en"), window_of(read_audio(jfk)).mel)


def test_the_sample_is_heard_with_words_in_order(tiny: Backend, jfk: Path) -> None:
    hypothesis = tiny.decode(window_of(read_audio(jfk)))
    heard = [key(word.text) for word in hypothesis.words]
    assert heard[:7] == ["and", "so", "my", "fellow", "americans", "ask", "not"]
    assert heard[-2:] == ["your", "country"]
    assert hypothesis.timing == "aligned"
    assert not hypothesis.looped


def test_word_times_are_absolute_monotone_and_inside_the_window(tiny: Backend, jfk: Path) -> None:
    start = 5 * SAMPLE_RATE
    words = tiny.decode(window_of(read_audio(jfk), start)).words
    assert words[0].start_s >= 5.0
    assert words[-1].end_s <= 5.0 + 11.0
    for before, after in itertools.pairwise(words):
        assert before.start_s <= before.end_s
        assert before.start_s <= after.start_s


def test_word_ends_do_not_reach_through_the_pause_behind_them(tiny: Backend, jfk: Path) -> None:
    """In the sample nobody speaks from 7.6 to 8.1 s and from 2.3 to 3.2 s."""
    words = {round(w.start_s, 1): w for w in tiny.decode(window_of(read_audio(jfk))).words}
    americans = next(w for w in words.values() if key(w.text) == "americans")
    ask = next(w for w in words.values() if key(w.text) == "ask")
    assert americans.end_s < 2.5
    assert ask.start_s > 3.0


def test_decoding_is_stateless(tiny: Backend, jfk: Path) -> None:
    samples = read_audio(jfk)
    first = tiny.decode(window_of(samples))
    tiny.decode(window_of(samples[: 3 * SAMPLE_RATE], context=" Something else was said."))
    assert tiny.decode(window_of(samples)) == first


def test_two_models_hear_at_the_same_time_what_one_hears_alone(tiny: Backend, jfk: Path) -> None:
    samples = read_audio(jfk)
    starts = (0, 3 * SAMPLE_RATE, 6 * SAMPLE_RATE)
    windows = [window_of(samples[start:][: 5 * SAMPLE_RATE], start) for start in starts]
    alone = [tiny.decode(window).words for window in windows]
    assert all(alone)
    pool = BackendPool(lambda: load(tiny.name, "tiny.en", threads=1), workers=2)
    futures = [pool.submit(window) for window in windows * 2]
    together = [future.result(60) for future in futures]
    assert pool.close(timeout_s=10)
    assert [decoded.hypothesis.words for decoded in together] == alone * 2


@pytest.mark.parametrize("n_samples", [0, 160, 1_599, 1_600, 4_800])
def test_very_short_windows_are_no_trouble(tiny: Backend, n_samples: int) -> None:
    tiny.decode(window_of(np.zeros(n_samples, dtype=np.float32)))


def test_a_window_of_thirty_seconds_fits_and_more_is_refused(tiny: Backend) -> None:
    silence = np.zeros((80, 3_000), dtype=np.float32)
    tiny.decode(Window(start_sample=0, mel=silence, language="en"))
    with pytest.raises(BackendError, match="longer than 30 s"):
        tiny.decode(
            Window(start_sample=0, mel=np.zeros((80, 3_001), dtype=np.float32), language="en")
        )


def test_a_prompt_and_hotwords_can_change_the_spelling(tiny: Backend, recordings: Path) -> None:
    samples = read_audio(recordings / "harvard_18s.flac")[: 6 * SAMPLE_RATE]
    plain = text_of(tiny.decode(window_of(samples)).words)
    prompted = text_of(tiny.decode(window_of(samples, prompt="THE STALE SMELL OF OLD BEER")).words)
    assert plain != prompted


def test_silence_gives_no_words(tiny: Backend) -> None:
    rng = np.random.default_rng(1)
    hiss = rng.normal(0, 1e-3, 4 * SAMPLE_RATE).astype(np.float32)
    assert len(tiny.decode(window_of(hiss)).words) <= 2


def test_the_wrong_language_does_not_loop_for_long(tiny: Backend, recordings: Path) -> None:
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
    base: Backend, recordings: Path, clip: str, language: str
) -> None:
    samples = read_audio(recordings / f"{clip}.flac")
    hypothesis = base.decode(window_of(samples, language=None))
    assert (hypothesis.language, hypothesis.language_detected) == (language, True)


def test_detection_keeps_to_the_candidates(base: Backend, recordings: Path) -> None:
    samples = read_audio(recordings / "consulat_fr_7s.flac")
    hypothesis = base.decode(window_of(samples, language=None, candidates=("en", "ja")))
    assert hypothesis.language in ("en", "ja")


def test_translation_goes_into_english(base: Backend, recordings: Path) -> None:
    samples = read_audio(recordings / "consulat_fr_7s.flac")
    text = text_of(base.decode(window_of(samples, language="fr", task="translate")).words)
    assert "becomes" in text
    assert "devient" not in text


def test_an_unknown_language_is_refused(base: Backend) -> None:
    with pytest.raises(ConfigurationError, match="does not know"):
        base.decode(window_of(np.zeros(16_000, dtype=np.float32), language="xx"))


def test_windows_too_short_for_word_times_hold_no_words(tiny: Backend, jfk: Path) -> None:
    samples = read_audio(jfk)[SAMPLE_RATE // 2 :]
    for n_frames in range(17):
        window = window_of(samples[: n_frames * 160])
        assert window.n_frames == n_frames
        words = tiny.decode(window).words
        assert n_frames >= 16 or not words
        assert all(word.end_s <= n_frames / 100 for word in words)
