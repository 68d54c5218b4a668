"""``stream-transcribe doctor``: what this machine has and how fast it is."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from ..audio import SAMPLE_RATE
from ..backends.processor import missing_features, processor_name
from ..backends.worker import BackendWorker
from ..errors import StreamingError
from ..evaluation import versions
from ..mel import IncrementalMel
from ..models import ModelStore
from ..protocols import Window
from .compose import make_worker
from .options import CommandParser
from .progress import model_progress
from .settings import Settings, default_threads

__all__ = ["doctor_command"]

_WINDOW_S = 6.0
"""About the mean window of a run with default options."""


def doctor_command(argv: Sequence[str]) -> int:
    """Report platform, processor, models, devices and the measured real-time factor."""
    parser = CommandParser(
        prog="stream-transcribe doctor", description="Check this machine and measure its speed."
    )
    parser.add_argument("--model", default=Settings().model, help="(default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    healthy = True

    _line("platform", f"{platform.platform()}, Python {platform.python_version()}")
    missing = missing_features()
    healthy &= not missing
    features = f"lacks {', '.join(missing)}" if missing else "has what the native core needs"
    _line("processor", f"{processor_name()}, {default_threads()} threads for a pass; {features}")
    for name, version in versions().items():
        _line(name, version)
    store = ModelStore()
    _line("model cache", str(store.cache_dir))
    here = [status.name for status in store.list() if status.state != "downloadable"]
    _line("models here", ", ".join(here) or "none")
    _line("microphone", _microphone())
    if missing:
        return 1
    settings = Settings(model=arguments.model)
    worker = make_worker(settings, progress=model_progress())
    try:
        pass_s = _measure(worker)
    except StreamingError as error:
        _line("speed", f"not measured: {error}")
        return 1
    finally:
        worker.close(timeout_s=1.0)
    factor = pass_s / settings.chunk_s
    verdict = "keeps up" if factor < 0.9 else "does not keep up: try a smaller model or --chunk 1"
    _line(
        "speed",
        f"{settings.model}: {pass_s * 1000:.0f} ms for a pass over {_WINDOW_S:g} s, real-time "
        f"factor about {factor:.2f} at --chunk {settings.chunk_s:g}; {verdict}",
    )
    return 0 if healthy else 1


def _line(name: str, value: str) -> None:
    print(f"{name:18} {value}", flush=True)


def _microphone() -> str:
    if find_spec("sounddevice") is None:
        return "not in this version; feed one through a pipe: stream-transcribe -"
    return "the package sounddevice is installed"


def _measure(worker: BackendWorker) -> float:
    """Median seconds of a pass over a typical window of noise, whose cost is the encoder's."""
    worker.start()
    backend = worker.loaded.result()
    mel = IncrementalMel(backend.n_mels, int(_WINDOW_S * 100))
    noise = np.random.default_rng(0).normal(0, 0.05, int(_WINDOW_S * SAMPLE_RATE))
    mel.push(noise.astype(np.float32))
    mel.flush()
    window = Window(start_sample=0, mel=mel.window(0, mel.end_frame), language="en")
    times = []
    for _ in range(4):
        started = time.perf_counter()
        worker.submit(window).result()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
