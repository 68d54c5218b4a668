"""How much encoder context a window needs beyond its own length.

    python bench/margin.py [--model NAME] [--windows N] [--json]

Windows of several lengths, cut from the clips for choosing without regard to words, are decoded
with growing margins and with Whisper's 30 s, where margins are compared to. The margin is all
that is added here: the least context, which short windows get otherwise, is none.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from _clips import CHOOSE, load
from _report import report

from sources.file import FileSource
from streaming import StreamingError
from streaming.app.settings import default_threads
from streaming.audio import Samples
from streaming.backends.whisper_cpp import WhisperCppBackend
from streaming.evaluation import Clip
from streaming.evaluation.text import ErrorCount, count_errors
from streaming.events import text_of
from streaming.mel import IncrementalMel
from streaming.models import Ct2Store, ModelStore, alignment_heads
from streaming.protocols import Backend, Window
from streaming.timeline import HOP_SAMPLES, sample_of_frame

_MARGINS = (0, 64, 128, 192, 256, 384)
"""Encoder positions of 20 ms."""
_FULL = 1500
_LENGTHS_S = (2, 4, 7, 10)
_WINDOWS = {"tiny.en": 40, "base": 10}
"""About so many of each length; fewer where a pass costs more."""


@dataclass(frozen=True)
class _Heard:
    """What one pass made of a window."""

    text: str
    looped: bool
    took_s: float


def _whisper_cpp(model: str, margin: int) -> Backend:
    path = ModelStore().path(model)
    return WhisperCppBackend(
        path,
        model=model,
        threads=default_threads(),
        alignment_heads=alignment_heads(path),
        margin=margin,
        least_context=0,
    )


def _ctranslate2(model: str, margin: int) -> Backend:
    from streaming.backends.ctranslate2 import CTranslate2Backend

    files = Ct2Store().find(model)
    return CTranslate2Backend(
        files, model=model, threads=default_threads(), margin=margin, least_context=0
    )


_BACKENDS: Mapping[str, Callable[[str, int], Backend]] = {
    "ctranslate2": _ctranslate2,
    "whisper.cpp": _whisper_cpp,
}


async def _samples(clip: Clip) -> Samples:
    async with FileSource(clip.audio, pace="fast") as source:
        return np.concatenate([chunk.samples async for chunk in source])


def _mel(samples: Samples, n_mels: int) -> IncrementalMel:
    mel = IncrementalMel(n_mels, len(samples) // HOP_SAMPLES + 1)
    mel.push(samples)
    mel.flush()
    return mel


def _windows(mels: Sequence[IncrementalMel], length_s: int, wanted: int) -> list[Window]:
    """About as many windows as wanted, at even steps through the clips."""
    n_frames = 100 * length_s
    step = max(1, sum(max(0, mel.end_frame - n_frames) for mel in mels) // wanted)
    return [
        Window(
            start_sample=sample_of_frame(first),
            mel=mel.window(first, first + n_frames),
            language="en",
        )
        for mel in mels
        for first in range(0, mel.end_frame - n_frames + 1, step)
    ]


def _hear(backend: Backend, window: Window) -> _Heard:
    started = time.perf_counter()
    hypothesis = backend.decode(window)
    took_s = time.perf_counter() - started
    return _Heard(text_of(hypothesis.words), hypothesis.looped, took_s)


def _difference(full: Sequence[_Heard], heard: Sequence[_Heard]) -> float | None:
    """Word error rate against the passes at full context that did not loop."""
    pairs = [(a, b) for a, b in zip(full, heard, strict=True) if not a.looped]
    counts = (count_errors(a.text, b.text, "en") for a, b in pairs)
    return reduce(add, counts, ErrorCount(0, 0)).rate


def _rows(
    name: str, model: str, clips: Sequence[Samples], wanted: int
) -> list[dict[str, str | float]]:
    heard: dict[int, list[list[_Heard]]] = {}
    windows: list[list[Window]] = []
    for margin in (_FULL, *_MARGINS):
        backend = _BACKENDS[name](model, margin)
        try:
            if not windows:
                mels = [_mel(samples, backend.n_mels) for samples in clips]
                windows = [_windows(mels, length_s, wanted) for length_s in _LENGTHS_S]
            started = time.perf_counter()
            backend.decode(windows[0][0])  # the first pass takes longer
            heard[margin] = [[_hear(backend, w) for w in same] for same in windows]
        finally:
            backend.close()
        took_s = time.perf_counter() - started
        print(f"{name} {model} margin {margin} ({took_s:.0f} s)", file=sys.stderr, flush=True)
    rows: list[dict[str, str | float]] = []
    for i, length_s in enumerate(_LENGTHS_S):
        full = heard[_FULL][i]
        for margin in (*_MARGINS, _FULL):
            these = heard[margin][i]
            rows.append(
                {
                    "backend": name,
                    "model": model,
                    "window s": f"{length_s}",
                    "margin": "full" if margin == _FULL else f"{margin}",
                    "windows": f"{len(these)}",
                    "looped %": f"{100 * statistics.mean(h.looped for h in these):.1f}",
                    "differs %": f"{100 * (_difference(full, these) or 0):.1f}",
                    "pass ms": f"{1000 * statistics.median(h.took_s for h in these):.0f}",
                }
            )
    return rows


def _measure(models: Sequence[str] | None, windows: int | None) -> list[dict[str, str | float]]:
    clips = [asyncio.run(_samples(clip)) for clip in load(CHOOSE)]
    rows = []
    for name in _BACKENDS:
        for model in models or _WINDOWS:
            wanted = windows or _WINDOWS.get(model, min(_WINDOWS.values()))
            rows += _rows(name, model, clips, wanted)
    return rows


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        metavar="NAME",
        help="this one only; may be given again",
    )
    parser.add_argument("--windows", type=int, metavar="N", help="about so many of each length")


if __name__ == "__main__":
    try:
        packages = ("ctranslate2", "pywhispercpp", "numba", "numpy")
        report("Encoder margins", _measure, packages, options=_options, recordings=True)
    except StreamingError as error:
        sys.exit(str(error))
