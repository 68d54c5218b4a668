"""``stream-transcribe doctor``: what this machine has and how fast it is."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Sequence
from typing import Any

from sources.file import FileSource
from sources.loopback import loopback_devices
from sources.microphone import input_devices

from ..backends.pool import BackendPool
from ..backends.processor import missing_features, processor_name
from ..errors import StreamingError
from ..evaluation import versions
from ..events import Notice, SessionStarted, Stats
from ..models import ModelState, ModelStore
from .compose import make_pipeline
from .console import say
from .devices_command import listed
from .options import CommandParser
from .progress import command_workers
from .sample import sample_path
from .settings import Settings, default_threads

__all__ = ["doctor_command"]


def doctor_command(argv: Sequence[str]) -> int:
    """Report platform, processor, models, devices and the measured real-time factor."""
    parser = CommandParser(
        prog="stream-transcribe doctor",
        description="Say what this machine has, and measure its speed by streaming 11 s of "
        "speech on a simulated clock.",
    )
    parser.add_argument("--model", default=Settings().model, help="(default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    settings = Settings(model=arguments.model, pace="simulated")

    _line("platform", f"{platform.platform()}, Python {platform.python_version()}")
    missing = missing_features()
    features = f"lacks {', '.join(missing)}" if missing else "has what the native core needs"
    _line("processor", f"{processor_name()}, {default_threads()} threads for a pass; {features}")
    for name, version in versions().items():
        _line(name, version)
    _line("microphone", _devices(input_devices))
    _line("loopback", _devices(loopback_devices))
    try:
        _models()
        with command_workers(settings) as (worker, _):
            said = asyncio.run(_measure(settings, worker))
    except StreamingError as error:
        _line("speed", f"not measured: {error}")
        return error.exit_code
    _line("speed", said)
    return 0


def _line(name: str, value: str) -> None:
    say(f"{name:18} {value}")


def _models() -> None:
    store = ModelStore()
    _line("model cache", str(store.cache_dir))
    states: dict[ModelState, str] = {
        "cached": "in the cache",
        "unchecked": "in the cache, not checked yet",
        "installed": "can be made from installed packages",
    }
    models = store.list()
    for state, text in states.items():
        if names := [model.name for model in models if model.state == state]:
            _line("models", f"{', '.join(names)}: {text}")


def _devices(devices: Callable[[], Sequence[Any]]) -> str:
    """The device that is taken unless another is named, or why there is none."""
    found, problem = listed(devices)
    if not found:
        return problem or "none"
    first = next((device for device in found if device["default"]), found[0])
    more = "" if len(found) == 1 else f", one of {len(found)}: `stream-transcribe devices`"
    return f"{first['name']} ({first['host']}){more}"


async def _measure(settings: Settings, worker: BackendPool) -> str:
    """Stream the sample recording and tell what it took."""
    pipeline = make_pipeline(FileSource(sample_path(), pace="simulated"), settings, worker=worker)
    stats, overloaded, backend = Stats(), False, ""
    async with pipeline:
        async for event in pipeline.events():
            if isinstance(event, SessionStarted):
                backend = event.backend
            if isinstance(event, Stats):
                stats = event
            overloaded |= isinstance(event, Notice) and event.code == "overload"
    verdict = "keeps up"
    if overloaded or stats.real_time_factor > 0.9:
        verdict = "does not keep up: try --chunk 1 or a smaller model, and end other programs"
    return (
        f"{settings.model} on {backend} with {settings.chunk_s:g} s chunks: real-time factor "
        f"{stats.real_time_factor:.2f}, commit delay {stats.delay_p50_s or 0:.1f} s "
        f"(95 %: {stats.delay_p95_s or 0:.1f} s); {verdict}"
    )
