"""Every recording, streamed with the real models: promises, quality, delays.

Passes have a fixed cost on the virtual clock, so the figures do not depend on how busy the
machine is; the benchmark measures with what passes really take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming import BackendPool, Committed, Event, Final
from streaming.app import Settings, make_worker
from streaming.app.evaluate_command import measure_clip
from streaming.evaluation import Clip, Evaluation, check_events, evaluate, load_manifest
from streaming.words import key

pytestmark = [pytest.mark.needs_model, pytest.mark.needs_recordings, pytest.mark.timeout(600)]

PASS_COST_S = 0.25
SETTINGS = {
    "tiny.en": Settings(pace="simulated", pass_cost_s=PASS_COST_S),
    # For the promises alone: half the passes.
    "tiny.en, long chunks": Settings(pace="simulated", pass_cost_s=PASS_COST_S, chunk_s=1.0),
    # The larger model, and twice the chunk, so that its passes still fit between chunks.
    "base": Settings(
        model="base", language="auto", pace="simulated", pass_cost_s=2 * PASS_COST_S, chunk_s=1.0
    ),
}


@pytest.fixture(scope="module")
def workers() -> Iterator[dict[str, BackendPool]]:
    by_model = {s.model: make_worker(s) for s in SETTINGS.values()}
    yield {name: by_model[s.model] for name, s in SETTINGS.items()}
    for worker in by_model.values():
        worker.close()


@pytest.fixture
def clips(recordings: Path) -> dict[str, Clip]:
    return {clip.name: clip for clip in load_manifest(recordings / "manifest.json")}


def stream(
    clip: Clip, workers: dict[str, BackendPool], name: str = "tiny.en"
) -> tuple[Evaluation, list[Event]]:
    """Stream a clip; its log must keep every promise."""
    measured, events = asyncio.run(measure_clip(clip, SETTINGS[name], workers[name]))
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


def test_long_speech_is_heard_nearly_as_well_as_offline_and_soon(
    clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    evaluation, events = stream(clips["bush_radio_127s"], workers)
    assert evaluation.wer_lost is not None
    assert evaluation.commit_delay_s is not None
    assert evaluation.wer_lost <= 0.015
    assert evaluation.commit_delay_s.p50 <= 1.1
    assert evaluation.commit_delay_s.p95 <= 2.2
    assert most_repeats(words_of(events)) == 1


@pytest.mark.parametrize("name", ["jfk_11s", "harvard_18s", "bush_columbia_29s"])
def test_first_and_last_words_are_there(
    name: str, clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    evaluation, events = stream(clips[name], workers)
    words = words_of(events)
    assert clips[name].reference
    said = [key(word) for word in str(clips[name].reference).split()]
    assert (words[0], words[-1]) == (said[0], said[-1])
    assert evaluation.words >= 0.95 * len(said)
    assert sum(isinstance(event, Final) for event in events) >= 1


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
    name: str, clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    _, events = stream(clips[name], workers, "tiny.en, long chunks")
    assert most_repeats(words_of(events)) <= 3


def test_an_office_without_speech_yields_hardly_a_word(
    clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    measured, events = asyncio.run(
        measure_clip(clips["office_ambience_60s"], SETTINGS["tiny.en"], workers["tiny.en"])
    )
    assert check_events(events) == []
    assert measured.words <= 5


def test_the_wrong_language_is_not_repeated(
    clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    clip = Clip("veneno", clips["veneno_es_70s"].audio, None, "en")
    _, events = stream(clip, workers)
    assert most_repeats(words_of(events)) <= 3


@pytest.mark.parametrize(("name", "language"), [("kyakkan_ja_5s", "ja"), ("guangzhou_zh_4s", "zh")])
def test_languages_without_spaces_come_out_a_character_a_word(
    name: str, language: str, clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    _, events = stream(clips[name], workers, "base")
    finals = [event for event in events if isinstance(event, Final)]
    assert {event.language for event in finals} == {language}
    words = [word.text.strip() for event in finals for word in event.words]
    assert words
    assert all(len(key(word)) <= 1 for word in words if not word.isascii())


@pytest.mark.parametrize("name", ["veneno_es_70s", "simplicissimus_de_68s", "consulat_fr_7s"])
def test_other_languages_keep_the_promises(
    name: str, clips: dict[str, Clip], workers: dict[str, BackendPool]
) -> None:
    _, events = stream(clips[name], workers, "base")
    assert most_repeats(words_of(events)) <= 3
