"""``stream-transcribe report LOG -o report.html``: an event log as a page to look at."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from sources.file import FileSource

from ..audio import AudioChunk
from ..errors import ConfigurationError, SinkError, StreamingError
from ..evaluation import read_log
from ..events import Event
from ..journal_files import EVENTS, audio_files
from ..journal_source import JournalSource
from ..protocols import Source
from ..report import (
    Envelope,
    SessionReport,
    Sounding,
    Waveform,
    collect,
    page,
    require_bokeh,
    require_sound,
    sessions_of,
)
from .options import CommandParser
from .outputs import check_paths

__all__ = ["report_command"]

_RECORDED = (".flac", ".wav")
"""What ``--record`` puts beside an event log."""
_TOLERANCE_S = 1.0


def report_command(argv: Sequence[str]) -> int:
    """Write the report of an event log."""
    parser = CommandParser(
        prog="stream-transcribe report",
        description="Make one HTML file of an event log, to be looked at in any browser: what was "
        "heard, when the model ran, when each word was shown and certain, and how late.",
        epilog="A log is what --format jsonl, --output FILE.jsonl and --record write; --trace puts "
        "more into it. A recording beside its log is found by its name, and the audio of a journal "
        "in its folder.",
    )
    parser.add_argument(
        "log", type=Path, metavar="LOG", help="an event log, .jsonl, or a session of a journal"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the page, .html (default: beside the log); overwritten",
    )
    parser.add_argument(
        "--audio",
        type=Path,
        metavar="FILE",
        help="what the session heard (default: .flac or .wav beside the log, by the same name)",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    log, audio = arguments.log, arguments.audio
    output = arguments.output or log.parent / f"{log.stem}.html"
    if (log / EVENTS).is_file():
        log = log / EVENTS
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"--output {output}: a report is a page; name a file in .html")
    check_paths([log] if audio is None else [log, audio], [output])
    require_bokeh()
    sessions = _sessions(log)
    if audio is not None and len(sessions) > 1:
        raise ConfigurationError(f"--audio is for one session; {log} has {len(sessions)}")
    reports = [collect(session) for session in sessions]
    if len(reports) == 1:
        waveform, note = _audio(log, audio, reports[0])
        soundings = [Sounding(reports[0], waveform, note)]
    else:
        soundings = [Sounding(report) for report in reports]
    _write(output, page(soundings, f"Report of {log.name}"))
    return 0


def _sessions(log: Path) -> list[list[Event]]:
    events = read_log(log)
    try:
        require_sound(events)
        return sessions_of(events)
    except ConfigurationError as error:
        raise ConfigurationError(f"{log}: {error}") from None


def _audio(log: Path, named: Path | None, report: SessionReport) -> tuple[Waveform | None, str]:
    """The outline of a session's audio, and what is to be said of it."""
    beside = next(filter(Path.is_file, map(log.with_suffix, _RECORDED)), None)
    path = named or beside
    kept = audio_files(log.parent) if path is None and log.name == EVENTS else []
    if kept:
        return asyncio.run(_outline(JournalSource(log.parent, kept[0].start_sample))), ""
    if path is None:
        return None, (
            "There is no recording beside the log, and so no waveform. --audio FILE names what was "
            "heard; a run with --record FILE keeps it."
        )
    try:
        waveform = asyncio.run(_outline(FileSource(path, pace="fast", chunk_s=1.0)))
    except StreamingError as error:
        if named is not None:
            raise
        return None, f"There is no waveform: {error}"
    whole = report.end_reason is not None
    if whole and abs(waveform.length_s - report.audio_s) > _TOLERANCE_S:
        return waveform, (
            f"The waveform is of {path.name}, which has {waveform.length_s:.1f} s of audio; the "
            f"session heard {report.audio_s:.1f} s. Is it the right file?"
        )
    return waveform, ""


async def _outline(source: Source) -> Waveform:
    envelope = Envelope()
    async with source:
        async for chunk in source:
            if isinstance(chunk, AudioChunk):
                envelope.push(chunk)
    return envelope.finish()


def _write(output: Path, text: str) -> None:
    page_bytes = text.encode("utf-8", "replace")  # a file may be named in no UTF-8
    try:
        output.write_bytes(page_bytes)
    except OSError as error:
        raise SinkError(f"cannot write {output}: {error.strerror or error}") from error
    with contextlib.suppress(OSError):  # nobody reads stderr
        size_mb = len(page_bytes) / 1e6
        print(f"info: {output} ({size_mb:.1f} MB) is for any browser", file=sys.stderr, flush=True)
