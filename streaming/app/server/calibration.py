"""What a session that speaks without a pause costs on this machine, with this model."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from statistics import fmean

from sources.file import FileSource

from ...backends.pool import BackendPool
from ...pipeline import Pipeline
from ..compose import make_pipeline
from ..sample import sample_path
from ..settings import Settings

__all__ = ["calibrate"]

_LIMIT_S = 10.0
"""A session of a model that takes longer needs about a worker of its own."""


async def calibrate(pool: BackendPool, settings: Settings) -> float:
    """Transcribe the sample recording on a simulated clock, once for each worker at a time.

    All workers have to do, as they are in each other's way when it matters. Nothing divides
    speech from silence: utterances that go on fill the window, which is where passes take longest.
    The sample's pauses would halve the cost.

    Args:
        pool: loaded, and otherwise idle.
        settings: of the sessions to come.

    Returns:
        Compute seconds per second of audio; if it takes more than ten seconds, the time over
        what was heard until then.

    Raises:
        StreamingError: a pass failed.
    """
    chosen = replace(
        settings,
        pace="simulated",
        pass_cost_s=None,
        vad="none",
        language="auto" if settings.languages[0] is None else "en",  # to detect it costs, too
        translate=False,
        final_model=None,
    )
    runs = [
        await asyncio.to_thread(
            make_pipeline, FileSource(sample_path(), pace="simulated"), chosen, worker=pool
        )
        for _ in range(settings.workers)
    ]
    try:
        async with asyncio.timeout(_LIMIT_S), asyncio.TaskGroup() as group:
            for run in runs:
                group.create_task(_run(run))
    except TimeoutError:
        return _LIMIT_S / max(min(run.status().audio_s for run in runs), 0.1)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return fmean(run.status().real_time_factor for run in runs)


async def _run(pipeline: Pipeline) -> None:
    async with pipeline:
        await pipeline.run()
