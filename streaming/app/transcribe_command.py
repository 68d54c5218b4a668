"""``stream-transcribe FILE|URL|-``: the main job."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from sources.file import FileSource
from sources.pcm_stdin import PcmStdinSource

from ..pipeline import Pipeline
from ..protocols import Source
from .compose import make_pipeline, make_worker
from .options import CommandParser, add_run_options, settings_from
from .outputs import FORMATS, make_sinks
from .progress import model_progress
from .settings import Settings

__all__ = ["transcribe_command"]

_EPILOG = """subcommands: models, evaluate, doctor (each has its own --help; a file of such a
name is reached as ./models)"""


def transcribe_command(argv: Sequence[str]) -> int:
    """Transcribe a file, a stream or standard input."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.input is None:
        parser.error("what should be transcribed? give a FILE, a URL or -")
    settings = settings_from(arguments, pass_cost_s=arguments.pass_cost)
    sinks = make_sinks(arguments.format, arguments.output)
    worker = make_worker(settings, progress=model_progress())
    pipeline = make_pipeline(_source(arguments, settings), settings, sinks=sinks, worker=worker)
    try:
        return asyncio.run(_run(pipeline))
    finally:
        worker.close(timeout_s=0.2)


def _parser() -> CommandParser:
    from streaming import __version__

    parser = CommandParser(
        prog="stream-transcribe",
        description="Turn audio into text while it plays; committed text is never taken back.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"stream-transcribe {__version__}")
    parser.add_argument(
        "input",
        nargs="?",
        metavar="FILE|URL|-",
        help='any media file or stream; "-" is raw s16le 16 kHz mono on stdin',
    )
    out = parser.add_argument_group("output")
    out.add_argument(
        "--format", choices=FORMATS, default="text", help="of stdout (default: %(default)s)"
    )
    out.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE; .txt, .jsonl, .srt or .vtt chooses the format; repeatable",
    )
    pace = parser.add_argument_group("pace")
    pace.add_argument(
        "--pace",
        choices=("realtime", "fast", "simulated"),
        default="realtime",
        help="realtime plays the file; fast does not wait; simulated does not wait either, "
        "but gives every event the time it would have had live (default: %(default)s)",
    )
    pace.add_argument(
        "--pass-cost", type=float, metavar="S", help="with simulated: fixed cost of a pass"
    )
    add_run_options(parser)
    parser.add_argument("--label", default="", help="name of the session, for people")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _source(arguments: Any, settings: Settings) -> Source:
    if arguments.input == "-":
        return PcmStdinSource()
    return FileSource(arguments.input, pace=settings.pace)


async def _run(pipeline: Pipeline) -> int:
    with _interrupts(pipeline) as interrupted:
        try:
            async with pipeline:
                await pipeline.run()
        except asyncio.CancelledError:
            if not interrupted:
                raise
    return 130 if interrupted else 0


@contextlib.contextmanager
def _interrupts(pipeline: Pipeline) -> Iterator[list[int]]:
    """Ctrl-C once ends the input, so that what was said is finished; twice stops at once.

    Plain signal handlers, not the event loop's: those do not exist on Windows.

    Yields:
        The signals received so far.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) == 1 and pipeline.running:
            loop.call_soon_threadsafe(pipeline.stop)
            print("finishing; Ctrl-C again stops at once", file=sys.stderr)
        else:
            loop.call_soon_threadsafe(task.cancel)

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
