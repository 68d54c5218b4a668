"""``stream-transcribe FILE|URL|-``, ``--mic`` and ``--loopback``: the main job."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from sinks.notices import NoticesSink
from sinks.terminal import TerminalSink

from ..errors import SinkError
from ..events import Notice
from ..group import PipelineGroup
from .compose import make_run
from .inputs import add_input_options, make_sources
from .journals import add_journal_options, make_journals
from .options import CommandParser, add_run_options, files_read, finite_number, settings_from
from .outputs import add_output_options, check_paths, make_sinks, mqtt_files
from .progress import command_workers
from .recordings import recorded
from .signals import Told, signals
from .watchdog import watchdog

__all__ = ["transcribe_command"]

_USAGE = """stream-transcribe [options] FILE|URL|-
       stream-transcribe [options] --mic|--loopback
       stream-transcribe SUBCOMMAND --help"""
_EPILOG = """\
subcommands:
  serve                 live captions for many people, on a web page and over WebSockets
  wyoming               speech to text for Home Assistant and other voice assistants
  resume DIR            go on with what --journal DIR keeps of runs that were cut off
  models                list, fetch, check, locate or quantize models
  evaluate AUDIO REF    word error rate, delays and real-time factor
  report LOG.jsonl      a page that shows an event log: words, passes, delays
  devices               list microphones, and outputs whose sound can be recorded
  doctor                what this machine has, and how fast it is
  A file of such a name is reached as ./models.

examples:
  stream-transcribe talk.mp3
  stream-transcribe --mic --captions 127.0.0.1:8765
  stream-transcribe talk.mp3 --pace fast --output talk.srt --output talk.jsonl
  ffmpeg -i anything -f s16le -ar 16000 -ac 1 - | stream-transcribe -

Ctrl-C finishes what was said; a second one stops at once.
Exit codes: 0 done, 1 failure, 2 bad arguments or unreadable input, 130 interrupted."""
_FINISHING = "finishing what was said; Ctrl-C again stops at once"


def transcribe_command(argv: Sequence[str]) -> int:
    """Transcribe a file, a stream, standard input or live audio."""
    arguments = _parser().parse_args(argv)
    settings = settings_from(arguments, pass_cost_s=arguments.pass_cost)
    kept = recorded(make_sources(arguments, settings.pace), arguments.record)
    named = [] if arguments.input is None else [arguments.input]
    read = [*named, *files_read(arguments), *mqtt_files(arguments).values()]
    check_paths(read, [*arguments.output, *kept.paths])
    journals = make_journals(arguments, settings, list(kept.sources))
    sinks = make_sinks(arguments, list(kept.sources))
    with command_workers(settings) as (worker, final_worker):
        run = make_run(
            kept.sources,
            settings,
            sinks=[*sinks, *kept.logs],
            worker=worker,
            final_worker=final_worker,
            journals=journals,
        )
        view = next(sink for sink in sinks if isinstance(sink, TerminalSink | NoticesSink))
        for label, status in run.statuses():
            view.follow(status, label=label)
        return asyncio.run(_run(run, view))


def _parser() -> CommandParser:
    from streaming import __version__

    parser = CommandParser(
        prog="stream-transcribe",
        usage=_USAGE,
        description="Turn audio into text while it plays; committed text is never taken back.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"stream-transcribe {__version__}")
    parser.add_argument(
        "input",
        nargs="?",
        metavar="FILE|URL|-",
        help='any media file or stream; "-" is raw s16le 16 kHz mono on stdin; NAME://... is '
        "a source of an installed package",
    )
    parser.add_argument("--label", default="", metavar="TEXT", help="name of the session")
    parser.add_argument("--debug", action="store_true", help="show tracebacks and more messages")
    add_input_options(parser)
    add_output_options(parser)
    kept = parser.add_argument_group("record")
    kept.add_argument(
        "--record",
        metavar="FILE",
        help="keep the audio in FILE, .wav or .flac, and the events beside it in .jsonl",
    )
    kept.add_argument(
        "--trace",
        action="store_true",
        help="also tell, in events, what every pass covered, cost and decided: for `report`",
    )
    add_journal_options(parser)
    pace = parser.add_argument_group("pace")
    pace.add_argument(
        "--pace",
        choices=("realtime", "fast", "simulated"),
        default="realtime",
        help="realtime plays the file; fast does not wait; simulated does not wait either, "
        "but gives every event the time it would have had live (default: %(default)s)",
    )
    pace.add_argument(
        "--pass-cost",
        type=finite_number,
        metavar="S",
        help="with simulated: a fixed cost of every pass, for logs that can be compared",
    )
    add_run_options(parser)
    return parser


async def _run(pipeline: PipelineGroup, view: TerminalSink | NoticesSink) -> int:
    with signals(waits=lambda: pipeline.running) as told, watchdog():
        finishing = asyncio.create_task(_finish(told, pipeline, view))
        try:
            async with pipeline:
                await pipeline.run()
        except asyncio.CancelledError:
            if not told.number:
                raise
        finally:
            finishing.cancel()
    return told.exit_code


async def _finish(told: Told, pipeline: PipelineGroup, view: TerminalSink | NoticesSink) -> None:
    """Take the input as ended once somebody asks for the end."""
    await told.first.wait()
    pipeline.stop()
    await _tell(view, _FINISHING)


async def _tell(view: TerminalSink | NoticesSink, message: str) -> None:
    """Where notices are told, which knows where the cursor is; but not as an event."""
    with contextlib.suppress(SinkError, OSError):  # nobody listens
        await view.write(Notice(message=message))
