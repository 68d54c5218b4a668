"""One session, whether or not its client is connected."""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sinks.callback import CallbackSink

from ...audio import seconds
from ...errors import ConfigurationError, StreamingError
from ...pipeline import Pipeline
from ...protocols import PromptChecking, Sink, Status
from ..compose import make_pipeline
from .decoders import Decoder, make_decoder
from .event_log import EventLog
from .feed import Feed
from .messages import Configuration, Opening
from .refusal import INTERNAL, Refusal

if TYPE_CHECKING:
    from sinks.publisher import Publisher

    from ...backends.pool import BackendPool
    from .limits import Limits
    from .stream import Connection

__all__ = ["LiveSession"]

_LOG = logging.getLogger(__name__)

_ACKNOWLEDGED_BYTES = 8_192


class LiveSession:
    """Audio of one client in, events out and kept for a while.

    Args:
        opening: what the client asked for.
        client: name of the token it came with.
        worker: the loaded model.
        limits: bounds.
        captions: shows it to viewers.
        sinks: where events go besides.
    """

    def __init__(
        self,
        opening: Opening,
        client: str,
        *,
        worker: BackendPool,
        limits: Limits,
        captions: Publisher,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.id = uuid.uuid4().hex
        self.secret = secrets.token_urlsafe(24)
        self.client = client
        self.interim = opening.interim
        self.refusal: Refusal | None = None
        """Why it was ended, if not by its client."""
        self.unwanted = False
        """Its client has closed it for good."""
        self.connection: Connection | None = None
        loop = asyncio.get_running_loop()
        self.began_s = loop.time()
        self.released_s: float | None = None
        """Since when no client has it."""
        self._claiming = asyncio.Lock()
        self.log = EventLog(self._wake)
        self.captions = captions
        self.settings = opening.settings
        self._decoder: Decoder = make_decoder(
            opening.encoding, opening.sample_rate, opening.channels
        )
        self.acknowledged_every = (
            opening.sample_rate if self._decoder.unit == "samples" else _ACKNOWLEDGED_BYTES
        )
        """Progress of `position` after which the client hears of it: about a second."""
        self._feed = Feed(limits.max_rate)
        self._worker = worker
        self._sinks: list[Sink] = [CallbackSink(self.log.push), captions, *sinks]
        self._pipeline: Pipeline | None = None
        self._stack = AsyncExitStack()
        self.running: asyncio.Task[None] | None = None
        """Ends once everything has been said."""
        self.done = asyncio.Event()
        """Set once everything has been said."""
        self.told = asyncio.Event()
        """Set once that has been sent as well, or there is nobody to send it to."""

    async def start(self) -> None:
        """Begin.

        Raises:
            Refusal: the choices cannot work with this model.
        """
        try:
            self._pipeline = await asyncio.to_thread(
                make_pipeline,
                self._feed,
                self.settings,
                sinks=self._sinks,
                worker=self._worker,
                session=self.id,
            )
            await self._stack.enter_async_context(self._pipeline)
        except ConfigurationError as error:
            await self._decoder.aclose()
            raise Refusal("bad_parameter", str(error)) from error
        self.running = asyncio.create_task(self._run(self._pipeline), name=f"session {self.id:.8}")

    @property
    def unit(self) -> str:
        """What `position` counts."""
        return self._decoder.unit

    @property
    def position(self) -> int:
        """How much of what the client sent is here."""
        return self._decoder.position

    @property
    def audio_s(self) -> float:
        """Audio so far, with what was lost."""
        return seconds(self._feed.end_sample)

    def age_s(self, at_s: float) -> float:
        """How long ago the audio at a second of the stream came."""
        return self._feed.age_s(at_s)

    def status(self) -> Status:
        """What it is doing; nothing once everything has been said."""
        return Status() if self._pipeline is None else self._pipeline.status()

    @property
    def worth_keeping(self) -> bool:
        """There is something to come back for, and somebody might."""
        return self._feed.end_sample > 0 and not self.unwanted

    @property
    def finishing(self) -> bool:
        """No more audio is taken."""
        return self._feed.ended

    async def push(self, data: bytes) -> None:
        """Take a frame of audio; returns when there is room for the next.

        Cancelling it loses nothing that `position` counts.

        Raises:
            Refusal: it cannot be decoded. The session ends with what was heard.
        """
        try:
            samples = await self._decoder.push(data)
        except Refusal as refusal:
            self.end(refusal)
            raise
        self._feed.append(samples)
        self._wake()
        await self._feed.room()

    def skip(self, count: int) -> None:
        """The next samples of the client are lost.

        Raises:
            Refusal: not with this encoding, or not so many.
        """
        self._feed.skip(self._decoder.skip(count), "connection")

    async def flush(self) -> None:
        """Close the running utterance here; returns when there is room for more."""
        self._feed.flush()
        await self._feed.room()

    async def configure(self, wanted: Configuration) -> None:
        """Hear, or tell, in another way from here on.

        Raises:
            Refusal: the choices cannot work with this model.
        """
        if wanted.interim is not None:
            self.interim = wanted.interim
        if wanted.settings is None:
            return
        options = wanted.settings.transcriber_options()
        backend = await self._worker.ready()
        try:
            if isinstance(backend, PromptChecking):
                backend.check_prompt(options.whole_prompt)
        except ConfigurationError as error:
            raise Refusal("bad_parameter", str(error)) from error
        if not backend.multilingual:
            options = replace(options, language="en")
        self.settings = wanted.settings
        self._feed.configure(options)
        await self._feed.room()

    async def finish(self) -> None:
        """The client has no more audio.

        Raises:
            Refusal: nothing of it could be decoded. The session ends.
        """
        if not self._feed.ended:
            try:
                samples = await self._decoder.finish()
            except Refusal as refusal:
                self.end(refusal)
                raise
            self._feed.append(samples)
            self._feed.end()

    def close(self) -> None:
        """Its client wants no more."""
        self.unwanted = True
        self.end()

    def end(self, refusal: Refusal | None = None) -> None:
        """End it for the client: what was heard is still finished and told."""
        if not self._feed.ended:
            self.refusal = refusal
            self._feed.end()

    # -- its client ---------------------------------------------------------------------------

    async def claim(self, connection: Connection) -> None:
        """Give it to a connection; another one that has it is closed."""
        async with self._claiming:  # the last reader has to be gone before the position is told
            before, self.connection = self.connection, connection
            if before is not None:
                await before.taken_over()
            self.released_s = None
            self._decoder.forget_rest()

    def release(self, connection: Connection) -> None:
        """The connection is gone."""
        if self.connection is connection:
            self.connection = None
            self.released_s = asyncio.get_running_loop().time()
            if self.done.is_set():
                self.told.set()

    # -- inside -----------------------------------------------------------------------------------

    async def _run(self, pipeline: Pipeline) -> None:
        try:
            async with self._stack:
                await pipeline.run()
        except StreamingError as error:
            _LOG.error("session %.8s failed: %s", self.id, error)
            self.refusal = Refusal("internal", "the model failed", close_code=INTERNAL)
        except Exception:
            _LOG.exception("session %.8s failed", self.id)
            self.refusal = Refusal("internal", "the server failed", close_code=INTERNAL)
        finally:
            self._feed.end()
            self._pipeline = None
            self.done.set()
            if self.connection is None:
                self.told.set()
            self._wake()
            await self._decoder.aclose()

    def _wake(self) -> None:
        if self.connection is not None:
            self.connection.wake()
