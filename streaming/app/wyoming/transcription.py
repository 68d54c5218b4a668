"""From a client's audio-start to its transcript: one session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from ...audio import Samples
from ...channel import ChannelClosed
from ...events import Committed
from ..compose import make_pipeline
from ..server.refusal import Refusal
from ..server.transcript import RunningText
from ..settings import Settings
from .inflow import Inflow
from .pcm import PcmDecoder, PcmFormat
from .service import Service
from .vocabulary import Event, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop

__all__ = ["Transcription"]

_LOG = logging.getLogger(__name__)


class Transcription:
    """Audio of one client in, its text out: a chunk for every commit, and then the whole.

    The text is that of all utterances, and exactly what the chunks say one after the other.

    Args:
        form: of the audio that is announced.
        settings: see the attribute.
        service: the model.
        say: sends an event to the client.
    """

    def __init__(
        self,
        form: PcmFormat,
        settings: Settings,
        service: Service,
        say: Callable[[Event], Awaitable[None]],
    ) -> None:
        self.settings = settings
        """Used when the first audio comes; until then they may be others."""
        self._decoder = PcmDecoder(form)
        self._service = service
        self._say = say
        self._inflow = Inflow()
        self._text = RunningText()
        self._language: str | None = None
        self._started = False

    @property
    def begun(self) -> bool:
        """Audio has come."""
        return self._inflow.audio_s > 0

    async def push(self, form: PcmFormat, data: bytes) -> None:
        """Take a chunk; returns when there is room for the next.

        Raises:
            Refusal: "bad_audio", "too_long".
        """
        if form != self._decoder.form:
            await self._put(self._decoder.flush())
            self._decoder = PcmDecoder(form)
        await self._put(self._decoder.push(data))
        longest_s = self._service.limits.max_session_s
        if self._inflow.audio_s > longest_s:
            raise Refusal("too_long", f"a transcription has at most {longest_s:g} s of audio")

    async def finish(self) -> None:
        """No more audio will come."""
        await self._put(self._decoder.flush())
        self._inflow.end()

    async def run(self) -> None:
        """Hear it to its end, and say what was heard.

        Raises:
            Refusal: there is no place for it.
            StreamingError: the model failed.
            OSError: the client is gone.
        """
        with self._service.place():
            if await self._inflow.begun():
                await self._hear()
            await self._start()
            await self._say(Transcript(self._text.text, language=self._language).event())
            await self._say(TranscriptStop().event())
        _LOG.info("transcribed %.1f s of audio", self._inflow.audio_s)

    # -- inside ---------------------------------------------------------------------------------

    async def _hear(self) -> None:
        self._language = self.settings.transcriber_options().language
        pipeline = await asyncio.to_thread(
            make_pipeline, self._inflow, self.settings, worker=self._service.worker
        )
        async with pipeline, aclosing(pipeline.events()) as events:
            async for event in events:
                if isinstance(event, Committed):
                    self._language = self._language or event.language or None
                if text := self._text.push(event):
                    await self._start()
                    await self._say(TranscriptChunk(text).event())

    async def _start(self) -> None:
        if not self._started:
            self._started = True
            await self._say(TranscriptStart(language=self._language).event())

    async def _put(self, samples: Samples) -> None:
        with suppress(ChannelClosed):  # `run` fails, and tells why
            await self._inflow.put(samples)
