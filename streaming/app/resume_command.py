"""``stream-transcribe resume DIR``: go on with sessions that were cut off."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from sinks.notices import NoticesSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink
from sources.replay import ReplaySource

from ..backends.pool import BackendPool
from ..errors import ConfigurationError, StreamingError
from ..events import Event, Notice
from ..group import PipelineGroup
from ..journal import Journal, JournalBusyError
from ..journal_files import folders_in, has_ended, read_about, read_events
from ..journal_source import JournalSource
from ..pipeline import Pipeline
from ..protocols import Reporting, Sink
from .compose import make_pipeline
from .journals import add_limit_option, input_left, limit_bytes, settings_of
from .options import CommandParser
from .outputs import add_output_options, check_paths, make_sinks, mqtt_files
from .progress import command_workers
from .watchdog import watchdog

__all__ = ["resume_command"]


def resume_command(argv: Sequence[str]) -> int:
    """Finish what a journal has of sessions that were cut off."""
    parser = CommandParser(
        prog="stream-transcribe resume",
        usage="stream-transcribe resume [options] DIR",
        description="Go on with the sessions of --journal DIR whose run was killed: what was "
        "committed stays, what was not heard yet is, and a file is read to its end. Puts out "
        "the new events only.",
    )
    parser.add_argument("folder", metavar="DIR", help="a journal, or the folder of one session")
    parser.add_argument(
        "--whole", action="store_true", help="put out everything, from the session's beginning on"
    )
    parser.add_argument(
        "--without-input",
        action="store_true",
        help="finish what the journal has, where the file has changed or is gone; what followed "
        "is given up",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    add_output_options(parser)
    add_limit_option(parser)
    arguments = parser.parse_args(argv)
    limit_bytes(arguments)
    directory = Path(arguments.folder)
    runs, errors = _runs(directory, whole=arguments.whole)
    if len(runs) > 1 and arguments.output:
        names = ", ".join(str(folders[0]) for folders in runs)
        raise ConfigurationError(f"--output is for one run; name one of them: {names}")
    for folders in runs:
        try:
            _resume(folders, arguments)
        except StreamingError as error:  # the next run may have another fate
            errors.append(error)
    if not runs and not errors:
        _tell(f"nothing to resume in {directory}; DIR/SESSION --whole puts out what has ended")
    for each in errors[:-1]:
        _tell(f"error: {each}")
    if errors:
        raise errors[-1]
    return 0


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _runs(directory: Path, *, whole: bool) -> tuple[list[list[Path]], list[StreamingError]]:
    """The folders of each run that has something left to do, or to put out, and what is wrong.

    Raises:
        ConfigurationError: there is no journal.
    """
    folders = folders_in(directory)
    if not folders:
        raise ConfigurationError(f"{directory} holds no journal; --journal DIR keeps one")
    runs: dict[str, list[Path]] = {}
    errors: list[StreamingError] = []
    for folder in folders:
        try:
            runs.setdefault(str(read_about(folder).get("run", folder)), []).append(folder)
        except ConfigurationError as error:
            errors.append(error)
    asked = whole and folders == [directory]
    return [each for each in runs.values() if asked or not all(map(has_ended, each))], errors


def _resume(folders: Sequence[Path], arguments: argparse.Namespace) -> None:
    """Finish one run."""
    about = [read_about(folder) for folder in folders]
    settings = [settings_of(each) for each in about]
    inputs = [each["input"]["path"] for each in about if each["input"] is not None]
    check_paths([*inputs, *mqtt_files(arguments).values()], arguments.output)
    for name in arguments.output:
        if not arguments.whole and Path(name).exists():
            raise ConfigurationError(
                f"{name} exists, and would have the rest alone; --whole writes all of it"
            )
    arguments.final_model = settings[0].final_model
    with ExitStack() as stack:
        journals = _reopened(folders, arguments, stack)
        if not journals and not arguments.whole:
            return
        sinks = make_sinks(arguments, [each.label for each in settings])
        lead = list(_everything(folders) if arguments.whole else _context(journals))
        led = [_led(sink, lead, whole=arguments.whole) for sink in sinks]
        if not journals:
            asyncio.run(_run(PipelineGroup([], led)))
            return
        with command_workers(settings_of(journals[0].about)) as (worker, final_worker):
            without = arguments.without_input
            pipelines = [
                _pipeline(journal, worker, final_worker, without_input=without)
                for journal in journals
            ]
            view = next(sink for sink in sinks if isinstance(sink, TerminalSink | NoticesSink))
            for pipeline in pipelines:
                view.follow(pipeline.status, label=pipeline.label)
            asyncio.run(_run(PipelineGroup(pipelines, led)))


def _reopened(
    folders: Sequence[Path], arguments: argparse.Namespace, stack: ExitStack
) -> list[Journal]:
    """The journals of a run that were cut off, and by whom nobody writes any more."""
    journals = []
    for folder in folders:
        if has_ended(folder):
            continue
        try:
            journal = Journal.reopen(folder, limit_bytes=limit_bytes(arguments))
        except JournalBusyError as error:
            _tell(str(error))
            continue
        stack.callback(journal.close)
        if journal.recovered is None:  # cut off before its first event
            journal.close()
            shutil.rmtree(folder, ignore_errors=True)
        else:
            journals.append(journal)
    return journals


def _pipeline(
    journal: Journal,
    worker: BackendPool,
    final_worker: BackendPool | None,
    *,
    without_input: bool,
) -> Pipeline:
    """What finishes one session."""
    state, folder = journal.recovered, journal.folder
    assert state is not None
    assert folder is not None
    rest, rest_from, message = input_left(journal.about, journal.audio_end, without=without_input)
    heard = JournalSource(folder, state.needed_from, rest, rest_from)
    pipeline = make_pipeline(
        ReplaySource(heard, state.marks),
        settings_of(journal.about),
        worker=worker,
        final_worker=final_worker,
        journal=journal,
    )
    if message:
        pipeline.say(Notice(level="warning", code="input_gone", message=message))
    return pipeline


async def _run(group: PipelineGroup) -> None:
    with watchdog():
        async with group:
            await group.run()


# -- what was put out before ----------------------------------------------------------------------


def _everything(folders: Sequence[Path]) -> Iterable[Event]:
    """All events of a run so far, in the order of time."""
    return heapq.merge(*map(read_events, folders), key=lambda event: event.clock_s)


def _context(journals: Iterable[Journal]) -> Iterable[Event]:
    """What outputs of text have to know: whose text it is, and what they still held back."""
    for journal in journals:
        assert journal.recovered is not None
        yield journal.recovered.started
        yield from journal.recovered.unrefined


def _led(sink: Sink, lead: Sequence[Event], *, whole: bool) -> Sink:
    """A sink that is given some events before its first one, where that shows nothing twice."""
    text = isinstance(sink, TerminalSink | TextSink | SrtSink | WebVttSink)
    return _Led(sink, lead) if whole or text else sink


class _Led:
    def __init__(self, sink: Sink, lead: Sequence[Event]) -> None:
        self.report: Callable[[Notice], None] = lambda notice: None
        self._sink = sink
        self._lead = lead
        for name in ("name", "tells_only", "leave_limit_s"):  # what it says of itself
            if hasattr(sink, name):
                setattr(self, name, getattr(sink, name))

    async def __aenter__(self) -> Self:
        if isinstance(self._sink, Reporting):
            self._sink.report = self.report
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sink)
            for event in self._lead:
                await self._sink.write(event)
            stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._sink.__aexit__(exc_type, exc, traceback)

    async def write(self, event: Event) -> None:
        await self._sink.write(event)
