"""A server whose page is real and whose `/v1/stream` says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from streaming.app.server import page
from streaming.events import Event, SessionEnded, SessionStarted, event_to_json

__all__ = ["ScriptedServer", "Session"]

T = TypeVar("T")
Refusal = tuple[int, dict[str, Any]]


@dataclass
class Session:
    """What the server and a client have said to each other."""

    id: str
    query: dict[str, str]
    audio: list[np.ndarray[Any, np.dtype[np.int16]] | int] = field(default_factory=list)
    """Pieces as they came; a number is how many samples were skipped."""
    said: list[dict[str, Any]] = field(default_factory=list)
    """Messages of the client."""
    events: list[str] = field(default_factory=list)
    resumes: int = 0
    position: int = 0
    acknowledged: int = 0
    finished: bool = False

    @property
    def rate(self) -> int:
        return int(self.query["sample_rate"])

    def samples(self) -> np.ndarray[Any, np.dtype[np.int16]]:
        """All audio, skipped samples being zero."""
        pieces = [
            np.zeros(each, np.int16) if isinstance(each, int) else each for each in self.audio
        ]
        return np.concatenate([np.zeros(0, np.int16), *pieces])

    def take(self, audio: np.ndarray[Any, np.dtype[np.int16]] | int) -> None:
        self.audio.append(audio)
        self.position += audio if isinstance(audio, int) else len(audio)

    def lose(self, count: int) -> None:
        """What was on its way when the line broke never arrived, if it was not acknowledged."""
        kept = self.samples()[: max(self.position - count, self.acknowledged)]
        self.audio, self.position = [kept], len(kept)


class ScriptedServer:
    """Runs in a thread of its own, on a port that can be taken up again after a `stop`."""

    def __init__(self, prefix: str = "") -> None:
        self.port = 0
        self.prefix = prefix
        """Path under which everything is, as behind a proxy."""
        self.sessions: list[Session] = []
        self.languages = ["en"]
        self.token = ""
        self.refusals: list[Refusal] = []
        """For the next connections: close code and body of the error, one each."""
        self.mute = False
        """Say nothing, like a dead line."""
        self._known: dict[str, Session] = {}
        self._sockets: dict[str, WebSocket] = {}

    def __enter__(self) -> ScriptedServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}/"

    def start(self) -> None:
        routes = [
            *page.routes(),
            Route("/v1/models", self._models),
            WebSocketRoute("/v1/stream", self._stream),
        ]
        config = uvicorn.Config(
            Starlette(routes=[Mount(self.prefix, routes=routes)] if self.prefix else routes),
            host="127.0.0.1",
            port=self.port,
            ws="websockets-sansio",
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        listening = config.bind_socket()
        self.port = listening.getsockname()[1]
        self._serving = self._uvicorn.serve([listening])
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serving)
        self._loop.close()

    def stop(self) -> None:
        """End, as a process that is killed: nobody is told, and nothing is remembered."""
        if self._thread.is_alive():
            self.cut()
            self._known.clear()
            self._uvicorn.should_exit = self._uvicorn.force_exit = True
            self._thread.join(10)

    @property
    def session(self) -> Session:
        """The newest."""
        return self.sessions[-1]

    def write(self, *events: Event) -> None:
        """Say events in the newest session, numbered."""
        self._do(self._write(*events))

    def cut(self, *, lost: int = 0, code: int = 1001) -> None:
        """Close all connections; that many samples never arrived."""
        self._do(self._cut(lost, code))

    def forget(self) -> None:
        """Know no session any more."""
        self._known.clear()

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _cut(self, lost: int, code: int) -> None:
        sockets, self._sockets = self._sockets, {}
        for name, socket in sockets.items():
            if session := self._known.get(name):
                session.lose(lost)
            await socket.close(code)

    async def _write(self, *events: Event) -> None:
        session = self.session
        for event in events:
            body = json.loads(event_to_json(event))
            body |= {"seq": len(session.events), "session": session.id}
            session.events.append(json.dumps(body))
            if (socket := self._sockets.get(session.id)) and not self.mute:
                await socket.send_text(session.events[-1])

    async def _models(self, request: Request) -> JSONResponse:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return JSONResponse({}, HTTPStatus.UNAUTHORIZED)
        return JSONResponse({"data": [{"id": "script", "languages": self.languages}]})

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        query = dict(socket.query_params)
        if self.token != query.pop("token", ""):
            return await self._refuse(socket, 1008, "unauthorized", "a token is needed")
        if self.refusals:
            code, body = self.refusals.pop(0)
            return await self._refuse(socket, code, **body)
        known = query.get("session")
        if known is not None and known not in self._known:
            return await self._refuse(socket, 1008, "unknown_session", "no such session")
        try:
            session = await (self._open(socket, query) if known is None else self._resume(socket))
            while not session.finished:
                message = await socket.receive()
                if (
                    message["type"] == "websocket.disconnect"
                    or socket not in self._sockets.values()
                ):
                    break
                await self._take(socket, session, message)
        except WebSocketDisconnect:
            pass
        finally:
            self._sockets = {k: v for k, v in self._sockets.items() if v is not socket}
        return None

    async def _refuse(
        self, socket: WebSocket, close_code: int, code: str, message: str, **more: Any
    ) -> None:
        body = {"type": "error", "code": code, "message": message, **more}
        await socket.send_json(body)
        await socket.close(close_code)

    async def _open(self, socket: WebSocket, query: dict[str, str]) -> Session:
        session = Session(f"s{len(self.sessions)}", query)
        self.sessions.append(session)
        self._known[session.id] = session
        self._sockets[session.id] = socket
        await socket.send_json(
            {"type": "session", "session": session.id, "secret": "hush", "position": 0}
            | {"unit": "samples", "resume_s": 60, "max_frame_bytes": 4096}
        )
        await self._write(SessionStarted(model="script"))
        return session

    async def _resume(self, socket: WebSocket) -> Session:
        session = self._known[socket.query_params["session"]]
        asked = await socket.receive_json()
        assert asked["type"] == "resume"
        assert asked["secret"] == "hush"
        assert asked["sent"] >= session.position
        session.resumes += 1
        self._sockets[session.id] = socket
        answer = {"type": "resumed", "session": session.id, "position": session.position}
        await socket.send_json(answer)
        for event in session.events[asked["last_seq"] + 1 :]:
            await socket.send_text(event)
        return session

    async def _take(self, socket: WebSocket, session: Session, message: Mapping[str, Any]) -> None:
        if (data := message.get("bytes")) is not None:
            assert len(data) <= 4096
            session.take(np.frombuffer(data, "<i2"))
        else:
            body = json.loads(message["text"])
            session.said.append(body)
            if body["type"] == "skip":
                session.take(body["count"])
            elif body["type"] == "finish" and not self.mute:
                session.finished = True
                await self._write(SessionEnded(audio_s=session.position / session.rate))
                await socket.close(1000)
                return
        if session.position - session.acknowledged >= session.rate and not self.mute:
            session.acknowledged = session.position
            await socket.send_json({"type": "received", "position": session.position})
