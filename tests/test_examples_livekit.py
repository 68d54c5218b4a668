"""The adapter for LiveKit Agents, driven as that framework drives its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from audio_files import JFK, read_audio
from fakes import HangingBackend, LoudnessVad, ScriptedBackend, say, until, worker_for
from livekit import rtc
from livekit.agents import APIError, stt
from livekit.agents.metrics import STTMetrics

from examples.livekit_stt import StreamTranscribeSTT
from streaming import BackendPool
from streaming.app import compose
from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds
from streaming.errors import ConfigurationError
from streaming.events import Word, text_of

Type = stt.SpeechEventType
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def loud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that knows what a script knows."""
    monkeypatch.setitem(compose.VADS, "loud", LoudnessVad)  # type: ignore[attr-defined]


def frames(samples: Samples, rate: int = SAMPLE_RATE, channels: int = 1) -> list[rtc.AudioFrame]:
    """Frames of 20 ms, as a room delivers them; of several channels the first has it all."""
    pcm = np.zeros((len(samples), channels), np.int16)
    pcm[:, 0] = samples * 32767
    size = rate // 50
    pieces = [pcm[at : at + size] for at in range(0, len(pcm), size)]
    return [rtc.AudioFrame(piece.tobytes(), rate, channels, len(piece)) for piece in pieces]


@dataclass
class Ear:
    """A stream, and what it says."""

    stream: stt.RecognizeStream
    events: list[stt.SpeechEvent] = field(default_factory=list)

    async def listen(self) -> None:
        async for event in self.stream:
            self.events.append(event)

    async def hear(self, samples: Samples, *, speed: float = 8.0) -> None:
        for frame in frames(samples):
            self.stream.push_frame(frame)
            await asyncio.sleep(0.02 / speed)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            await until(condition, every_s=0.005)

    def of(self, kind: stt.SpeechEventType) -> list[stt.SpeechEvent]:
        return [event for event in self.events if event.type == kind]

    def texts(self, kind: stt.SpeechEventType) -> list[str]:
        return [event.alternatives[0].text for event in self.of(kind)]


@asynccontextmanager
async def listening(recognizer: StreamTranscribeSTT) -> AsyncIterator[Ear]:
    """A stream that is listened to, until the input that the body has given is through."""
    async with recognizer.stream() as stream:
        ear = Ear(stream)
        hearing = asyncio.create_task(ear.listen())
        try:
            yield ear
            stream.end_input()
            async with asyncio.timeout(LIMIT_S):
                await hearing
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


def recognizer(worker: BackendPool, **choices: Any) -> StreamTranscribeSTT:
    return StreamTranscribeSTT(worker=worker, vad="loud", **choices)


def said(words: tuple[Word, ...]) -> str:
    return text_of(words).strip()


def test_a_stream_tells_of_speech_its_text_and_its_end_in_order() -> None:
    script = say(8, 3)

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script)) as worker:
            async with listening(recognizer(worker)) as ear:
                await ear.hear(script.audio(), speed=1)
        return ear

    ear = asyncio.run(run())
    kinds = [event.type for event in ear.events if event.type != Type.INTERIM_TRANSCRIPT]
    whole = [Type.START_OF_SPEECH, Type.FINAL_TRANSCRIPT, Type.END_OF_SPEECH]
    assert kinds == [*whole, Type.RECOGNITION_USAGE] * 2
    first = ear.events.index(ear.of(Type.FINAL_TRANSCRIPT)[0])
    assert first >= 2, "interim text comes before"
    assert {event.type for event in ear.events[1:first]} == {Type.INTERIM_TRANSCRIPT}
    assert ear.texts(Type.FINAL_TRANSCRIPT) == [said(script.words[:8]), said(script.words[8:])]
    assert all(
        said(script.words).startswith(text)
        for text in ear.texts(Type.INTERIM_TRANSCRIPT)[: first - 1]
    )
    assert len({event.request_id for event in ear.events}) == 1


def test_a_final_transcript_has_words_with_times() -> None:
    script = say(4, start_s=1.0)

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script)) as worker:
            async with listening(recognizer(worker)) as ear:
                ear.stream.start_time_offset = 100.0
                await ear.hear(script.audio())
        return ear

    ear = asyncio.run(run())
    (final,) = ear.of(Type.FINAL_TRANSCRIPT)
    (speech,) = final.alternatives
    assert speech.language == "en"
    assert speech.start_time == pytest.approx(101.0, abs=0.01)
    assert speech.end_time == pytest.approx(100 + script.words[-1].end_s, abs=0.01)
    assert speech.words is not None
    assert [str(word) for word in speech.words] == [word.text.strip() for word in script.words]
    assert [word.start_time for word in speech.words] == pytest.approx(
        [100 + word.start_s for word in script.words], abs=0.01
    )
    (started,) = ear.of(Type.START_OF_SPEECH)
    assert started.speech_start_time is not None
    assert final.speech_end_time is not None
    spoken_s = final.speech_end_time - started.speech_start_time
    assert spoken_s == pytest.approx(script.words[-1].end_s - 1.0, abs=0.6)


def test_a_flush_makes_the_text_final_at_once() -> None:
    script = say(4, 3, pause_s=3.0)
    audio = script.audio()
    cut = samples_from_seconds(script.words[3].end_s + 0.2)

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script)) as worker:
            speech_to_text = recognizer(worker)
            assert speech_to_text.capabilities.manual_flush
            async with listening(speech_to_text) as ear:
                await ear.hear(audio[:cut])
                ear.stream.flush()
                await ear.until(lambda: ear.of(Type.END_OF_SPEECH))
                await ear.hear(audio[cut:])
        return ear

    ear = asyncio.run(run())
    assert ear.texts(Type.FINAL_TRANSCRIPT) == [said(script.words[:4]), said(script.words[4:])]


def test_speech_that_goes_on_does_not_end_with_a_long_utterance() -> None:
    script = say(12)

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script)) as worker:
            async with listening(recognizer(worker, max_utterance_s=2.0)) as ear:
                await ear.hear(script.audio())
        return ear

    ear = asyncio.run(run())
    finals = ear.texts(Type.FINAL_TRANSCRIPT)
    assert len(finals) >= 2
    assert " ".join(finals) == said(script.words)
    assert len(ear.of(Type.START_OF_SPEECH)) == len(ear.of(Type.END_OF_SPEECH)) == 1


def test_usage_is_all_audio_once() -> None:
    script = say(4, 3, end_s=2.0)
    collected: list[STTMetrics] = []

    async def run() -> None:
        with worker_for(ScriptedBackend(script)) as worker:
            speech_to_text = recognizer(worker)
            speech_to_text.on("metrics_collected", collected.append)
            async with listening(speech_to_text) as ear:
                await ear.hear(script.audio())

    asyncio.run(run())
    assert sum(each.audio_duration for each in collected) == pytest.approx(script.duration_s)
    assert all(each.streamed for each in collected)
    assert {each.metadata.model_provider for each in collected if each.metadata} == {
        "stream-transcribe"
    }


def test_any_rate_and_number_of_channels_is_heard() -> None:
    script = say(4)
    audio = script.audio()
    tripled = np.repeat(audio, 3)

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script)) as worker:
            async with listening(recognizer(worker)) as ear:
                for frame in frames(tripled, 48_000, channels=2):
                    ear.stream.push_frame(frame)
                    await asyncio.sleep(0.002)
        return ear

    ear = asyncio.run(run())
    assert ear.texts(Type.FINAL_TRANSCRIPT) == [said(script.words)]


def test_a_stream_that_hears_nothing_ends_and_loads_nothing() -> None:
    def load() -> ScriptedBackend:
        raise AssertionError

    async def run() -> Ear:
        async with listening(StreamTranscribeSTT(worker=BackendPool(load))) as ear:
            ear.stream.flush()
        return ear

    assert asyncio.run(run()).events == []


def test_an_error_of_the_model_is_told_once_and_not_retried() -> None:
    script = say(4, 3)
    told: list[stt.STTError] = []

    async def run() -> Ear:
        with worker_for(ScriptedBackend(script, fails_from=1)) as worker:
            speech_to_text = recognizer(worker)
            speech_to_text.on("error", told.append)
            async with speech_to_text.stream() as stream:
                ear = Ear(stream)
                for frame in frames(script.audio()):
                    stream.push_frame(frame)
                with pytest.raises(APIError, match="this pass fails") as failed:
                    await asyncio.wait_for(ear.listen(), LIMIT_S)
                assert not failed.value.retryable
                with pytest.raises(RuntimeError, match="closed"):
                    stream.push_frame(frame)
        return ear

    ear = asyncio.run(run())
    assert [error.recoverable for error in told] == [False]
    assert not ear.of(Type.FINAL_TRANSCRIPT)


def test_closing_waits_for_no_pass() -> None:
    script = say(4)
    backend = HangingBackend(script)

    async def run() -> Ear:
        with worker_for(backend) as worker:
            speech_to_text = recognizer(worker)
            stream = speech_to_text.stream()
            ear = Ear(stream)
            hearing = asyncio.create_task(ear.listen())
            await ear.hear(script.audio())
            await ear.until(backend.entered.is_set)
            await speech_to_text.aclose()
            assert not backend.release.is_set()
            await asyncio.wait_for(hearing, LIMIT_S)
            assert not worker.statistics().failed, "it is not its own"
            backend.release.set()
        return ear

    assert not asyncio.run(run()).of(Type.FINAL_TRANSCRIPT)


def test_a_recording_is_recognized_whole() -> None:
    script = say(4, 3)
    backend = ScriptedBackend(script)

    async def run() -> stt.SpeechEvent:
        with worker_for(backend) as worker:
            return await recognizer(worker).recognize(frames(script.audio()), language="en-US")

    event = asyncio.run(run())
    assert event.type == Type.FINAL_TRANSCRIPT
    (speech,) = event.alternatives
    assert speech.text == said(script.words)
    assert speech.words is not None
    assert len(speech.words) == 7
    assert backend.passes == 2, "one for each utterance"


def test_silence_is_recognized_as_nothing() -> None:
    async def run() -> stt.SpeechEvent:
        with worker_for(ScriptedBackend(say(1))) as worker:
            silence = np.zeros(SAMPLE_RATE, np.float32)
            return await recognizer(worker).recognize(frames(silence)[0])

    assert asyncio.run(run()).alternatives[0].text == ""


def test_a_language_that_the_model_does_not_know_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match="knows only English"):
        StreamTranscribeSTT(model="tiny.en", language="de")
    with pytest.raises(ConfigurationError, match="knows only English"):
        StreamTranscribeSTT(model="tiny.en").stream(language="de")


@pytest.mark.needs_model
def test_the_real_model_hears_the_sample_in_a_stream_and_whole() -> None:
    audio = read_audio(JFK)[: samples_from_seconds(5)]

    async def run() -> tuple[Ear, stt.SpeechEvent]:
        speech_to_text = StreamTranscribeSTT(model="tiny.en")
        async with speech_to_text:
            speech_to_text.prewarm()
            async with listening(speech_to_text) as ear:
                await ear.hear(audio, speed=2)
            return ear, await speech_to_text.recognize(frames(audio))

    ear, whole = asyncio.run(run())
    heard = " ".join(ear.texts(Type.FINAL_TRANSCRIPT))
    assert heard.startswith("And so my fellow Americans")
    assert len(ear.of(Type.INTERIM_TRANSCRIPT)) >= 3
    assert whole.alternatives[0].text.startswith("And so my fellow Americans")
