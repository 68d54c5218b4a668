"""Several sessions side by side, as one stream of events: the two ends of a call, say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from itertools import chain
from types import TracebackType
from typing import Self

from .delivery import SINK_LIMIT_S, Delivery
from .errors import ConfigurationError, StreamingError
from .events import Event, Notice
from .pipeline import Pipeline
from .protocols import Sink, Status

__all__ = ["PipelineGroup"]

_LOG = logging.getLogger(__name__)


class PipelineGroup:
    """Runs pipelines at once into the same sinks: a `Pipeline` of several sessions.

    Events come in the order they happen, so that those of sources that share their pace are
    in the order of the audio. Where one session fails, the input of the others is taken as
    ended, what was heard is finished, and the error is raised at the end; further ones are logged.

    Args:
        pipelines: fresh ones without sinks of their own; they may share a backend pool, and
            should share the clock of their audio.
        sinks: where events go; each sees every event of every session.
        sink_limit_s: how long one sink may hold up the others, where audio cannot wait.

    Raises:
        ConfigurationError: one of several has simulated pace; each would have a clock, and a
            core, of its own.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        sinks: Sequence[Sink] = (),
        *,
        sink_limit_s: float = SINK_LIMIT_S,
    ) -> None:
        if len(pipelines) > 1 and any(each.pace == "simulated" for each in pipelines):
            raise ConfigurationError(
                "several sessions cannot run at --pace simulated; use realtime or fast"
            )
        self._pipelines = list(pipelines)
        self._delivery = Delivery(sinks, self.say)
        self._sink_limit_s = sink_limit_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for pipeline in self._pipelines:
                await stack.enter_async_context(pipeline)
            if any(pipeline.live for pipeline in self._pipelines):
                self._delivery.limit_s = self._sink_limit_s
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
        """Run to the end of all inputs; raises as `events` does."""
        async with aclosing(self.events()) as events:
            async for _ in events:
                pass

    async def events(self) -> AsyncGenerator[Event, None]:
        """Run to the end of all inputs, yielding each event once the sinks have it.

        Raises:
            StreamingError: the first error of a session, once the others have ended.
            SinkError: a destination failed; the last one that does ends all at once.
        """
        errors: list[StreamingError] = []
        streams = [pipeline.events() for pipeline in self._pipelines]
        due: dict[asyncio.Task[Event], AsyncGenerator[Event, None]] = {}
        try:
            for stream in streams:  # each opens before the next, so that they come in order
                opening = asyncio.ensure_future(anext(stream))
                due[opening] = stream
                await asyncio.wait([opening])
            while due:
                await asyncio.wait(due, return_when=asyncio.FIRST_COMPLETED)
                happened: list[Event] = []
                for task in [task for task in due if task.done()]:
                    stream = due.pop(task)
                    try:
                        happened.append(task.result())
                    except StopAsyncIteration:
                        continue
                    except StreamingError as error:
                        errors.append(error)
                        self.stop()
                        continue
                    due[asyncio.ensure_future(anext(stream))] = stream
                for event in sorted(happened, key=lambda event: event.clock_s):
                    await self._delivery.write(event)
                    yield event
        except BaseException:
            _log(errors)  # what is raised now hides them
            raise
        finally:
            for task in due:
                task.cancel()
            await asyncio.gather(*due, return_exceptions=True)
            for stream in streams:
                await stream.aclose()
        if errors:
            _log(each for each in errors if str(each) != str(errors[0]))  # one core fails for all
            raise errors[0]
        if self._delivery.error is not None:
            raise self._delivery.error

    @property
    def running(self) -> bool:
        """True from the first event on."""
        return any(pipeline.running for pipeline in self._pipelines)

    def stop(self) -> None:
        """Take all inputs as ended; what was heard is still finished."""
        for pipeline in self._pipelines:
            pipeline.stop()

    def flush(self) -> None:
        """Close the running utterances now, without waiting for silence."""
        for pipeline in self._pipelines:
            pipeline.flush()

    def pause(self) -> None:
        """Close the running utterances and take no audio until `resume`."""
        for pipeline in self._pipelines:
            pipeline.pause()

    def resume(self) -> None:
        """Take audio again."""
        for pipeline in self._pipelines:
            pipeline.resume()

    def say(self, notice: Notice) -> None:
        """Put a notice among the events of the first session that has not ended."""
        going = (each for each in self._pipelines if not each.ended)
        first = next(chain(going, self._pipelines), None)
        if first is None:  # nothing is left to do
            _LOG.warning("%s", notice.message)
        else:
            first.say(notice)

    def statuses(self) -> Sequence[tuple[str, Callable[[], Status]]]:
        """The label of each session, and what tells how it is doing."""
        return [(pipeline.label, pipeline.status) for pipeline in self._pipelines]


def _log(errors: Iterable[StreamingError]) -> None:
    for message in dict.fromkeys(map(str, errors)):
        _LOG.error("%s", message)
