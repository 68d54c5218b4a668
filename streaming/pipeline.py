"""A source, a session, a backend and sinks, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from .backends.pool import BackendPool
from .delivery import SINK_LIMIT_S, Delivery
from .errors import ConfigurationError, SourceError, StreamingError
from .events import Event, Notice, SessionStarted
from .input import STALL_S, Input
from .journal import Journal
from .leaving import leaving
from .live import drive_live
from .passes import Passes, Refinements, Work, abandoned_at_exit
from .protocols import Backend, PromptChecking, Sink, Source, Status
from .refiner import Refiner
from .session import Session, SessionParts
from .simulated import drive_fast, drive_simulated

__all__ = ["Pace", "Pipeline"]

_LOG = logging.getLogger(__name__)

_LEAVE_S = 10.0
"""For the source. A device or a connection that is gone takes seconds to say so."""

Pace = Literal["realtime", "fast", "simulated"]
"""Where time comes from: see `live` and `simulated`."""


class Pipeline:
    """Runs one session: an async context manager, then `run` or `events`, once.

    Leaving it closes source and sinks.
    Cancelling stops within a moment; a native pass that is under way ends by itself on the
    backend's thread and is discarded.

    Args:
        source: where the audio comes from.
        worker: the loaded (or loading) backends.
        parts: options, detector and policies.
        sinks: where events go; each sees every event, in order. See `Delivery` for those that
            fail.
        pace: "realtime" for anything live or paced, "fast", or "simulated".
        pass_cost_s: with simulated pace, a fixed cost of every pass; makes the event log the
            same from run to run.
        owns_worker: close the worker on leaving; otherwise other sessions may go on using it.
        final_worker: a larger model's, which hears every finished utterance again and gives
            it a `Refined`. Finals never wait for it, and live sources for nothing of it; other
            sources are made to wait once eight utterances do, at pace realtime not for its
            loading; if it fails then, the run goes on without it and `run` raises at the end.
        owns_final_worker: the same for that one.
        session: its opaque, unique name; a fresh one otherwise.
        sink_limit_s: how long one sink may hold up the others, where audio cannot wait.
        stall_s: how long a live source may give nothing before its utterance is closed.
        journal: has every event before the sinks do, and the audio before the session does. A
            session that a former run began goes on, under its name, where the journal ends;
            ``source`` is then a `streaming.journal_source.JournalSource`. Items of `Configure`
            are not in it: a session that goes on hears by ``parts``, as from its beginning.
    """

    def __init__(
        self,
        source: Source,
        worker: BackendPool,
        parts: SessionParts,
        sinks: Sequence[Sink] = (),
        *,
        pace: Pace = "realtime",
        pass_cost_s: float | None = None,
        owns_worker: bool = False,
        final_worker: BackendPool | None = None,
        owns_final_worker: bool = False,
        session: str | None = None,
        sink_limit_s: float = SINK_LIMIT_S,
        stall_s: float = STALL_S,
        journal: Journal | None = None,
    ) -> None:
        if pass_cost_s is not None and pace != "simulated":
            raise ConfigurationError("--pass-cost needs --pace simulated")
        if pass_cost_s is not None and not 0 <= pass_cost_s <= 60:
            raise ConfigurationError(
                f"--pass-cost must lie between 0 and 60 s, not {pass_cost_s:g}"
            )
        self._source = source
        self._worker = worker
        self._parts = parts
        self.pace = pace
        self._delivery = Delivery(sinks, self.say)
        self._sink_limit_s = sink_limit_s
        self._pass_cost_s = pass_cost_s
        self._name = session or ("simulated" if pass_cost_s is not None else uuid.uuid4().hex)
        self._final_worker = final_worker
        self._owned = [
            each
            for each, owned in ((worker, owns_worker), (final_worker, owns_final_worker))
            if each is not None and owned
        ]
        self._journal = journal
        self._input = Input(
            source,
            stall_s=stall_s if pace == "realtime" else None,
            hear=None if journal is None else journal.hear,
        )
        self._stack = AsyncExitStack()
        self._backend: Backend | None = None
        self._session: Session | None = None
        self._running = False

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for worker in self._owned:
                stack.callback(worker.close, timeout_s=0.0)
            # The source first: bad input should be told before a model is loaded. The sinks
            # last: opening one may empty a file, which a model that fails should not cost.
            await self._source.__aenter__()
            stack.push_async_exit(
                leaving(self._source, name="the source", limit_s=_LEAVE_S, fault=SourceError)
            )
            if self._final_worker is not None:
                self._final_worker.start()
            self._worker.start()
            self._backend = await self._worker.ready()
            if isinstance(self._backend, PromptChecking):
                self._backend.check_prompt(self._parts.options.whole_prompt)
            if self._final_worker is not None and (
                self.pace != "realtime" or self._final_worker.loaded.done()
            ):
                await self._final_worker.ready()
            if self._journal is not None:
                self._journal.report = self.say
                await stack.enter_async_context(self._journal)
            self._delivery.limit_s = self._sink_limit_s if self.live else None
            await stack.enter_async_context(self._delivery)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(exc_type, exc, traceback)

    async def run(self) -> None:
        """Run to the end of the input.

        Raises:
            SourceError: the source failed; everything heard before has been finished.
            BackendError: the native core failed, time after time, or hangs.
            SinkError: a destination failed; where there are others, the run went on for them.
            StreamingError: the final model could not be had; all else has been done.
        """
        async with contextlib.aclosing(self.events()) as events:
            async for _ in events:
                pass

    async def events(self) -> AsyncGenerator[Event, None]:
        """Run to the end of the input, yielding each event once the sinks have it.

        Raises:
            SourceError: the source failed; everything heard before has been finished.
            BackendError: the native core failed, time after time, or hangs.
            SinkError: a destination failed; where there are others, the run went on for them.
            StreamingError: the final model could not be had; all else has been done.
        """
        if self._running:
            raise RuntimeError("a pipeline runs once; make another one")
        session = self._session = await self._make_session()
        if self._journal is not None:
            self._journal.quiet = lambda: session.quiet
        works: list[Work] = [Passes(session, self._worker, urgent=self.pace == "realtime")]
        if self._final_worker is not None:
            works.append(Refinements(session, self._final_worker))
        self._running = True
        clock_s = 0.0
        try:
            async with (
                contextlib.aclosing(self._input),
                abandoned_at_exit(works),
                contextlib.aclosing(self._drive(session, works)) as driven,
            ):
                async for event in driven:
                    clock_s = event.clock_s
                    await self._write(event)
                    yield event
        except StreamingError as error:
            if not self._delivery.over:
                for event in session.end(clock_s, error):
                    await self._write(event)
                    yield event
            raise
        for failed in (self._input.error, self._delivery.error):
            if failed is not None:
                raise failed
        if session.refiner is not None and session.refiner.error is not None:
            raise session.refiner.error
        if self._journal is not None and self._journal.error is not None:
            raise self._journal.error

    @property
    def label(self) -> str:
        """The session's name, for people."""
        return self._parts.label

    @property
    def live(self) -> bool:
        """Audio cannot wait. Some sources know only once they are open."""
        return self._source.live and self.pace == "realtime"

    @property
    def ended(self) -> bool:
        """True once the session has said its last."""
        return self._session is not None and self._session.ended

    @property
    def running(self) -> bool:
        """True from the first event on."""
        return self._running

    def flush(self) -> None:
        """Close the running utterance now, without waiting for silence."""
        self._input.flush()

    def pause(self) -> None:
        """Close the running utterance and take no audio until `resume`."""
        self._input.pause()

    def resume(self) -> None:
        """Take audio again."""
        self._input.resume()

    def stop(self) -> None:
        """Take the input as ended; what was heard is still finished."""
        self._input.stop()

    def say(self, notice: Notice) -> None:
        """Put a notice among the events; once the session has ended it is logged instead."""
        if self._input.say(notice):
            return
        if self._session is not None and not self._session.ended:
            self._session.tell(notice)
        else:
            _LOG.warning("%s", notice.message)

    def status(self) -> Status:
        """What the session is doing right now."""
        status = Status() if self._session is None else self._session.status()
        return replace(status, duration_s=getattr(self._source, "length_s", None))

    async def _make_session(self) -> Session:
        backend = self._backend
        if backend is None:
            raise RuntimeError("use the pipeline as an async context manager")
        restored = None if self._journal is None else self._journal.recovered
        fixed = self._pass_cost_s is not None
        started = SessionStarted(
            session=self._name,
            started_at=(datetime.fromtimestamp(0, UTC) if fixed else datetime.now(UTC)).isoformat(
                timespec="milliseconds"
            ),
            label=self._parts.label,
            model=backend.model,
            backend=backend.name,
            language=self._parts.options.language,
            options=self._described(),
        )
        if restored is not None:
            started = restored.started
        parts = self._parts
        if not backend.multilingual and parts.options.language is None:
            parts = replace(parts, options=replace(parts.options, language="en"))
        refiner = None
        if self._final_worker is not None:
            refiner = Refiner(parts.options, live_model=backend.model, drops=self.live)
        # The mel kernel may have to be compiled.
        return await asyncio.to_thread(
            Session,
            parts,
            n_mels=backend.n_mels,
            started=started,
            refiner=refiner,
            timed=self.pace != "fast",
            restored=restored,
        )

    def _described(self) -> dict[str, Any]:
        """Options for the first event; ``final_model`` is there if utterances are refined."""
        described = {**self._parts.described, "pace": self.pace}
        if self._final_worker is None:
            described.pop("final_model", None)
        else:
            described.setdefault("final_model", "")  # not loaded yet; each `Refined` names it
        return described

    def _drive(self, session: Session, works: Sequence[Work]) -> AsyncGenerator[Event, None]:
        if self.pace == "simulated":
            return drive_simulated(session, self._input, works, pass_cost_s=self._pass_cost_s)
        if self.pace == "fast":
            return drive_fast(session, self._input, works)
        return drive_live(session, self._input, works, live=self._source.live)

    async def _write(self, event: Event) -> None:
        if self._journal is not None:
            self._journal.tell(event)
        await self._delivery.write(event)
