"""A backend that raises, returns garbage or hangs, once and again and again, at every pace."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import cli_plugin
import numpy as np
import pytest
from fakes import ListSink, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say
from faults import ENDS_S, GARBAGE, FaultyBackend, Ran, fail, hang, run_faulty
from server_process import Served, serving
from stream_client import StreamClient, events_of, pcm

from streaming.backends.pool import BackendPool
from streaming.errors import BackendError, ConfigurationError
from streaming.hypothesis_check import defect_of
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import Window

SCRIPT = say(6, 4)
SAID = [word.text for word in SCRIPT.words]
PACES: list[Pace] = ["realtime", "fast", "simulated"]

ERRORS = {
    "backend_error": BackendError("the core failed"),
    "bug": ZeroDivisionError("division by zero"),
    "memory": MemoryError(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
}


def run(backend: ScriptedBackend, pace: Pace = "simulated", **options: Any) -> Ran:
    return run_faulty(backend, SCRIPT, pace=pace, **options)


# -- raises ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_a_pass_that_raises_is_lost_and_told_and_no_word_is(error: BaseException) -> None:
    backend = FaultyBackend(SCRIPT, faults={1: fail(error)})
    ran = run(backend)
    assert ran.error is None
    assert ran.text == SAID
    (notice,) = ran.notices("pass_failed")
    assert notice.level == "warning"
    assert (str(error) or type(error).__name__) in notice.message
    assert "the next pass hears the audio again" in notice.message
    assert ran.reason == "end_of_stream"


@pytest.mark.parametrize("pace", PACES)
def test_two_failures_in_a_row_are_survived_however_often(pace: Pace) -> None:
    # Work that waits coalesces: few passes are certain.
    faults = {n: fail(BackendError("no")) for n in (0, 1, 3, 4)}
    ran = run(FaultyBackend(SCRIPT, faults=faults), pace)
    assert ran.error is None
    assert ran.text == SAID
    assert len(ran.notices("pass_failed")) == 4


@pytest.mark.parametrize("pace", PACES)
def test_three_failures_in_a_row_end_the_session_and_keep_what_was_committed(pace: Pace) -> None:
    backend = FaultyBackend(SCRIPT, always=fail(BackendError("no")))
    backend.faults = {}
    source = ScriptedSource(chunks_of(SCRIPT.audio()))
    ran = run(backend, pace, source=source)
    assert isinstance(ran.error, BackendError)
    assert backend.decoded == 3
    assert ran.codes == ["pass_failed", "pass_failed", "backend_error"]
    assert ran.reason == "backend_error"
    assert not source.is_open


@pytest.mark.parametrize("pace", ["fast", "simulated"])  # the number of passes is certain there
def test_text_that_is_committed_stays_when_the_backend_fails_for_good(pace: Pace) -> None:
    faults = {n: fail(BackendError("no")) for n in range(5, 100)}
    ran = run(FaultyBackend(SCRIPT, faults=faults), pace)
    assert isinstance(ran.error, BackendError)
    assert ran.text == SAID[: len(ran.text)]
    assert ran.text
    assert "".join(final.text for final in ran.finals) == "".join(ran.text)


def test_tries_are_half_a_second_apart_so_that_a_fault_may_pass() -> None:
    at_s: list[float] = []

    def note(*_: object) -> object:
        at_s.append(time.monotonic())
        raise BackendError("no")

    run(FaultyBackend(SCRIPT, always=note), "realtime")
    assert len(at_s) == 3
    assert at_s[2] - at_s[0] >= 0.95


def test_what_no_other_try_can_help_is_not_tried_again() -> None:
    backend = FaultyBackend(SCRIPT, always=fail(ConfigurationError("such a prompt is too long")))
    ran = run(backend)
    assert isinstance(ran.error, ConfigurationError)
    assert backend.decoded == 1


def test_a_pool_that_is_closed_meanwhile_ends_the_session_at_once() -> None:
    backend = ScriptedBackend(SCRIPT)
    worker = BackendPool(lambda: backend)

    class Closing(ListSink):
        async def write(self, event: object) -> None:
            if len(self.events) == 3:
                worker.close()
            await super().write(event)  # type: ignore[arg-type]

    async def scenario() -> None:
        source = ScriptedSource(chunks_of(SCRIPT.audio()))
        async with Pipeline(source, worker, make_parts(), [Closing()], pace="fast") as pipeline:
            await pipeline.run()

    with pytest.raises(BackendError, match="closed"):
        asyncio.run(asyncio.wait_for(scenario(), ENDS_S))


# -- garbage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_a_failed_pass_and_nothing_of_it_is_told(name: str) -> None:
    plain = run(ScriptedBackend(SCRIPT), "simulated", pass_cost_s=0.1)
    faults = {2: GARBAGE[name], 5: GARBAGE[name]}
    ran = run(FaultyBackend(SCRIPT, faults=faults), "simulated", pass_cost_s=0.1)
    assert ran.error is None
    assert ran.text == plain.text == SAID
    told = ran.notices("pass_failed")
    assert len(told) == 2
    assert all("scripted returned garbage: " in notice.message for notice in told)


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_again_and_again_ends_the_session(name: str) -> None:
    backend = FaultyBackend(SCRIPT, always=GARBAGE[name])
    ran = run(backend)
    assert isinstance(ran.error, BackendError)
    assert backend.decoded == 3
    assert ran.text == []
    assert ran.reason == "backend_error"


def test_what_a_sound_backend_hears_is_no_garbage() -> None:
    heard = []

    class Watched(ScriptedBackend):
        def decode(self, window: Window) -> object:  # type: ignore[override]
            hypothesis = super().decode(window)
            heard.append(defect_of(hypothesis, window))
            return hypothesis

    for forces in (False, True):
        backend = Watched(SCRIPT)
        backend.forces_prefix = forces
        run(backend)
    assert heard
    assert set(heard) == {None}


# -- hangs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("at", [0, 3])
def test_a_pass_that_hangs_ends_the_session_within_its_limit(at: int, pace: Pace) -> None:
    began_s = time.monotonic()
    ran = run(FaultyBackend(SCRIPT, faults={at: hang}), pace, pass_limit_s=0.3)
    assert time.monotonic() - began_s >= 0.3
    assert isinstance(ran.error, BackendError)
    assert "a pass has taken more than 0.3 s; --pass-limit allows more" in str(ran.error)
    assert ran.codes == ["backend_error"]
    assert ran.reason == "backend_error"
    assert ran.text == SAID[: len(ran.text)]


def test_after_a_hang_the_backend_takes_no_more_work_and_all_who_wait_are_told() -> None:
    backend = FaultyBackend(SCRIPT, always=hang)
    worker = BackendPool(lambda: backend, pass_limit_s=0.3)
    window = Window(start_sample=0, mel=np.zeros((80, 100), np.float32))
    futures = [worker.submit(window) for _ in range(3)]
    for future in futures:
        with pytest.raises(BackendError, match="a pass has taken more"):
            future.result(ENDS_S)
    with pytest.raises(BackendError, match="a pass has taken more"):
        worker.submit(window)
    assert worker.ended.result(ENDS_S) is worker.error
    assert worker.statistics().failed
    assert backend.decoded == 1


def test_without_a_limit_a_slow_pass_is_waited_for() -> None:
    def slow(hypothesis: object, window: Window) -> object:
        time.sleep(0.5)
        return hypothesis

    ran = run(FaultyBackend(SCRIPT, faults={1: slow}), pass_limit_s=0)
    assert ran.error is None
    assert ran.text == SAID


def test_the_run_goes_on_without_a_final_model_that_hangs() -> None:
    final = FaultyBackend(SCRIPT, model="large", faults={1: hang})
    pool = BackendPool(lambda: final, pass_limit_s=0.3)
    ran = run(ScriptedBackend(SCRIPT), final_worker=pool)
    assert ran.text == SAID
    assert isinstance(ran.error, BackendError)  # in the end
    assert ran.codes == ["final_model_error"]
    assert ran.reason == "end_of_stream"


def test_the_process_leaves_with_1_though_the_thread_hangs(tmp_path: Path) -> None:
    cli_plugin.install(tmp_path)
    jfk = Path(__file__).parents[1] / "examples" / "jfk.flac"
    process = cli_plugin.start(
        tmp_path, jfk, "--pace", "fast", "--backend", "scripted:pass_s=300", "--pass-limit", "1"
    )
    out, err = ended(process)
    assert process.returncode == 1
    assert out == ""
    assert err.splitlines() == [
        "stream-transcribe: a pass has taken more than 1 s; --pass-limit allows more"
    ]


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=ENDS_S)
    finally:
        process.kill()


def test_a_server_whose_backend_hangs_tells_its_sessions_and_leaves_with_1(
    tmp_path: Path,
) -> None:
    async def scenario(served: Served) -> None:
        async with (
            asyncio.timeout(ENDS_S),
            StreamClient(served.stream) as speaking,
            StreamClient(served.stream) as silent,
        ):
            await silent.until(type="session")
            tmp_path.joinpath("hang").touch()
            await speaking.send(pcm(cli_plugin.SAID.audio()[:96_000]))
            said = await speaking.to_the_end()
            assert speaking.close_code == 1011
            assert events_of(said)[-1]["reason"] == "backend_error"
            await silent.to_the_end()
            assert silent.close_code == 1012  # it may come again

    options = ["--vad", "loud", "--pass-limit", "1", "--drain", "5"]
    with serving(tmp_path, *options, backend="scripted:hangs=1") as served:
        served.until_ready()
        asyncio.run(scenario(served))
        assert served.process.wait(ENDS_S) == 1
    assert served.lines[-1] == (
        "stream-transcribe: a pass has taken more than 1 s; --pass-limit allows more\n"
    )
