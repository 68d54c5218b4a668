"""What a pass costs, by length of the window.

    python bench/backends.py [--backend NAME] [--lengths S ...] [--json]

Windows of real speech from some places of a recording, each with the text before it as
context, as in a running stream. A whole pass decodes all of the window's text. A live pass
has the committed words in it, here all but the last two, and a backend that can force them
decodes only the rest. What is left when there is nothing to decode is the encoder and what
comes with it: where words are forced, the pass with all of them; elsewhere the pass that is
asked to abort, which is looked at after the encoder.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from _backends import BACKENDS, Pool, add_backend_option, load
from _recordings import read_spoken
from _report import report

from streaming.app import Settings
from streaming.audio import SAMPLE_RATE
from streaming.events import text_of
from streaming.mel import IncrementalMel
from streaming.protocols import Backend, Window
from streaming.timeline import HOP_SAMPLES

_CLIP = "bush_radio_127s"
_STARTS_S = (8.0, 41.0, 66.0, 93.0)
_LENGTHS_S = (2.0, 4.0, 7.0, 10.0, 15.0, 30.0)
_REPEATS = 3
_UNDECIDED = 2
_INTO_ENCODER_S = 0.005


def _windows(pool: Pool, n_mels: int, lengths_s: Sequence[float]) -> list[list[Window]]:
    """By length, one at every place."""
    audio, spoken = asyncio.run(read_spoken([_CLIP], pool))
    mel = IncrementalMel(n_mels, len(audio) // HOP_SAMPLES + 1)
    mel.push(audio)
    mel.flush()
    return [
        [
            Window(
                start_sample=round(start_s * SAMPLE_RATE),
                mel=mel.window(round(100 * start_s), round(100 * (start_s + length_s))),
                context=text_of([word for word in spoken if word.end_s <= start_s]),
                language="en",
            )
            for start_s in _STARTS_S
        ]
        for length_s in lengths_s
    ]


def _times_s(decode: Callable[[Window], object], windows: Sequence[Window]) -> float:
    """Median seconds over all windows, each decoded some times."""
    times = []
    for window in windows:
        for _ in range(_REPEATS):
            started = time.perf_counter()
            decode(window)
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def _row(backend: Backend, windows: Sequence[Window]) -> dict[str, str | float]:
    def aborted(window: Window) -> None:
        timer = threading.Timer(_INTO_ENCODER_S, backend.abort)
        timer.start()
        backend.decode(window)
        timer.join()

    heard = [backend.decode(window).words for window in windows]
    known = [replace(w, prefix=words) for w, words in zip(windows, heard, strict=True)]
    live = [replace(window, prefix=window.prefix[:-_UNDECIDED]) for window in known]
    n_words = statistics.mean(len(words) for words in heard)
    whole_s = live_s = _times_s(backend.decode, windows)
    if backend.forces_prefix:
        live_s = _times_s(backend.decode, live)
    nothing_s = _times_s(backend.decode if backend.forces_prefix else aborted, known)
    return {
        "backend": backend.name,
        "window s": f"{windows[0].n_frames / 100:g}",
        "words": f"{n_words:.0f}",
        "whole pass ms": f"{1000 * whole_s:.0f}",
        "live pass ms": f"{1000 * live_s:.0f}",
        "without decoding ms": f"{1000 * nothing_s:.0f}",
        "ms a word": f"{1000 * (whole_s - nothing_s) / n_words:.1f}",
    }


def _measure(backends: list[str] | None, lengths: Sequence[float]) -> list[dict[str, str | float]]:
    rows: list[dict[str, str | float]] = []
    for name in backends or BACKENDS:
        pool = load(Settings(backend=name))
        if pool is None:
            continue
        backend = pool.loaded.result()
        for windows in _windows(pool, backend.n_mels, lengths):
            rows.append(_row(backend, windows))
            print(*rows[-1].values(), file=sys.stderr, flush=True)
        pool.close()
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    add_backend_option(parser)
    parser.add_argument(
        "--lengths", type=float, nargs="+", default=_LENGTHS_S, metavar="S", help="of windows"
    )


if __name__ == "__main__":
    report(
        "Cost of a pass",
        _measure,
        ("pywhispercpp", "ctranslate2", "numpy"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
