"""Names told before, with the real models: they are not heard where nobody speaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import ScriptedSource, chunks_of

from sources.file import FileSource
from streaming import BackendPool, Committed
from streaming.app import Settings, make_pipeline, make_worker
from streaming.audio import SAMPLE_RATE, Samples
from streaming.errors import ConfigurationError
from streaming.events import text_of
from streaming.protocols import Source
from streaming.words import key

pytestmark = [pytest.mark.needs_model, pytest.mark.timeout(600)]

NAMES = (
    *("Gutenberg", "Peter Schoeffer", "Sweynheim", "Pannartz", "Subiaco", "Kowalczyk", "Nakamura"),
    *("O'Shaughnessy", "Mbeki", "Reykjavik", "Kubernetes", "Postgres", "Mission Control"),
    *("Space Shuttle Columbia", "Bunker Hill", "Baghdad", "Houston", "Texas"),
)
"""About as many as a prompt has room for."""
PASS_COST_S = {"whisper.cpp": 0.25, "ctranslate2": 0.1}


@pytest.fixture(scope="module", params=PASS_COST_S)
def loaded(request: pytest.FixtureRequest) -> Iterator[tuple[Settings, BackendPool]]:
    name: str = request.param
    settings = Settings(
        backend=name, hotwords=NAMES, pace="simulated", pass_cost_s=PASS_COST_S[name]
    )
    worker = make_worker(settings)
    yield settings, worker
    worker.close()


def committed(source: Source, loaded: tuple[Settings, BackendPool], **choices: object) -> str:
    settings, worker = loaded
    settings = replace(settings, **choices)  # type: ignore[arg-type]

    async def run() -> str:
        async with make_pipeline(source, settings, worker=worker) as pipeline:
            words = [e.words async for e in pipeline.events() if isinstance(e, Committed)]
            return text_of([word for spoken in words for word in spoken])

    return asyncio.run(run())


def silence() -> Samples:
    return np.zeros(10 * SAMPLE_RATE, np.float32)


def white() -> Samples:
    return np.random.default_rng(0).normal(0, 0.1, 10 * SAMPLE_RATE).astype(np.float32)


def brown() -> Samples:
    walk = np.cumsum(np.random.default_rng(0).normal(0, 1, 10 * SAMPLE_RATE))
    walk -= np.convolve(walk, np.ones(2000) / 2000, "same")
    loud: Samples = (0.5 * walk / np.abs(walk).max()).astype(np.float32)
    return loud


def hum() -> Samples:
    time_s = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 50 * time_s)).astype(np.float32)


@pytest.mark.parametrize("noise", [silence, white, brown, hum])
def test_no_name_is_heard_in_noise_and_silence(
    noise: object, loaded: tuple[Settings, BackendPool]
) -> None:
    assert callable(noise)
    assert committed(ScriptedSource(chunks_of(noise())), loaded) == ""


def test_no_name_is_heard_in_an_office(
    recordings: Path, loaded: tuple[Settings, BackendPool]
) -> None:
    source = FileSource(recordings / "office_ambience_60s.flac", pace="simulated")
    assert committed(source, loaded) == ""


def test_a_jackhammer_over_a_sentence_says_no_name(
    recordings: Path, loaded: tuple[Settings, BackendPool]
) -> None:
    source = FileSource(recordings / "jackhammer_3s.flac", pace="simulated")
    heard = {key(word) for word in committed(source, loaded).split()}
    assert heard
    assert not heard & {key(part) for name in NAMES for part in name.split()}


def test_in_pauses_nothing_is_said_again(
    recordings: Path, loaded: tuple[Settings, BackendPool]
) -> None:
    reference = (recordings / "bush_columbia_29s.txt").read_text().split()
    source = FileSource(recordings / "bush_columbia_29s.flac", pace="simulated")
    heard = committed(source, loaded).split()
    assert len(reference) - 3 <= len(heard) <= len(reference) + 1
    assert "houston" in map(key, heard)


def test_names_that_would_be_cut_off_are_refused(loaded: tuple[Settings, BackendPool]) -> None:
    source = ScriptedSource(chunks_of(silence()))
    with pytest.raises(ConfigurationError, match=r'takes 100, up to "\.\.\..*"; leave out'):
        committed(source, loaded, hotwords=(*NAMES, *(f"Name{i}" for i in range(20))))
