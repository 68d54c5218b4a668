"""``stream-transcribe evaluate AUDIO REF``: quality and delay from one run.

A recording that has the event log of its session beside it (``talk.flac``, ``talk.jsonl``) is
heard with the same gaps and flushes. With ``--events`` nothing is streamed again: the log of a
live run is measured as it is.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from sources.file import FileSource
from sources.replay import ReplaySource

from ..backends.pool import BackendPool
from ..errors import ConfigurationError, SinkError
from ..evaluation import (
    Clip,
    Measurement,
    evaluate,
    format_table,
    is_log,
    load_manifest,
    measure,
    read_log,
)
from ..evaluation.text import evaluation_module
from ..events import Event, SessionStarted, Word, event_to_json
from ..offline import decode_offline
from ..protocols import Source
from .compose import make_pipeline
from .console import say
from .options import CommandParser, add_run_options, files_read, finite_number, settings_from
from .outputs import check_paths
from .progress import command_workers
from .settings import Settings

__all__ = ["evaluate_command", "measure_clip", "measure_log", "offline_words"]


def evaluate_command(argv: Sequence[str]) -> int:
    """Stream recordings in simulated pace and compare with a reference and an offline pass."""
    parser = CommandParser(
        prog="stream-transcribe evaluate",
        usage="stream-transcribe evaluate [options] AUDIO [REF]\n"
        "       stream-transcribe evaluate [options] AUDIO [REF] --events JSONL\n"
        "       stream-transcribe evaluate [options] --manifest JSON",
        description="Word error rate, delays and real-time factor from one simulated live run. "
        "Word end times come from an offline pass over the whole recording. A recording made "
        "with --record is heard with the gaps of its time, from the event log beside it.",
    )
    parser.add_argument("audio", nargs="?", metavar="AUDIO", help="a recording")
    parser.add_argument(
        "reference",
        nargs="?",
        metavar="REF",
        help="its text, a UTF-8 file; without it there is no word error rate",
    )
    parser.add_argument("--manifest", type=Path, metavar="JSON", help="a set of clips instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--pass-cost", type=finite_number, metavar="S", help="a fixed cost of every pass"
    )
    parser.add_argument(
        "--events",
        metavar="JSONL",
        help="measure the live run that has this event log, of which AUDIO is the recording",
    )
    parser.add_argument("--log", type=Path, metavar="JSONL", help="also write the event log")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    add_run_options(parser)
    arguments = parser.parse_args(argv)
    settings = settings_from(arguments, pace="simulated", pass_cost_s=arguments.pass_cost)
    clips = _clips(arguments.audio, arguments.reference, arguments.manifest, settings)
    if any(clip.reference is not None for clip in clips):
        evaluation_module("jiwer")  # told now, not after the run
    log = arguments.log
    lived = None
    if arguments.events is not None:
        for option, value in (
            ("--manifest", arguments.manifest),
            ("--log", log),
            ("--pass-cost", arguments.pass_cost),
            ("--final-model", arguments.final_model),
            ("--replace", arguments.replace),
        ):
            if value is not None:
                raise ConfigurationError(f"{option} is for a new run; leave it or --events out")
        lived = read_log(arguments.events)
    if log is not None:
        read = (arguments.reference, arguments.manifest, *(clip.audio for clip in clips))
        read = (*read, *(_log_beside(clip) for clip in clips), *files_read(arguments))
        check_paths([path for path in read if path is not None], [log])
        _write(log, "w", ())
    with command_workers(settings) as (worker, final_worker):
        if lived is not None:
            measurements = [asyncio.run(measure_log(lived, clips[0], settings, worker))]
        else:
            measurements = asyncio.run(_measure_all(clips, settings, worker, final_worker, log))
    evaluation = evaluate(measurements)
    say(evaluation.to_json() if arguments.json else format_table(evaluation))
    return 0


def _clips(
    audio: str | None, reference: str | None, manifest: Path | None, settings: Settings
) -> Sequence[Clip]:
    if (audio is None) == (manifest is None):
        raise ConfigurationError("give either AUDIO and REF, or --manifest JSON")
    if manifest is not None:
        clips = load_manifest(manifest)
        if settings.english_only:
            clips = tuple(clip for clip in clips if clip.language == "en")
        if not clips:
            raise ConfigurationError(f"{manifest} has no clips that {settings.model} can hear")
        return clips
    assert audio is not None
    text = None
    if reference is not None:
        try:
            text = Path(reference).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot read {reference}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"{reference} is not UTF-8 text") from None
        if not text.strip():
            raise ConfigurationError(f"{reference} is empty: there is nothing to compare with")
    return (Clip(Path(audio).name, Path(audio), text, settings.languages[0] or "auto"),)


async def _measure_all(
    clips: Sequence[Clip],
    settings: Settings,
    worker: BackendPool,
    final_worker: BackendPool | None,
    log: Path | None,
) -> list[Measurement]:
    measurements = []
    for clip in clips:
        print(f"evaluating {clip.name} ...", file=sys.stderr, flush=True)
        measurement, events = await measure_clip(clip, settings, worker, final_worker)
        measurements.append(measurement)
        if log is not None:
            _write(log, "a", (event_to_json(event) + "\n" for event in events))
    return measurements


def _write(log: Path, mode: str, lines: Iterable[str]) -> None:
    try:
        with log.open(mode, encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
    except OSError as error:
        raise SinkError(f"cannot write {log}: {error.strerror or error}") from error


async def measure_clip(
    clip: Clip,
    settings: Settings,
    worker: BackendPool,
    final_worker: BackendPool | None = None,
    *,
    offline: Sequence[Word] | None = None,
) -> tuple[Measurement, list[Event]]:
    """Stream one clip in simulated pace, decode it offline, and measure.

    Args:
        clip: the recording and its reference.
        settings: how to stream it, at pace simulated.
        worker: a loaded backend.
        final_worker: the same for the final model, if there is one.
        offline: what `offline_words` gave for this clip and model before; None decodes it now.
    """
    source = await asyncio.to_thread(_source, clip)
    pipeline = await asyncio.to_thread(
        make_pipeline, source, settings, worker=worker, final_worker=final_worker
    )
    async with pipeline:
        events = [event async for event in pipeline.events()]
    if offline is None:
        offline = await offline_words(clip, settings, worker)
    language = settings.languages[0] or clip.language
    measurement = measure(
        events, offline, reference=clip.reference, language=language, name=clip.name
    )
    return measurement, events


async def measure_log(
    events: Sequence[Event], clip: Clip, settings: Settings, worker: BackendPool
) -> Measurement:
    """Measure a run that was live, by its event log and the recording of what it heard.

    Args:
        events: of one session, at pace realtime.
        clip: the recording and its reference.
        settings: backend and model of an offline pass, which tells when words ended.
        worker: that backend.

    Raises:
        ConfigurationError: the log cannot be measured, or is of another model.
    """
    language = settings.languages[0] or clip.language
    measure(events, (), language=language)  # a log that cannot be measured is told at once
    (started,) = [event for event in events if isinstance(event, SessionStarted)]
    if started.options.get("pace") != "realtime":
        raise ConfigurationError("the event log is of a simulated run; leave --events out")
    worker.start()
    backend = await worker.ready()
    if backend.model != started.model:
        raise ConfigurationError(
            f"the event log is of {started.model}; evaluate it with --model {started.model}"
        )
    offline = await offline_words(clip, settings, worker)
    return measure(events, offline, reference=clip.reference, language=language, name=clip.name)


def _log_beside(clip: Clip) -> Path | None:
    """The event log of the session that made a recording."""
    beside = clip.audio.parent / f"{clip.audio.stem}.jsonl"
    return beside if is_log(beside) else None


def _source(clip: Clip) -> Source:
    """A clip as it was heard, where that is known."""
    source = FileSource(clip.audio, pace="simulated")
    beside = _log_beside(clip)
    if beside is None:
        return source
    replayed = ReplaySource(source, read_log(beside))
    if replayed.n_marks:
        message = f"{clip.name} is heard with {replayed.n_marks} gaps or flushes of {beside}"
        print(message, file=sys.stderr, flush=True)
    return replayed


async def offline_words(clip: Clip, settings: Settings, worker: BackendPool) -> tuple[Word, ...]:
    """Words of one offline pass over a clip, in the language that the settings or it name."""
    language = settings.languages[0] or clip.language
    return await decode_offline(
        FileSource(clip.audio, pace="fast"),
        worker,
        language=None if language == "auto" else language,
    )
