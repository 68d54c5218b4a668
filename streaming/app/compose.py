"""Settings to a worker, session parts and a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policies.endpointing import TrailingSilence
from policies.trimming import TrimAtWord
from sources.file import FileSource
from sources.media import MediaSource

from ..backends.memory import require_memory
from ..backends.pool import BackendPool
from ..errors import ConfigurationError
from ..events import Event
from ..group import PipelineGroup
from ..journal import Journal
from ..models import Ct2Store, ModelStore, Progress, is_ggml
from ..pipeline import Pipeline
from ..protocols import Backend, Sink, Source
from ..replacements import Replacements
from ..session import SessionParts
from .registry import POLICIES, VADS, build, maker
from .settings import Settings, default_threads, default_workers

__all__ = [
    "BACKENDS",
    "auto_takes_ctranslate2",
    "make_final_worker",
    "make_parts",
    "make_pipeline",
    "make_run",
    "make_worker",
    "server_workers",
    "transcribe",
]


def _whisper_cpp(*, model: str, threads: int, progress: Progress | None) -> Backend:
    from ..backends.whisper_cpp import WhisperCppBackend
    from ..models import alignment_heads

    path = ModelStore().path(model, progress=progress)
    return WhisperCppBackend(
        path, model=model, threads=threads, alignment_heads=alignment_heads(path)
    )


def _ctranslate2(
    *,
    model: str,
    threads: int,
    progress: Progress | None,
    compute_type: str | None = None,
    device: str = "cpu",
) -> Backend:
    if find_spec("ctranslate2") is None:
        raise ConfigurationError(
            'CTranslate2 is not installed: pip install "stream-transcribe[ct2]"'
        )
    from ..backends.ctranslate2 import CTranslate2Backend

    files = Ct2Store().find(model, progress=progress)
    return CTranslate2Backend(
        files, model=model, threads=threads, compute_type=compute_type, device=device
    )


def auto_takes_ctranslate2(model: str) -> bool:
    """CTranslate2 where it is installed, unless only whisper.cpp has the model at hand."""
    ours = find_spec("ctranslate2") is not None and not is_ggml(model)
    elsewhere = not Ct2Store().at_hand(model) and ModelStore().at_hand(model)
    return ours and not elsewhere


def _auto(*, model: str, threads: int, progress: Progress | None, **compute: str) -> Backend:
    """See `auto_takes_ctranslate2`; options of CTranslate2 choose it as well."""
    if compute or auto_takes_ctranslate2(model):
        return _ctranslate2(model=model, threads=threads, progress=progress, **compute)
    return _whisper_cpp(model=model, threads=threads, progress=progress)


BACKENDS: Mapping[str, Callable[..., Backend]] = {
    "auto": _auto,
    "ctranslate2": _ctranslate2,
    "whisper.cpp": _whisper_cpp,
}
"""Each loads a model, and tells how it comes along if it has to be made or fetched first."""


def make_worker(settings: Settings, *, progress: Progress | None = None) -> BackendPool:
    """A pool that will load the model; sessions with the same model may share it.

    Args:
        settings: model, backend, workers and threads.
        progress: told how a model that has to be made or downloaded first comes along.

    Raises:
        ConfigurationError: an unknown backend, or choices that it does not have.
        BackendError: there is not enough memory for any model.
    """
    threads = settings.threads or default_threads(settings.workers)
    require_memory(settings.model, threads=threads)  # other parts need it, too, and say it worse
    load = _loader(settings, settings.model, threads, progress)
    return BackendPool(load, workers=settings.workers, pass_limit_s=settings.pass_limit_s)


def server_workers(backend: str, model: str) -> int:
    """One that takes all cores where a pass is slow; else the sooner a pass begins the better."""
    core = backend.partition(":")[0]
    quick = core == "ctranslate2" or (core == "auto" and auto_takes_ctranslate2(model))
    return default_workers() if quick else 1


def make_final_worker(
    settings: Settings, *, progress: Progress | None = None
) -> BackendPool | None:
    """The same for the final model, on the cores that the live one leaves; None without one.

    It gives way to everything else on the machine, to the live model above all.
    """
    if settings.final_model is None:
        return None
    threads = settings.threads or default_threads(settings.workers)
    left = default_threads(taken=settings.workers * threads)
    load = _loader(settings, settings.final_model, left, progress)
    return BackendPool(load, background=True, pass_limit_s=settings.pass_limit_s)


def _loader(
    settings: Settings, model: str, threads: int, progress: Progress | None
) -> Callable[[], Backend]:
    chosen = {"compute_type": settings.compute_type, "device": settings.compute_device}
    compute = {name: value for name, value in chosen.items() if value is not None}
    if compute and settings.backend.partition(":")[0] not in ("auto", "ctranslate2"):
        raise ConfigurationError(
            "--compute-type and --compute-device are for the backend ctranslate2, "
            f"not for {settings.backend}"
        )
    return maker(
        settings.backend,
        "streaming.backends",
        BACKENDS,
        model=model,
        threads=threads,
        progress=progress,
        **compute,
    )


def make_parts(settings: Settings) -> SessionParts:
    """The parts of one session. Creating a detector takes a moment: not for the event loop.

    Raises:
        ConfigurationError: an unknown policy or detector, or parameters they do not take; or
            replacements that cannot be read.
    """
    return SessionParts(
        vad=build(settings.vad, "streaming.vads", VADS),
        commit_policy=build(settings.policy, "streaming.policies", POLICIES),
        trim_policy=TrimAtWord(settings.window_s, settings.left_context_s),
        endpoint_policy=TrailingSilence(settings.endpoint_silence_s, settings.max_utterance_s),
        options=settings.transcriber_options(),
        vad_options=settings.vad_options(),
        label=settings.label,
        replacements=None if settings.replace is None else Replacements.read(settings.replace),
        trace=settings.trace,
        described=settings.described(),
    )


def make_pipeline(
    source: Source | str | Path,
    settings: Settings,
    *,
    sinks: Sequence[Sink] = (),
    parts: SessionParts | None = None,
    worker: BackendPool | None = None,
    final_worker: BackendPool | None = None,
    session: str | None = None,
    journal: Journal | None = None,
) -> Pipeline:
    """A pipeline with its own workers, or on those that are shared.

    Args:
        source: where the audio comes from, or the path or URL of media, read at the pace of the
            settings; a live stream always comes in real time.
        settings: choices.
        sinks: where events go.
        parts: of the session, instead of those that the settings choose: see `make_parts`.
        worker: a pool for the model.
        final_worker: the same for the final model.
        session: name of the session; a fresh one otherwise.
        journal: keeps it on disk.

    Raises:
        ConfigurationError: a choice that cannot work.
    """
    if isinstance(source, str | Path):
        address = isinstance(source, str) and "://" in source
        source = (MediaSource if address else FileSource)(str(source), pace=settings.pace)
    return Pipeline(
        source,
        worker or make_worker(settings),
        parts or make_parts(settings),
        sinks,
        pace=settings.pace,
        pass_cost_s=settings.pass_cost_s,
        owns_worker=worker is None,
        final_worker=final_worker or make_final_worker(settings),
        owns_final_worker=final_worker is None,
        session=session,
        journal=journal,
    )


def make_run(
    sources: Mapping[str, Source],
    settings: Settings,
    *,
    sinks: Sequence[Sink],
    worker: BackendPool,
    final_worker: BackendPool | None = None,
    journals: Mapping[str, Journal] | None = None,
) -> PipelineGroup:
    """A session for each source, with its label, on one model.

    Args:
        sources: by label.
        settings: of every session.
        sinks: for the events of all.
        worker: a pool for the model.
        final_worker: the same for the final model.
        journals: by label, if the sessions are kept on disk.

    Raises:
        ConfigurationError: a choice that cannot work.
    """
    pipelines = [
        make_pipeline(
            source,
            replace(settings, label=label),
            worker=worker,
            final_worker=final_worker,
            journal=None if journals is None else journals[label],
        )
        for label, source in sources.items()
    ]
    return PipelineGroup(pipelines, sinks)


async def transcribe(
    source: Source | str | Path,
    *,
    sinks: Sequence[Sink] = (),
    worker: BackendPool | None = None,
    final_worker: BackendPool | None = None,
    **choices: Any,
) -> AsyncGenerator[Event, None]:
    """Transcribe a source, or a media file by its path, and yield the events.

    Args:
        source: a source, or a path or URL, which is read at ``pace`` "fast" unless another is
            given; a live stream always comes in real time.
        sinks: where events go besides.
        worker: a loaded model to share; its own one is made and closed otherwise.
        final_worker: the same for the ``final_model``.
        choices: fields of `Settings`.

    Raises:
        StreamingError: bad choices, input that cannot be read, or a model that cannot be had.
    """
    if isinstance(source, str | Path):
        choices = {"pace": "fast", **choices}
    settings = Settings(**choices)
    pipeline = await asyncio.to_thread(
        make_pipeline, source, settings, sinks=sinks, worker=worker, final_worker=final_worker
    )
    async with pipeline, aclosing(pipeline.events()) as events:
        async for event in events:
            yield event
