"""Speech recognition for LiveKit Agents, in your own process: copy this file into your project.

    pip install livekit-agents stream-transcribe
    session = AgentSession(stt=StreamTranscribeSTT(model="tiny.en"), llm=..., tts=...)

A `partial` becomes an interim transcript, a `final` a final one, with words and times. There are
no preflight transcripts: they are for whole turns, and a commit comes in the midst of one.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from statistics import fmean
from typing import Any
from weakref import WeakSet

import numpy as np
from livekit import rtc
from livekit.agents import APIError, stt, utils
from livekit.agents.language import LanguageCode
from livekit.agents.log import logger
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    APIConnectOptions,
    NotGivenOr,
    TimedString,
)
from numpy.typing import NDArray

from sources import PushSource
from streaming import (
    AudioDropped,
    BackendPool,
    Event,
    Final,
    Notice,
    Partial,
    Pipeline,
    SessionEnded,
    SessionStarted,
    SpeechStarted,
    StreamingError,
    Word,
)
from streaming.app import Settings, make_parts, make_pipeline, make_worker
from streaming.errors import SourceError

Type = stt.SpeechEventType
_LONGEST_S = 3600


class StreamTranscribeSTT(stt.STT[Any]):
    """Recognition by a model that runs here; its streams share it.

    Args:
        worker: the model, if it is shared with others; otherwise it is loaded at `prewarm` or with
            the first audio, and freed by `aclose`.
        choices: fields of `streaming.app.Settings`: model, language, hotwords, ...
    """

    def __init__(self, *, worker: BackendPool | None = None, **choices: Any) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=True, aligned_transcript="word", manual_flush=True
            )
        )
        self._settings = Settings(**choices)  # what cannot work is told at once
        self._worker = worker or make_worker(self._settings)
        self._owns_worker = worker is None
        self._streams = WeakSet[stt.RecognizeStream]()

    @property
    def model(self) -> str:
        """Its name."""
        return self._settings.model

    @property
    def provider(self) -> str:
        """Who serves it."""
        return "stream-transcribe"

    def prewarm(self) -> None:
        """Begin to load the model."""
        self._worker.start()

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        """One speaker's audio, any sample rate, to events."""
        stream = _Stream(self, conn_options, self._worker, self._in_language(language))
        self._streams.add(stream)
        return stream

    async def aclose(self) -> None:
        """Close all streams, and the model if it is ours."""
        for stream in list(self._streams):
            await stream.aclose()
        if self._owns_worker:
            await asyncio.to_thread(self._worker.close)

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        """Hear all of it at once, each utterance a single time."""
        frames = buffer if isinstance(buffer, list) else [buffer]
        settings = replace(self._in_language(language), pace="fast")
        try:
            made = await asyncio.to_thread(_once, frames, settings, self._worker)
            async with made as line:
                finals = [event async for event in line.events() if isinstance(event, Final)]
        except StreamingError as error:
            raise APIError(str(error), retryable=False) from error
        words = [word for final in finals for word in final.words]
        text = "".join(final.text for final in finals)
        said = _speech(text, words, finals[0].language if finals else "", 0.0)
        return stt.SpeechEvent(Type.FINAL_TRANSCRIPT, alternatives=[said])

    def _in_language(self, language: NotGivenOr[str]) -> Settings:
        if not utils.is_given(language):
            return self._settings
        return replace(self._settings, language=LanguageCode(language).language)


class _Stream(stt.RecognizeStream):
    def __init__(
        self,
        owner: StreamTranscribeSTT,
        conn_options: APIConnectOptions,
        worker: BackendPool,
        settings: Settings,
    ) -> None:
        super().__init__(stt=owner, conn_options=conn_options)
        self._worker, self._settings = worker, settings
        self._request_id = ""
        self._unreported_s = 0.0

    async def _run(self) -> None:
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                break
        else:
            return  # nothing was ever said
        self.start_time = time.time() - item.duration
        source = PushSource(item.sample_rate, item.num_channels)
        self._push(source, item)
        feeding = asyncio.create_task(self._feed(source))
        try:
            line = await asyncio.to_thread(
                make_pipeline, source, self._settings, worker=self._worker
            )
            async with line, aclosing(line.events()) as events:
                async for event in events:
                    self._tell(event)
        except StreamingError as error:
            raise APIError(str(error), retryable=False) from error
        finally:
            await utils.aio.cancel_and_wait(feeding)

    async def _feed(self, source: PushSource) -> None:
        """Never waits: what cannot be kept up with is dropped, oldest first, and logged."""
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                self._push(source, item)
            else:
                with suppress(SourceError):  # as in `_push`
                    source.flush()
        source.end()

    def _push(self, source: PushSource, frame: rtc.AudioFrame) -> None:
        with suppress(SourceError):  # the session has failed, which `_run` tells
            source.push(_samples(frame))
            self._unreported_s += frame.duration

    def _tell(self, event: Event) -> None:
        if isinstance(event, SessionStarted):
            self._request_id = event.session
        elif isinstance(event, SpeechStarted):
            self._say(Type.START_OF_SPEECH, speech_start_time=self.start_time + event.at_s)
        elif isinstance(event, Partial) and (event.committed or event.tentative):
            text = event.committed + event.tentative
            self._say(Type.INTERIM_TRANSCRIPT, self._speech(text, event.words, event.language))
        elif isinstance(event, Final):
            ended = self.start_time + event.end_s
            if event.words:
                said = self._speech(event.text, event.words, event.language)
                self._say(Type.FINAL_TRANSCRIPT, said, speech_end_time=ended)
            if event.reason != "max_length":  # then the speech goes on
                self._say(Type.END_OF_SPEECH, speech_end_time=ended)
            self._report_usage()
        elif isinstance(event, SessionEnded):
            self._report_usage()
        elif isinstance(event, AudioDropped):
            lost_s = event.end_s - event.start_s
            logger.warning("%.1f s of audio were not heard: %s", lost_s, event.reason)
        elif isinstance(event, Notice) and event.level == "warning":
            logger.warning("%s", event.message)

    def _report_usage(self) -> None:
        if self._unreported_s:
            usage = stt.RecognitionUsage(audio_duration=self._unreported_s)
            self._say(Type.RECOGNITION_USAGE, recognition_usage=usage)
            self._unreported_s = 0.0

    def _speech(self, text: str, words: Sequence[Word], language: str) -> stt.SpeechData:
        return _speech(text, words, language, self.start_time_offset)

    def _say(self, kind: stt.SpeechEventType, *said: stt.SpeechData, **more: Any) -> None:
        event = stt.SpeechEvent(kind, self._request_id, list(said), **more)
        self._event_ch.send_nowait(event)


def _once(frames: Sequence[rtc.AudioFrame], settings: Settings, worker: BackendPool) -> Pipeline:
    """What hears a whole recording, each utterance a single time."""
    length_s = sum(frame.duration for frame in frames)
    if not 0 < length_s <= _LONGEST_S:
        raise APIError(
            f"a recording must last up to {_LONGEST_S} s, not {length_s:.0f} s", retryable=False
        )
    source = PushSource(
        frames[0].sample_rate, frames[0].num_channels, capacity_s=_LONGEST_S, live=False
    )
    for frame in frames:
        source.push(_samples(frame))
    source.end()
    parts = make_parts(settings)
    parts = replace(parts, options=replace(parts.options, partials=False))
    return make_pipeline(source, settings, parts=parts, worker=worker)


def _samples(frame: rtc.AudioFrame) -> NDArray[np.int16]:
    return np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)


def _speech(text: str, words: Sequence[Word], language: str, offset_s: float) -> stt.SpeechData:
    """Text with the words whose times are known: all of a final, the tentative of a partial."""
    timed = [
        TimedString(w.text.strip(), w.start_s + offset_s, w.end_s + offset_s, w.probability)
        for w in words
    ]
    return stt.SpeechData(
        language=LanguageCode(language),
        text=text.strip(),
        start_time=words[0].start_s + offset_s if words else 0.0,
        end_time=words[-1].end_s + offset_s if words else 0.0,
        confidence=fmean(w.probability for w in words) if words else 0.0,
        words=timed,
    )
