"""All live sessions: their beginning, the wait for a client that was lost, the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from sinks.publisher import Publisher

from ...backends.pool import BackendPool
from .limits import Limits
from .live_session import LiveSession
from .load import Load
from .memory import give_back
from .messages import Opening
from .metrics import Metrics, MetricsSink
from .refusal import RESTART, TRY_LATER, Refusal

if TYPE_CHECKING:
    from .stream import Connection

__all__ = ["Sessions"]

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
_GIVE_BACK_S = 5.0
"""Memory is given back once sessions have left, but not more often than this."""


class Sessions:
    """Opens sessions within the bounds, keeps them for clients that come back, and ends them.

    Args:
        worker: the model.
        limits: bounds.
        load: says when there is no room for another.
        metrics: is told of every event.
    """

    def __init__(self, worker: BackendPool, limits: Limits, load: Load, metrics: Metrics) -> None:
        self._worker = worker
        self._limits = limits
        self._load = load
        self._metrics = metrics
        self._sessions: dict[str, LiveSession] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._left = False
        """A session has left since memory was given back."""
        self._gave_s = 0.0
        self.draining = False
        metrics.watch("live", lambda: sum(not s.done.is_set() for s in self._sessions.values()))
        metrics.watch("waiting", lambda: len(self._unclaimed()))
        metrics.watch("viewers", lambda: sum(s.captions.n_viewers for s in self._sessions.values()))

    async def open(self, opening: Opening, client: str) -> LiveSession:
        """Begin a session.

        Raises:
            Refusal: there is no room, or the choices cannot work.
        """
        if self.draining:
            raise _restart()
        loaded = self._worker.loaded
        if not loaded.done() or loaded.exception() is not None:
            raise _later("not_ready", "the model is still being loaded")
        if not self._metrics.is_ready:
            raise _later("not_ready", "the speed of this machine is being measured")
        yields = self._who_yields()
        self._load.admit()
        session = LiveSession(
            opening,
            client,
            worker=self._worker,
            limits=self._limits,
            captions=Publisher(max_viewers=self._limits.max_viewers),
            sinks=[MetricsSink(self._metrics, lambda at_s: session.age_s(at_s))],
        )
        # It counts from here on: others may ask while its parts are made.
        self._sessions[session.id] = session
        self._load.enter(
            session.id, lambda: session.status().compute_s, lambda: session.status().speaking
        )
        try:
            await session.start()
        except BaseException:
            self._load.leave(session.id)
            self._forget(session)
            session.told.set()
            raise
        if yields is not None and yields.connection is None:
            self.drop(yields)
        assert session.running is not None
        session.running.add_done_callback(lambda _: self._ended(session))
        _LOG.info("session %.8s began%s", session.id, f" for {client}" if client else "")
        return session

    def _ended(self, session: LiveSession) -> None:
        self._load.leave(session.id)
        why = "" if session.refusal is None else f": {session.refusal.code}"
        _LOG.info("session %.8s ended after %.1f s of audio%s", session.id, session.audio_s, why)

    def find(self, name: str) -> LiveSession | None:
        """The session of that id, if it is still known."""
        return self._sessions.get(name)

    def captions_of(self, name: str) -> Publisher | None:
        """What shows a session to viewers."""
        session = self._sessions.get(name)
        return None if session is None else session.captions

    def release(self, session: LiveSession, connection: Connection) -> None:
        """A connection is gone; its session waits for the next, if that has anything to gain."""
        session.release(connection)
        if session.connection is None and not session.worth_keeping:
            self.drop(session)

    def drop(self, session: LiveSession) -> None:
        """Nobody will come for it. It goes on where viewers want to know the end."""
        session.end()
        self._forget(session)
        if session.running is not None:
            self._ending.add(session.running)  # somebody has to hold on to a task
            session.running.add_done_callback(self._ending.discard)
            if not session.captions.n_viewers:
                session.running.cancel()

    def end_those_of(self, clients: Iterable[str]) -> None:
        """Tokens were revoked."""
        names = set(clients)
        for session in self._sessions.values():
            if session.client in names:
                session.end(Refusal("token_revoked", "the token is not valid any more"))

    async def watch(self, each: Callable[[], None]) -> None:
        """Look after the sessions, once a second, until cancelled.

        Args:
            each: called every time.
        """
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                self._look()
                each()
                await self._give_back()
            except Exception:  # a fault here must not leave the sessions without a keeper
                _LOG.exception("looking after the sessions failed")

    async def drain(self, limit_s: float) -> None:
        """Take no more, and let every session finish what was heard, within a limit."""
        self.draining = True
        sessions = list(self._sessions.values())
        for session in sessions:
            session.end(_restart())
        waits = [asyncio.ensure_future(session.told.wait()) for session in sessions]
        if waits:
            await asyncio.wait(waits, timeout=limit_s)
            for wait in waits:
                wait.cancel()

    async def _give_back(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._left and now_s - self._gave_s >= _GIVE_BACK_S:
            self._left, self._gave_s = False, now_s
            await asyncio.to_thread(give_back)

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self._load.sample()
        longest_s = self._limits.max_session_s
        for session in list(self._sessions.values()):
            status = session.status()
            self._metrics.progress(session.id, status.heard_s, status.compute_s)
            released_s = session.released_s
            if released_s is not None and now_s - released_s >= self._limits.resume_s:
                self.drop(session)
            elif not session.audio_s and now_s - session.began_s > self._limits.idle_s:
                text = f"no audio came within {self._limits.idle_s:g} s"
                session.end(Refusal("idle", text))
            elif max(session.audio_s, now_s - session.began_s) > longest_s:
                text = f"a session may last {longest_s:g} s; begin another one"
                session.end(Refusal("session_too_long", text))
        for session in self._unclaimed()[: -self._limits.max_unclaimed or None]:
            self.drop(session)

    def _unclaimed(self) -> list[LiveSession]:
        """Those that wait for their clients, the longest first."""
        waiting = [s for s in self._sessions.values() if s.released_s is not None]
        return sorted(waiting, key=lambda session: session.released_s or 0.0)

    def _who_yields(self) -> LiveSession | None:
        """Whose place a newcomer takes: a client that is here goes before one that may come back.

        Raises:
            Refusal: there are as many as there may be, and all are here.
        """
        live = [s for s in self._sessions.values() if not s.done.is_set()]
        if len(live) < self._limits.max_sessions:
            return None
        waiting = [session for session in self._unclaimed() if session in live]
        if not waiting:
            raise _later(
                "too_many_sessions", f"there are {len(live)} sessions, as many as there may be"
            )
        return waiting[0]

    def _forget(self, session: LiveSession) -> None:
        self._left = True
        self._sessions.pop(session.id, None)


def _later(code: str, message: str) -> Refusal:
    return Refusal(
        code,
        message,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        close_code=TRY_LATER,
        retry_after_s=5,
    )


def _restart() -> Refusal:
    return Refusal(
        "restart",
        "the server ends",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        close_code=RESTART,
        retry_after_s=5,
    )
