from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cli_plugin
import pytest
from fakes import ScriptedBackend, say

import streaming.app
from policies.agreement_hold_back import AgreementHoldBack
from policies.endpoint_only import EndpointOnly
from policies.hold_back import HoldBack
from policies.local_agreement import LocalAgreement
from streaming.app import (
    Settings,
    compose,
    make_final_worker,
    make_parts,
    make_pipeline,
    make_worker,
)
from streaming.app.settings import default_threads, default_workers
from streaming.errors import ConfigurationError
from streaming.events import Event, SessionEnded, SessionStarted


@pytest.mark.parametrize(
    ("model", "english"),
    [
        ("tiny.en", True),
        ("base.en-q8_0", True),
        ("./models/ggml-tiny.en.bin", True),
        ("base", False),
        ("./my.english/ggml-base.bin", False),
        ("./my.en/ggml-base.bin", False),
    ],
)
def test_the_name_of_a_model_tells_whether_it_knows_only_english(model: str, english: bool) -> None:
    settings = Settings(model=model)
    assert settings.english_only is english
    assert settings.languages == (("en", ()) if english else (None, ()))


def test_several_languages_are_candidates_for_detection() -> None:
    options = Settings(model="base", language="en,ja").transcriber_options()
    assert options.language is None
    assert options.candidates == ("en", "ja")


def test_settings_are_described_as_json() -> None:
    described = json.loads(json.dumps(Settings().described()))
    assert described["threads"] == default_threads()
    assert described["policy"].startswith("local-agreement")


def test_a_pass_gets_one_to_four_threads_by_default() -> None:
    assert 1 <= default_threads() <= 4
    with pytest.raises(ConfigurationError, match="--threads must lie between 1 and 256, not 0"):
        Settings(threads=0)


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(1, 1, 1), (2, 2, 1), (8, 8, 1), (16, 8, 2), (64, 8, 4)]
)
def test_a_server_has_a_worker_for_each_core_up_to_eight_and_they_share_what_is_left(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, threads: int
) -> None:
    monkeypatch.setattr("streaming.app.settings._cores", lambda: cores)
    assert default_workers() == workers
    assert default_threads(default_workers()) == threads


def test_workers_share_the_cores_by_default_and_each_has_a_thread() -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cores is not None
    for workers in range(1, cores + 1):
        assert workers * default_threads(workers) <= cores
        assert Settings(workers=workers).described()["threads"] == default_threads(workers)
    assert default_threads(cores + 1) == 1
    assert Settings(workers=cores, threads=4).described()["threads"] == 4  # their machine
    for nonsense in (0, -1, 4 * cores + 1):
        says = f"--workers must lie between 1 and {4 * cores} on this machine, not {nonsense}"
        with pytest.raises(ConfigurationError, match=says):
            Settings(workers=nonsense)


def test_so_many_models_are_loaded_each_with_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads_of: list[int] = []
    all_loaded = threading.Event()

    def load(*, model: str, threads: int, progress: object) -> ScriptedBackend:
        threads_of.append(threads)
        if len(threads_of) == 2:
            all_loaded.set()
        return ScriptedBackend(say(1), model=model)

    monkeypatch.setitem(compose.BACKENDS, "auto", load)
    pool = make_worker(Settings(workers=2))
    pool.start()
    assert all_loaded.wait(5)
    assert pool.close()
    assert threads_of == [default_threads(2)] * 2


@pytest.mark.parametrize(
    ("spec", "kind", "chosen"),
    [
        ("local-agreement:n=3", LocalAgreement, {"history": 3}),
        ("hold-back:seconds=0.5", HoldBack, {"seconds": 0.5}),
        ("agreement-hold-back:n=3,seconds=1", AgreementHoldBack, {"history": 3, "seconds": 1.0}),
        ("endpoint", EndpointOnly, {}),
    ],
)
def test_a_policy_is_chosen_by_its_name(spec: str, kind: type, chosen: dict[str, float]) -> None:
    policy = make_parts(Settings(policy=spec, vad="energy")).commit_policy
    assert type(policy) is kind
    assert vars(policy).items() >= chosen.items()


def test_a_second_model_gets_the_cores_that_are_left_and_at_least_one() -> None:
    assert default_threads(taken=0) == default_threads()
    assert default_threads(taken=1000) == default_threads(2, taken=1000) == 1


def test_the_final_model_gets_what_all_workers_leave_and_the_same_compute_options(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[dict[str, Any]] = []

    def load(**options: Any) -> ScriptedBackend:
        given.append(options)
        return ScriptedBackend(say(1))

    monkeypatch.setattr("streaming.app.settings._cores", lambda: 8)
    monkeypatch.setitem(compose.BACKENDS, "auto", load)
    settings = Settings(final_model="base.en", workers=2, threads=3, compute_type="float32")
    pool = make_final_worker(settings)
    assert pool is not None
    pool.start()
    pool.loaded.result(5)
    assert pool.close()
    chosen = {"model": "base.en", "threads": 2, "compute_type": "float32", "progress": None}
    assert given == [chosen]
    assert make_final_worker(Settings()) is None


@pytest.mark.parametrize(
    ("model", "final_model", "choices"),
    [
        ("tiny.en", "base.en", {}),
        ("tiny.en", "base", {}),
        ("tiny", "base", {"language": "de"}),
        ("tiny", "base", {"translate": True}),
        ("tiny", "./my/base.en.bin", {"language": "en"}),
    ],
)
def test_a_final_model_that_knows_the_language_is_taken(
    model: str, final_model: str, choices: dict[str, Any]
) -> None:
    settings = Settings(model=model, final_model=final_model, **choices)
    assert settings.described()["final_model"] == final_model


@pytest.mark.parametrize(
    "choices",
    [{}, {"language": "de"}, {"language": "en,de"}, {"language": "en", "translate": True}],
)
def test_a_final_model_that_knows_only_english_needs_english(choices: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"base\.en knows only English; --final-model"):
        Settings(model="tiny", final_model="base.en", **choices)


def test_everything_that_the_app_offers_can_be_imported() -> None:
    for name in streaming.app.__all__:
        assert getattr(streaming.app, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = streaming.app.nothing


def test_the_command_imports_no_decoder_before_it_has_something_to_decode() -> None:
    code = (
        "import sys; from streaming.app.cli import run_command; run_command(['models', '--help']);"
        "heavy = {'av', 'numba', '_pywhispercpp', 'jiwer'} & set(sys.modules); sys.exit(str(heavy))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr.strip() == "set()"


def test_a_pipeline_reads_a_path_at_the_pace_of_its_settings(
    jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compose.BACKENDS, "auto", cli_plugin.backend)

    async def run() -> list[Event]:
        async with make_pipeline(jfk, Settings(pace="simulated", pass_cost_s=0.1)) as pipeline:
            return [event async for event in pipeline.events()]

    last = asyncio.run(run())[-1]
    assert isinstance(last, SessionEnded)
    assert last.audio_s == pytest.approx(11)
    assert last.clock_s == pytest.approx(11, abs=0.5), "as if it had been played"


def test_a_pipeline_takes_parts_of_one_s_own(jfk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compose.BACKENDS, "auto", cli_plugin.backend)
    settings = Settings(pace="fast")
    parts = replace(make_parts(settings), label="mine")

    async def run() -> Event:
        async with make_pipeline(str(jfk), settings, parts=parts) as pipeline:
            async for event in pipeline.events():
                return event
        raise AssertionError

    started = asyncio.run(run())
    assert isinstance(started, SessionStarted)
    assert started.label == "mine"


@pytest.mark.parametrize("limit_s", [-1.0, 0.5, 1e6, float("nan"), float("inf")])
def test_a_limit_of_a_pass_is_none_or_seconds_that_make_sense(limit_s: float) -> None:
    assert Settings().pass_limit_s == 120
    assert Settings(pass_limit_s=0).pass_limit_s == 0
    with pytest.raises(ConfigurationError, match="--pass-limit must be 0"):
        Settings(pass_limit_s=limit_s)
