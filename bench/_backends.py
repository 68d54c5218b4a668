"""Loaded backends for the benchmarks, and what their passes took."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import _report  # noqa: F401 - makes the packages of this checkout importable

from streaming.app import Settings, make_pipeline, make_worker
from streaming.backends.pool import BackendPool, Decoded
from streaming.errors import StreamingError
from streaming.pipeline import Pipeline
from streaming.protocols import Backend, Sink, Source, Window

__all__ = [
    "BACKENDS",
    "Decoded",
    "Pool",
    "add_backend_option",
    "load",
    "make_pool",
    "on_each_pass",
    "pipeline",
]

BACKENDS = ("whisper.cpp", "ctranslate2")
Pool = BackendPool


def add_backend_option(parser: argparse.ArgumentParser) -> None:
    """``--backend NAME``, repeatable; all of them by default."""
    parser.add_argument(
        "--backend",
        dest="backends",
        action="append",
        metavar="NAME",
        help=f"one of {', '.join(BACKENDS)}; repeatable (default: all that are installed)",
    )


def load(settings: Settings) -> Pool | None:
    """Load a model; None, and a line on stderr, where that backend is not installed."""
    try:
        pool = make_worker(settings)
        pool.start()
        pool.loaded.result()
    except StreamingError as error:
        print(f"{settings.backend} is left out: {error}", file=sys.stderr)
        return None
    return pool


def make_pool(backend: Backend) -> Pool:
    """A pool of one backend that is there already."""
    return BackendPool(lambda: backend)


def pipeline(
    source: Source, settings: Settings, pool: Pool, sinks: Sequence[Sink] = ()
) -> Pipeline:
    """A pipeline on a pool that goes on afterwards."""
    return make_pipeline(source, settings, sinks=sinks, worker=pool)


def on_each_pass(pool: Pool, note: Callable[[Window, Decoded], None]) -> None:
    """Call ``note`` after every pass of a pool, on the thread that ran it."""
    submit = pool.submit

    def submit_and_note(window: Window, *more: Any, **named: Any) -> Future[Decoded]:
        future = submit(window, *more, **named)

        def done(future: Future[Decoded]) -> None:
            if not future.cancelled() and future.exception() is None:
                note(window, future.result())

        future.add_done_callback(done)
        return future

    pool.submit = submit_and_note  # type: ignore[method-assign]
