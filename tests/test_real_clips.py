"""Every recording, streamed with the real models: promises, quality, delays.

Passes have a fixed cost on the virtual clock, so the figures do not depend on how busy the
machine is; the benchmark measures with what passes really take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming import BackendPool, Committed, Event, Final
from streaming.app import Settings, make_worker
from streaming.app.evaluate_command import measure_clip
from streaming.evaluation import Clip, Evaluation, check_events, evaluate, load_manifest
from streaming.words import key

pytestmark = [pytest.mark.needs_model, pytest.mark.needs_recordings, pytest.mark.timeout(600)]

PASS_COST_S = {"whisper.cpp": 0.25, "ctranslate2": 0.1}
"""About what a pass of tiny.en takes on two slow cores."""
MOST_LOST = {"whisper.cpp": 0.015, "ctranslate2": 0.02}
"""Error rate that streaming may cost; weights of 8 bits are a little less steady."""
BACKENDS = tuple(PASS_COST_S)


def settings_of(backend: str, model: str = "tiny.en", **choices: Any) -> Settings:
    cost_s = PASS_COST_S[backend]
    if model == "base":  # a larger model, and twice the chunk, so that its passes still fit
        choices = {"language": "auto", "chunk_s": 1.0, **choices}
        cost_s *= 2
    return Settings(backend=backend, model=model, pace="simulated", pass_cost_s=cost_s, **choices)


Workers = dict[tuple[str, str], BackendPool]
LONG_CHUNKS = {"chunk_s": 2.0}
"""For the promises alone: a quarter of the passes."""


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    made = {
        (backend, model): make_worker(settings_of(backend, model))
        for backend in BACKENDS
        for model in ("tiny.en", "base")
    }
    yield made
    for worker in made.values():
        worker.close()


@pytest.fixture
def clips(recordings: Path) -> dict[str, Clip]:
    return {clip.name: clip for clip in load_manifest(recordings / "manifest.json")}


def stream(clip: Clip, settings: Settings, workers: Workers) -> tuple[Evaluation, list[Event]]:
    """Stream a clip; its log must keep every promise."""
    worker = workers[settings.backend, settings.model]
    measured, events = asyncio.run(measure_clip(clip, settings, worker))
    assert check_events(events) == []
    return evaluate([measured]), events


def words_of(events: list[Event]) -> list[str]:
    return [key(w.text) for e in events if isinstance(e, Committed) for w in e.words]


def most_repeats(words: list[str], n: int = 4) -> int:
    """How often an n-gram stands in a row, at most."""
    most = 0
    for start in range(len(words) - n + 1):
        block, times = words[start : start + n], 1
        while words[start + n * times : start + n * (times + 1)] == block:
            times += 1
        most = max(most, times)
    return most


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_speech_is_heard_nearly_as_well_as_offline_and_soon(
    backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    evaluation, events = stream(clips["bush_radio_127s"], settings_of(backend), workers)
    assert evaluation.wer_lost is not None
    assert evaluation.commit_delay_s is not None
    assert evaluation.wer_lost <= MOST_LOST[backend]
    assert evaluation.commit_delay_s.p50 <= 1.1
    assert evaluation.commit_delay_s.p95 <= 2.2
    assert most_repeats(words_of(events)) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["jfk_11s", "harvard_18s", "bush_columbia_29s"])
def test_first_and_last_words_are_there(
    name: str, backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    evaluation, events = stream(clips[name], settings_of(backend), workers)
    words = words_of(events)
    assert clips[name].reference
    said = [key(word) for word in str(clips[name].reference).split()]
    assert (words[0], words[-1]) == (said[0], said[-1])
    assert evaluation.words >= 0.95 * len(said)
    assert sum(isinstance(event, Final) for event in events) >= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name",
    [
        "printing_231s",
        "printing_office_5db",
        "jackhammer_3s",
        "ami_meeting_30s",
        "apollo11_radio_89s",
    ],
)
def test_long_and_hard_audio_keeps_the_promises(
    name: str, backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    _, events = stream(clips[name], settings_of(backend, **LONG_CHUNKS), workers)
    assert most_repeats(words_of(events)) <= 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_office_without_speech_yields_hardly_a_word(
    backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    evaluation, _ = stream(clips["office_ambience_60s"], settings_of(backend), workers)
    assert evaluation.words <= 5


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_wrong_language_is_not_repeated(
    backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    clip = Clip("veneno", clips["veneno_es_70s"].audio, None, "en")
    _, events = stream(clip, settings_of(backend), workers)
    assert most_repeats(words_of(events)) <= 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("name", "language"), [("kyakkan_ja_5s", "ja"), ("guangzhou_zh_4s", "zh")])
def test_languages_without_spaces_come_out_a_character_a_word(
    name: str,
    language: str,
    backend: str,
    clips: dict[str, Clip],
    workers: Workers,
) -> None:
    _, events = stream(clips[name], settings_of(backend, "base"), workers)
    finals = [event for event in events if isinstance(event, Final)]
    assert {event.language for event in finals} == {language}
    words = [word.text.strip() for event in finals for word in event.words]
    assert words
    assert all(len(key(word)) <= 1 for word in words if not word.isascii())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["veneno_es_70s", "simplicissimus_de_68s", "consulat_fr_7s"])
def test_other_languages_keep_the_promises(
    name: str, backend: str, clips: dict[str, Clip], workers: Workers
) -> None:
    _, events = stream(clips[name], settings_of(backend, "base", **LONG_CHUNKS), workers)
    assert most_repeats(words_of(events)) <= 3
