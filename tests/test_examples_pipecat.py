"""The adapter for pipecat, in a real pipeline of that framework."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pytest
from audio_files import JFK, read_audio
from fakes import HangingBackend, LoudnessVad, Script, ScriptedBackend, say, until, worker_for

from streaming import BackendPool, Final, Partial
from streaming.app import compose
from streaming.audio import Samples, samples_from_seconds
from streaming.errors import ConfigurationError
from streaming.events import text_of

wait_for = asyncio.wait_for
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "'audioop' is deprecated", DeprecationWarning)
    from loguru import logger
    from pipecat.frames.frames import (
        EndFrame,
        ErrorFrame,
        Frame,
        InputAudioRawFrame,
        InterimTranscriptionFrame,
        MetricsFrame,
        STTMuteFrame,
        TranscriptionFrame,
        UserAudioRawFrame,
        VADUserStartedSpeakingFrame,
        VADUserStoppedSpeakingFrame,
    )
    from pipecat.metrics.metrics import STTUsageMetricsData, TTFBMetricsData
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
    from pipecat.transcriptions.language import Language
    from pipecat.workers.runner import WorkerRunner

    from examples.pipecat_stt import StreamTranscribeSTTService

pipecat_s_wait_for, asyncio.wait_for = asyncio.wait_for, wait_for  # it replaces what all use

T = TypeVar("T", bound=Frame)
LIMIT_S = 30.0
IN_ORDER = (InterimTranscriptionFrame, TranscriptionFrame, EndFrame)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What pipecat logs is not looked at."""
    logger.disable("pipecat")
    yield
    logger.enable("pipecat")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipecat's ``wait_for``, and a detector that knows what a script knows."""
    monkeypatch.setattr(asyncio, "wait_for", pipecat_s_wait_for)
    monkeypatch.setitem(compose.VADS, "loud", LoudnessVad)  # type: ignore[attr-defined]


class Keep(FrameProcessor):
    """Keeps what comes by, and passes it on."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            self.frames.append(frame)
        await self.push_frame(frame, direction)

    def of(self, kind: type[T]) -> list[T]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


@dataclass
class Call:
    """A running pipeline: before the service, the service, after it."""

    service: StreamTranscribeSTTService
    rate: int
    before: Keep = field(default_factory=Keep)
    after: Keep = field(default_factory=Keep)

    def __post_init__(self) -> None:
        params = PipelineParams(
            audio_in_sample_rate=self.rate, enable_metrics=True, enable_usage_metrics=True
        )
        line = Pipeline([self.before, self.service, self.after])
        self.worker = PipelineWorker(
            line, params=params, enable_rtvi=False, cancel_on_idle_timeout=False
        )

    async def hear(self, samples: Samples, *, speed: float = 8.0, user: str = "") -> None:
        """Frames of 20 ms, so many times faster than they were said."""
        pcm = (samples * 32767).astype(np.int16)
        size = self.rate // 50
        for at in range(0, len(pcm), size):
            audio = pcm[at : at + size].tobytes()
            frame = InputAudioRawFrame(audio, self.rate, 1)
            if user:
                frame = UserAudioRawFrame(audio, self.rate, 1, user_id=user)
            await self.worker.queue_frame(frame)
            await asyncio.sleep(0.02 / speed)

    async def stops_speaking(self) -> None:
        said = VADUserStoppedSpeakingFrame(stop_secs=0.2)
        await self.worker.queue_frame(said, FrameDirection.UPSTREAM)  # from who talks back

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            await until(condition, every_s=0.005)


@asynccontextmanager
async def calling(service: StreamTranscribeSTTService, rate: int = 16_000) -> AsyncIterator[Call]:
    """A call that ends in order, unless the body has ended it."""
    call = Call(service, rate)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    running = asyncio.create_task(runner.run())
    try:
        yield call
        await call.worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, LIMIT_S)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def service(worker: BackendPool, **choices: Any) -> StreamTranscribeSTTService:
    return StreamTranscribeSTTService(worker=worker, vad="loud", **choices)


def texts(script: Script, *lengths: int) -> list[str]:
    """What so many words after one another are, as a reader sees them."""
    words = iter(script.words)
    return [text_of([next(words) for _ in range(length)]).strip() for length in lengths]


def test_an_utterance_is_interim_frames_and_then_a_final_one() -> None:
    script = say(8, 3)

    async def run() -> Call:
        with worker_for(ScriptedBackend(script)) as worker:
            async with calling(service(worker)) as call:
                await call.hear(script.audio(), speed=1, user="ann")
        return call

    call = asyncio.run(run())
    shown = call.after.of(InterimTranscriptionFrame)
    finals = call.after.of(TranscriptionFrame)
    assert [final.text for final in finals] == texts(script, 8, 3)
    said: list[InterimTranscriptionFrame | TranscriptionFrame] = [*shown, *finals]
    for frame in said:
        assert frame.user_id == "ann"
        assert frame.language == Language.EN
        assert frame.timestamp
    in_order = [frame for frame in call.after.frames if isinstance(frame, IN_ORDER)]
    assert isinstance(in_order[-1], EndFrame), "what was said comes before the end"
    first = in_order.index(finals[0])
    assert first >= 1
    assert in_order[:first] == shown[:first]
    for frame in shown[:first]:
        assert isinstance(frame.result, Partial)
        assert frame.text == (frame.result.committed + frame.result.tentative).strip()
        assert finals[0].text.startswith(frame.result.committed.strip())
    assert isinstance(finals[0].result, Final)
    assert [word.text for word in finals[0].result.words] == [w.text for w in script.words[:8]]
    assert not call.before.of(ErrorFrame)


def test_where_the_user_stops_speaking_the_text_is_final_at_once() -> None:
    script = say(4, 3, pause_s=3.0)
    audio = script.audio()
    cut = samples_from_seconds(script.words[3].end_s + 0.2)

    async def run() -> Call:
        with worker_for(ScriptedBackend(script)) as worker:
            async with calling(service(worker)) as call:
                await call.worker.queue_frame(VADUserStartedSpeakingFrame())
                await call.hear(audio[:cut])
                await call.stops_speaking()
                await call.until(lambda: call.after.of(TranscriptionFrame))
                await call.hear(audio[cut:])
        return call

    call = asyncio.run(run())
    first, second = call.after.of(TranscriptionFrame)
    assert [first.text, second.text] == texts(script, 4, 3)
    assert first.result is not None
    assert first.result.reason == "flush"
    assert first.finalized
    assert not second.finalized, "nobody has said that the user stopped"
    measured = [each for frame in call.after.of(MetricsFrame) for each in frame.data]
    assert any(isinstance(each, TTFBMetricsData) and each.value > 0.2 for each in measured)
    used = [each.value.audio_seconds for each in measured if isinstance(each, STTUsageMetricsData)]
    assert sum(used) == pytest.approx(script.duration_s, abs=0.03)


def test_who_goes_on_speaking_has_no_finalized_text_yet() -> None:
    script = say(4, 3, pause_s=3.0)
    audio = script.audio()
    cut = samples_from_seconds(script.words[3].end_s + 0.2)
    backend = HangingBackend(script)

    async def run() -> Call:
        with worker_for(backend) as worker:
            async with calling(service(worker)) as call:
                await call.hear(audio[:cut])
                await call.stops_speaking()
                await call.worker.queue_frame(VADUserStartedSpeakingFrame())
                await call.until(lambda: backend.entered.is_set())
                await call.until(lambda: call.after.of(VADUserStartedSpeakingFrame))
                backend.release.set()
                await call.until(lambda: call.after.of(TranscriptionFrame))
        return call

    (final,) = asyncio.run(run()).after.of(TranscriptionFrame)
    assert final.result is not None
    assert final.result.reason == "flush"
    assert not final.finalized


def test_muting_closes_the_utterance_and_drops_what_comes() -> None:
    script = say(4, 3, pause_s=3.0)
    audio = script.audio()
    cut = samples_from_seconds(script.words[3].end_s + 0.2)

    async def run() -> Call:
        with worker_for(ScriptedBackend(script)) as worker:
            async with calling(service(worker)) as call:
                await call.hear(audio[:cut])
                await call.worker.queue_frame(STTMuteFrame(mute=True))
                await call.until(lambda: call.after.of(TranscriptionFrame))
                await call.hear(audio[cut:])
        return call

    finals = asyncio.run(run()).after.of(TranscriptionFrame)
    assert [final.text for final in finals] == texts(script, 4)


def test_audio_is_resampled() -> None:
    script = say(4)
    audio = script.audio()
    faster = np.interp(np.arange(len(audio) * 3 // 2) * 2 / 3, np.arange(len(audio)), audio)

    async def run() -> Call:
        with worker_for(ScriptedBackend(script)) as worker:
            async with calling(service(worker), rate=24_000) as call:
                await call.hear(faster.astype(np.float32))
        return call

    (final,) = asyncio.run(run()).after.of(TranscriptionFrame)
    assert final.text == texts(script, 4)[0]
    assert final.result is not None
    assert final.result.end_s == pytest.approx(script.words[3].end_s, abs=0.1)


def test_two_calls_share_a_model() -> None:
    script = say(4, 3)

    async def run() -> list[Call]:
        with worker_for(ScriptedBackend(script)) as worker:
            async with calling(service(worker)) as one, calling(service(worker)) as other:
                await asyncio.gather(one.hear(script.audio()), other.hear(script.audio()))
            assert not worker.statistics().failed
        return [one, other]

    for call in asyncio.run(run()):
        assert [f.text for f in call.after.of(TranscriptionFrame)] == texts(script, 4, 3)


def test_audio_that_comes_before_the_model_is_heard_and_what_is_too_much_is_told() -> None:
    script = say(4, start_s=33)
    gate = threading.Event()

    def load() -> ScriptedBackend:
        gate.wait(LIMIT_S)
        return ScriptedBackend(script)

    async def run() -> tuple[Call, bool]:
        worker = BackendPool(load)
        try:
            async with calling(service(worker)) as call:
                await call.hear(script.audio(), speed=200)
                await call.stops_speaking()
                gate.set()
                await call.until(lambda: call.after.of(TranscriptionFrame))
                usable = call.service.is_usable
        finally:
            worker.close()
        return call, usable

    call, usable = asyncio.run(run())
    (error,) = call.before.of(ErrorFrame)
    assert "of audio were not heard: overflow" in error.error
    assert usable
    assert [f.text for f in call.after.of(TranscriptionFrame)] == texts(script, 4)


def test_an_error_of_the_model_is_told_once_and_leaves_the_service_unusable() -> None:
    script = say(4, 3)

    async def run() -> Call:
        with worker_for(ScriptedBackend(script, fails_from=1)) as worker:
            async with calling(service(worker)) as call:
                await call.hear(script.audio())
                await call.until(lambda: call.before.of(ErrorFrame))
                assert not call.service.is_usable
                await call.hear(script.audio()[:16_000])
        return call

    call = asyncio.run(run())
    (error,) = call.before.of(ErrorFrame)
    assert error.error == "the script says that this pass fails"
    assert call.after.of(EndFrame)


def test_what_cannot_work_is_told_when_the_service_is_made() -> None:
    with pytest.raises(ConfigurationError, match="knows only English"):
        StreamTranscribeSTTService(model="tiny.en", language="de")


def test_a_cancelled_pipeline_waits_for_no_pass() -> None:
    script = say(4)
    backend = HangingBackend(script)

    async def run() -> Call:
        with worker_for(backend) as worker:
            async with calling(service(worker)) as call:
                await call.hear(script.audio())
                await call.until(backend.entered.is_set)
                await call.worker.cancel()
                await call.until(lambda: call.service._hearing is None)
                assert not backend.release.is_set()
                backend.release.set()
        return call

    call = asyncio.run(run())
    assert not call.after.of(TranscriptionFrame)
    assert not call.before.of(ErrorFrame)


def test_the_end_waits_for_a_pass_that_hangs_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.pipecat_stt.DRAIN_S", 0.1)
    script = say(4)
    backend = HangingBackend(script)

    async def run() -> Call:
        with worker_for(backend) as worker:
            async with calling(service(worker)) as call:
                await call.hear(script.audio())
                await call.until(backend.entered.is_set)
            assert not backend.release.is_set()
            backend.release.set()
        return call

    assert asyncio.run(run()).after.of(EndFrame)


@pytest.mark.needs_model
def test_the_real_model_hears_the_sample_in_a_pipeline() -> None:
    audio = read_audio(JFK)[: samples_from_seconds(5)]

    async def run() -> Call:
        async with calling(StreamTranscribeSTTService(model="tiny.en")) as call:
            await call.hear(audio, speed=2)
        return call

    call = asyncio.run(run())
    said = " ".join(final.text for final in call.after.of(TranscriptionFrame))
    assert said.startswith("And so my fellow Americans")
    assert len(call.after.of(InterimTranscriptionFrame)) >= 3
