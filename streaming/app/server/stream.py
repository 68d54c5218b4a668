"""``/v1/stream``: one connection, from its handshake to its close."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .access import refuse_websocket
from .live_session import LiveSession
from .messages import (
    Configuration,
    Finish,
    FlushHere,
    KeepAlive,
    Opening,
    Resume,
    Skip,
    parse_message,
    parse_opening,
)
from .refusal import INTERNAL, INVALID, Refusal
from .service import Service

__all__ = ["Connection", "routes"]

_LOG = logging.getLogger(__name__)

_DONE = 1000
_RESUME_S = 10.0
"""Time for a client to say what it has."""
_STALL_S = 15.0
"""A client that takes nothing for this long is cut off; it may come back."""


def routes(service: Service) -> list[BaseRoute]:
    """Where clients stream to."""

    async def stream(websocket: WebSocket) -> None:
        client = websocket.scope.get("state", {}).get("client", "")
        try:
            opening = parse_opening(websocket.query_params.multi_items(), service.settings)
            if opening.resumes is None:
                connection = await _begin(websocket, service, opening, client)
            else:
                connection = await _resume(websocket, service, opening.resumes)
        except Refusal as refusal:
            service.metrics.refused(refusal.code)
            await refuse_websocket(websocket, refusal)
        except WebSocketDisconnect:
            return
        else:
            await connection.serve()

    return [WebSocketRoute("/v1/stream", stream)]


async def _begin(
    websocket: WebSocket, service: Service, opening: Opening, client: str
) -> Connection:
    session = await service.sessions.open(opening, client)
    try:
        await websocket.accept()
    except BaseException:
        service.sessions.drop(session)
        raise
    connection = Connection(websocket, service, session, last_seq=-1)
    await session.claim(connection)
    connection.say(
        {
            "type": "session",
            "session": session.id,
            "secret": session.secret,
            "position": 0,
            "unit": session.unit,
            "resume_s": service.limits.resume_s,
            "max_frame_bytes": service.limits.max_frame_bytes,
        }
    )
    return connection


async def _resume(websocket: WebSocket, service: Service, name: str) -> Connection:
    await websocket.accept()
    has = await _first_message(websocket, service)
    session = service.sessions.find(name)
    if session is None:
        raise Refusal(
            "unknown_session",
            "the server does not know this session (any more); begin a new one",
            status=HTTPStatus.NOT_FOUND,
        )
    if not hmac.compare_digest(has.secret.encode("utf-8", "replace"), session.secret.encode()):
        raise Refusal("wrong_secret", "this is not the secret of the session")
    if has.last_seq > session.log.last_seq:
        raise Refusal("bad_position", f"the session has said nothing with seq {has.last_seq} yet")
    if not session.log.reaches_back_to(has.last_seq):
        raise Refusal("events_lost", "too much was said since; begin a new session")
    if has.sent < session.position:
        raise Refusal(
            "bad_position", f"of the audio sent, {session.position} {session.unit} are here"
        )
    connection = Connection(websocket, service, session, last_seq=has.last_seq)
    await session.claim(connection)
    if not session.log.reaches_back_to(has.last_seq):  # so much was said meanwhile
        service.sessions.release(session, connection)
        raise Refusal("events_lost", "too much was said since; begin a new session")
    connection.say({"type": "resumed", "session": session.id, "position": session.position})
    return connection


async def _first_message(websocket: WebSocket, service: Service) -> Resume:
    text = ""
    with suppress(TimeoutError):
        async with asyncio.timeout(_RESUME_S):
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1006))
            text = message.get("text") or ""
    has = parse_message(text, service.settings) if text else None
    if not isinstance(has, Resume):
        raise Refusal("bad_message", "the first message says what to resume", close_code=INVALID)
    return has


class Connection:
    """Carries one session's audio in and its events out, until either side ends it."""

    def __init__(
        self, websocket: WebSocket, service: Service, session: LiveSession, *, last_seq: int
    ) -> None:
        self._websocket = websocket
        self._service = service
        self._session = session
        self._last_seq = last_seq
        self._acknowledged = session.position
        self._replies: list[str] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._taken_over = False

    def say(self, reply: Mapping[str, Any]) -> None:
        """Have something sent that is no event."""
        self._replies.append(json.dumps(reply, ensure_ascii=False))
        self.wake()

    def wake(self) -> None:
        """There is news to send."""
        self._changed.set()

    async def taken_over(self) -> None:
        """Another connection has the session now: stop taking audio, and close."""
        self._taken_over = True
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def serve(self) -> None:
        """Carry on until the session or the connection ends."""
        reading = asyncio.create_task(self._read())
        sending = asyncio.create_task(self._send())
        self._tasks = {reading, sending}
        if self._taken_over:  # meanwhile
            await self.taken_over()
        refusal: Refusal | None = None
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not reading.cancelled():
                refusal = reading.result()
                if refusal is not None and self._session.finishing:
                    await asyncio.wait({sending})  # the end is told first
        finally:
            for task in (reading, sending):
                task.cancel()
            _, sent = await asyncio.gather(reading, sending, return_exceptions=True)
            self._service.sessions.release(self._session, self)
        if self._taken_over:
            await self._close(Refusal("taken_over", "another connection resumed the session"))
        elif not isinstance(sent, BaseException):  # it is not gone
            await self._close(refusal or sent or self._session.refusal)
        elif refusal is not None:
            await self._close(refusal)

    async def _close(self, refusal: Refusal | None) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(_STALL_S):
                if refusal is None:
                    await self._websocket.close(_DONE)
                else:
                    self._service.metrics.refused(refusal.code)
                    await refuse_websocket(self._websocket, refusal)

    async def _read(self) -> Refusal | None:
        """Take what the client sends; returns when it is gone, or why it has to go."""
        session = self._session
        try:
            while (message := await self._receive()) is not None:
                if message["type"] == "websocket.disconnect":
                    if message.get("code") == _DONE:
                        session.close()
                    return None
                data, text = message.get("bytes"), message.get("text")
                if data is not None:
                    await self._take_audio(data)
                elif text is not None:
                    await self._take_message(text)
                await asyncio.sleep(0)  # many small ones may be there already
        except Refusal as refusal:
            return refusal
        except Exception:
            return self._fault("taking what the client sent")
        idle_s = self._service.limits.idle_s
        idle = Refusal("idle", f"nothing came for {idle_s:g} s; keepalive messages prevent it")
        session.end(idle)
        return idle

    async def _receive(self) -> Mapping[str, Any] | None:
        """The next message; None if the client said nothing for too long."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._service.limits.idle_s):
                    return await self._websocket.receive()
            if not self._session.finishing:  # otherwise it is the server's turn
                return None

    def _fault(self, where: str) -> Refusal:
        """Something that must not happen ends the session: it would only happen again."""
        _LOG.exception("session %.8s: a fault while %s", self._session.id, where)
        refusal = Refusal("internal", "the server failed", close_code=INTERNAL)
        self._session.end(refusal)
        return refusal

    async def _take_audio(self, data: bytes) -> None:
        if not self._session.finishing:
            await self._session.push(data)
        elif self._session.refusal is None:
            raise Refusal("bad_message", "audio comes after finish", close_code=INVALID)

    async def _take_message(self, text: str) -> None:
        session = self._session
        match parse_message(text, session.settings):
            case Finish():
                await session.finish()
            case _ if session.finishing:
                pass  # too late for anything
            case KeepAlive():
                pass
            case FlushHere():
                await session.flush()
            case Skip(count):
                session.skip(count)
            case Configuration() as wanted:
                await session.configure(wanted)
            case Resume():
                raise Refusal("bad_message", "resume is a first message", close_code=INVALID)

    async def _send(self) -> Refusal | None:
        """Send replies and events; returns after the last one, or why it could not go on."""
        try:
            await self._send_all()
        except Refusal as refusal:
            return refusal
        except (WebSocketDisconnect, TimeoutError):
            raise
        except Exception:
            return self._fault("sending events")
        return None

    async def _send_all(self) -> None:
        """Replies first, then events, each once and in order."""
        session = self._session
        while True:
            self._changed.clear()
            replies, self._replies = self._replies, []
            for reply in replies:
                await self._put(reply)
            await self._acknowledge()
            if not session.log.reaches_back_to(self._last_seq):
                raise Refusal("too_slow", "events were read too slowly for too long")
            for entry in session.log.after(self._last_seq):
                if session.interim or not entry.interim:
                    await self._put(entry.line)
                self._last_seq = entry.seq
            if session.done.is_set() and self._last_seq == session.log.last_seq:
                return
            await self._changed.wait()

    async def _acknowledge(self) -> None:
        session = self._session
        news = session.position - self._acknowledged
        enough = 1 if session.finishing else session.acknowledged_every
        if news >= enough and self._last_seq >= 0:
            self._acknowledged = session.position
            await self._put(json.dumps({"type": "received", "position": session.position}))

    async def _put(self, line: str) -> None:
        async with asyncio.timeout(_STALL_S):
            await self._websocket.send_text(line)
