"""Speech recognition for pipecat, in your own process: copy this file into your project.

    pip install pipecat-ai stream-transcribe
    stt = StreamTranscribeSTTService(model="tiny.en")
    Pipeline([transport.input(), stt, user_aggregator, llm, tts, transport.output()])

Text that is still open goes downstream in interim frames, a finished utterance in a
`TranscriptionFrame`; ``frame.result`` is our event, with words and times. An utterance ends where
pipecat's VAD says that the user has stopped, or after a pause if the pipeline has no VAD.
"""

# mypy: allow-untyped-calls

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    StartFrame,
    STTMuteFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from sources import PushSource
from streaming import AudioDropped, BackendPool, Event, Final, Notice, Partial
from streaming.app import Settings, transcribe
from streaming.errors import SourceError

DRAIN_S = 10.0
"""How long the end of the pipeline waits for the last words."""


class StreamTranscribeSTTService(STTService):
    """Streams a user's audio through a model that runs here.

    The pipeline never waits for it: audio that the model cannot keep up with is dropped, oldest
    first, and an `ErrorFrame` says which. An error that ends the session leaves the service
    unusable, which the pipeline's policy then deals with.

    Args:
        worker: a model that the services of several calls share; otherwise each loads one.
        sample_rate: of the audio, if not the pipeline's.
        ttfs_p99_latency: seconds from the end of speech to its text, as measured where this runs.
        choices: fields of `streaming.app.Settings`: model, language, hotwords, ...
    """

    def __init__(
        self,
        *,
        worker: BackendPool | None = None,
        sample_rate: int | None = None,
        ttfs_p99_latency: float = 1.0,
        **choices: Any,
    ) -> None:
        chosen = Settings(**choices)  # what cannot work is told at once
        super().__init__(
            sample_rate=sample_rate,
            ttfs_p99_latency=ttfs_p99_latency,
            settings=STTSettings(model=chosen.model, language=chosen.languages[0]),
        )
        self._worker, self._choices = worker, choices
        self._source: PushSource | None = None
        self._hearing: asyncio.Task[None] | None = None

    def can_generate_metrics(self) -> bool:
        """Time to the final text, and usage."""
        return True

    async def start(self, frame: StartFrame) -> None:
        """Begin to load the model; half a minute of audio is kept meanwhile."""
        await super().start(frame)
        self._source = PushSource(self.sample_rate)
        self._hearing = self.create_task(self._hear(self._source))

    async def stop(self, frame: EndFrame) -> None:
        """Finish what was said: its text goes downstream before the end does."""
        if self._source is not None and self._hearing is not None:
            self._source.end()
            await asyncio.wait([self._hearing], timeout=DRAIN_S)
        await self._abandon()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop at once."""
        await self._abandon()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Stop what neither an end nor a cancellation has stopped."""
        await self._abandon()
        await super().cleanup()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Take a frame's audio, 16 bits mono; text comes when it is known."""
        if self._source is not None:
            with suppress(SourceError):  # the session has failed, which is told once
                self._source.push(np.frombuffer(audio, np.int16))
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Close the utterance where the user stops speaking, or is muted."""
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame):
            self.request_finalize()
        if isinstance(frame, VADUserStoppedSpeakingFrame | STTMuteFrame) and self._source:
            with suppress(SourceError):
                self._source.flush()

    async def _update_settings(self, delta: Any) -> dict[str, Any]:
        changed = await super()._update_settings(delta)
        self._warn_unhandled_updated_settings(changed)
        return changed

    async def _abandon(self) -> None:
        hearing, self._hearing = self._hearing, None
        if hearing is not None:
            await self.cancel_task(hearing)

    async def _hear(self, source: PushSource) -> None:
        try:
            async with aclosing(transcribe(source, worker=self._worker, **self._choices)) as events:
                async for event in events:
                    await self._tell(event)
        except Exception as error:  # whatever it was, nothing more will be heard
            await self.push_error(str(error), exception=error, force_treat_as_permanent=True)

    async def _tell(self, event: Event) -> None:
        if isinstance(event, Partial) and (text := (event.committed + event.tentative).strip()):
            language, now = _language(event.language), time_now_iso8601()
            await self.push_frame(
                InterimTranscriptionFrame(text, self._user_id, now, language, result=event)
            )
        elif isinstance(event, Final) and (text := event.text.strip()):
            if event.reason == "flush":
                self.confirm_finalize()  # has an effect if the user has not begun anew
            language, now = _language(event.language), time_now_iso8601()
            await self.emit_stt_usage_metrics()
            await self.push_frame(
                TranscriptionFrame(text, self._user_id, now, language, result=event)
            )
        elif isinstance(event, AudioDropped):
            lost_s = event.end_s - event.start_s
            await self.push_error(f"{lost_s:.1f} s of audio were not heard: {event.reason}")
        elif isinstance(event, Notice) and event.level == "warning":
            logger.warning(f"{self}: {event.message}")


def _language(code: str) -> Language | None:
    return next((each for each in Language if each == code), None)
