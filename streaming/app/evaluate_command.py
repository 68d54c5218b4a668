"""``stream-transcribe evaluate AUDIO REF``: quality and delay from one run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from sources.file import FileSource

from ..backends.worker import BackendWorker
from ..errors import ConfigurationError
from ..evaluation import Clip, Measurement, evaluate, format_table, load_manifest, measure
from ..events import Event, event_to_json
from ..offline import decode_offline
from .compose import make_pipeline, make_worker
from .options import CommandParser, add_run_options, settings_from
from .progress import model_progress
from .settings import Settings

__all__ = ["evaluate_command", "measure_clip"]


def evaluate_command(argv: Sequence[str]) -> int:
    """Stream recordings in simulated pace and compare with a reference and an offline pass."""
    parser = CommandParser(
        prog="stream-transcribe evaluate",
        description="Word error rate, delays and real-time factor from one simulated live run. "
        "Word end times come from an offline pass over the whole recording.",
    )
    parser.add_argument("audio", nargs="?", metavar="AUDIO", help="a recording")
    parser.add_argument("reference", nargs="?", metavar="REF", help="its text, a UTF-8 file")
    parser.add_argument("--manifest", type=Path, metavar="JSON", help="a set of clips instead")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--pass-cost", type=float, metavar="S", help="fixed cost of a pass")
    parser.add_argument("--log", type=Path, metavar="JSONL", help="also write the event log")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    add_run_options(parser)
    arguments = parser.parse_args(argv)
    settings = settings_from(arguments, pace="simulated", pass_cost_s=arguments.pass_cost)
    clips = _clips(arguments.audio, arguments.reference, arguments.manifest, settings)
    worker = make_worker(settings, progress=model_progress())
    try:
        measurements = asyncio.run(_measure_all(clips, settings, worker, arguments.log))
    finally:
        worker.close(timeout_s=0.2)
    evaluation = evaluate(measurements)
    print(evaluation.to_json() if arguments.json else format_table(evaluation))
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
    return (Clip(Path(audio).name, Path(audio), text, settings.languages[0] or "auto"),)


async def _measure_all(
    clips: Sequence[Clip], settings: Settings, worker: BackendWorker, log: Path | None
) -> list[Measurement]:
    measurements = []
    for clip in clips:
        print(f"evaluating {clip.name} ...", file=sys.stderr, flush=True)
        measurement, events = await measure_clip(clip, settings, worker)
        measurements.append(measurement)
        if log is not None:
            try:
                with log.open("a" if len(measurements) > 1 else "w", encoding="utf-8") as file:
                    file.writelines(event_to_json(event) + "\n" for event in events)
            except OSError as error:
                raise ConfigurationError(f"cannot write {log}: {error.strerror}") from None
    return measurements


async def measure_clip(
    clip: Clip, settings: Settings, worker: BackendWorker
) -> tuple[Measurement, list[Event]]:
    """Stream one clip in simulated pace, decode it offline, and measure.

    Args:
        clip: the recording and its reference.
        settings: how to stream it, at pace simulated.
        worker: a loaded backend.
    """
    source = FileSource(clip.audio, pace="simulated")
    pipeline = await asyncio.to_thread(make_pipeline, source, settings, worker=worker)
    async with pipeline:
        events = [event async for event in pipeline.events()]
    language = settings.languages[0] or clip.language
    offline = await decode_offline(
        FileSource(clip.audio, pace="fast"),
        worker,
        language=None if language == "auto" else language,
    )
    measurement = measure(
        events, offline, reference=clip.reference, language=language, name=clip.name
    )
    return measurement, events
