"""One client: what it says, and what it is told."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from ...errors import StreamingError
from ..server.refusal import Refusal
from .info import info_event
from .pcm import PcmFormat
from .service import Service, ending
from .transcription import Transcription
from .vocabulary import Error, Event, Pong
from .wire import read_event, write_event
from .wishes import wished

__all__ = ["Connection"]

_LOG = logging.getLogger(__name__)
_LEAVE_S = 1.0
"""What a client has to take its last event and to leave."""


class Connection:
    """Serves a client, from one transcription to the next, until it leaves.

    A client that cannot be served is told why in an error event, and the connection is closed:
    it would wait for a transcript otherwise. Unknown events are passed over, as the protocol
    wants it, and so is audio that was not announced, after a word about it.

    Args:
        reader: what the client sends.
        writer: what it gets.
        service: the model and the bounds.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: Service
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._service = service
        self._settings = service.settings
        self._transcription: Transcription | None = None
        self._running: asyncio.Task[None] | None = None
        self._told_stray = False

    @property
    def busy(self) -> bool:
        """A transcription is under way."""
        return self._transcription is not None

    async def run(self) -> None:
        """Serve it to its end. Nothing that a client does raises; cancelling tells it so."""
        refusal: Refusal | None = None
        try:
            await self._converse()
        except Refusal as error:
            refusal = error
        except OSError:  # it is gone
            pass
        except StreamingError as error:
            _LOG.error("a transcription failed: %s", error)
            refusal = Refusal("internal", "the model failed")
        except asyncio.CancelledError:
            refusal = ending()
            raise
        except Exception:
            _LOG.exception("a connection failed")
            refusal = Refusal("internal", "the server failed")
        finally:
            await self._part(refusal)

    async def refuse(self, refusal: Refusal) -> None:
        """Serve it with this and nothing else."""
        await self._part(refusal)

    # -- inside ---------------------------------------------------------------------------------

    async def _converse(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                while (event := await self._next()) is not None:
                    await self._take(event, group)
                    if self._service.draining and not self.busy:
                        raise ending()
                if self._running is not None:  # it left before its audio-stop
                    self._running.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _next(self) -> Event | None:
        limits = self._service.limits
        patience_s = limits.idle_s if self.busy else limits.quiet_s
        try:
            async with asyncio.timeout(patience_s):
                return await read_event(self._reader)
        except TimeoutError:
            raise Refusal("idle", f"nothing came for {patience_s:g} s") from None

    async def _take(self, event: Event, group: asyncio.TaskGroup) -> None:
        match event.type:
            case "describe":
                await self._say(info_event(self._service))
            case "ping":
                await self._say(_pong(event))
            case "transcribe":
                self._wish(event)
            case "audio-start":
                self._start(event, group)
            case "audio-chunk":
                await self._hear(event)
            case "audio-stop":
                await self._stop()
            case _:
                _LOG.debug("an event of type %.40r was passed over", event.type)

    def _wish(self, event: Event) -> None:
        settings = wished(self._service, event)
        if self._transcription is not None and not self._transcription.begun:
            self._transcription.settings = settings
        else:
            self._settings = settings

    def _start(self, event: Event, group: asyncio.TaskGroup) -> None:
        if self._transcription is not None:
            raise Refusal("bad_event", "audio-start came before the audio-stop of other audio")
        form = PcmFormat.read(event.data)
        self._transcription = Transcription(form, self._settings, self._service, self._say)
        self._settings = self._service.settings
        self._running = group.create_task(self._transcription.run())
        self._told_stray = False

    async def _hear(self, event: Event) -> None:
        if self._transcription is None:
            await self._stray("audio-chunk")
        else:
            await self._transcription.push(PcmFormat.read(event.data), event.payload or b"")

    async def _stop(self) -> None:
        if self._transcription is None or self._running is None:
            await self._stray("audio-stop")
            return
        await self._transcription.finish()
        await self._running
        self._transcription = self._running = None

    async def _stray(self, what: str) -> None:
        """Recorders may be slow to stop: a word, once, and no more."""
        if not self._told_stray:
            self._told_stray = True
            await self._say(_error("bad_event", f"{what} came without an audio-start"))

    async def _say(self, event: Event) -> None:
        await write_event(self._writer, event)

    async def _part(self, refusal: Refusal | None) -> None:
        """Close, when a client that is told why has had the time to read it.

        What it has sent and nobody read would have the network discard that.
        """
        try:
            async with asyncio.timeout(_LEAVE_S):
                if refusal is not None:
                    await self._say(_error(refusal.code, refusal.message))
                    if self._writer.can_write_eof():
                        self._writer.write_eof()
                    while await self._reader.read(2**16):
                        pass
                self._writer.close()
                await self._writer.wait_closed()
        except OSError:  # it is gone, or does not leave
            pass
        finally:
            with suppress(AttributeError):  # Python's pipes, where they are closed already
                self._writer.transport.abort()


def _error(code: str, message: str) -> Event:
    return Error(text=message, code=code).event()


def _pong(ping: Event) -> Event:
    text = ping.data.get("text")
    if not isinstance(text, str):
        return Pong().event()
    return Pong(text.encode(errors="replace").decode()).event()  # JSON can name half a character
