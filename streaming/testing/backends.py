"""The contract of a backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..audio import seconds
from ..events import text_of
from ..protocols import Backend, Hypothesis, Window
from ._common import expect

__all__ = ["check_backend"]

SHORT_FRAMES = (1, 2, 3, 7, 20, 50)
"""Lengths of windows that a backend must not choke on."""
LATER_SAMPLES = 160_000
"""Where the same audio is decoded once more, to see that times are absolute."""


def check_backend(make: Callable[[], Backend], mel: NDArray[np.float32]) -> None:
    """Check a backend with a window of speech, with short ones and with silence.

    It decodes about fifteen times.

    Args:
        make: loads the model.
        mel: log-mel of a few seconds of speech, as in `Window.mel`, at most 30 s.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    backend = make()
    try:
        _check_members(backend, mel)
        speech = Window(start_sample=0, mel=mel)
        heard = _decode(backend, speech)
        expect(heard.words, "nothing is heard in the speech that was given")
        for n_frames in SHORT_FRAMES:
            _decode(backend, replace(speech, mel=np.ascontiguousarray(mel[:, :n_frames])))
        silence = np.full((backend.n_mels, 200), mel.min(), np.float32)
        _decode(backend, replace(speech, mel=silence))
        backend.abort()  # nothing runs, so it is nothing to the next pass
        again = _decode(backend, speech)
        expect(again == heard, "the same window gives another hypothesis: decode keeps state")
        _check_later(heard, _decode(backend, replace(speech, start_sample=LATER_SAMPLES)))
        _decode(backend, replace(speech, prompt="Names, and terms.", context=text_of(heard.words)))
        if backend.forces_prefix:
            _check_prefix(backend, speech, heard)
    finally:
        backend.close()


def _check_members(backend: Backend, mel: NDArray[np.float32]) -> None:
    for name in ("name", "model"):
        value = getattr(backend, name)
        expect(isinstance(value, str) and value, f"{name} must say something, not {value!r}")
    for name in ("multilingual", "forces_prefix"):
        value = getattr(backend, name)
        expect(isinstance(value, bool), f"{name} must be True or False, not {value!r}")
    expect(
        len(mel) == backend.n_mels,
        f"the backend wants {backend.n_mels} mel bands, the test gave {len(mel)}",
    )


def _decode(backend: Backend, window: Window) -> Hypothesis:
    mel = window.mel.copy()
    hypothesis = backend.decode(window)
    what = f"the hypothesis of {window.n_frames} frames"
    expect(np.array_equal(window.mel, mel), "decode changes the mel it was given")
    expect(isinstance(hypothesis, Hypothesis), f"decode returns a {type(hypothesis).__name__}")
    expect(hypothesis.language or not hypothesis.words, f"{what} has words in no language")
    start_s, end_s = seconds(window.start_sample), seconds(window.end_sample)
    before_s = start_s
    for word in hypothesis.words:
        span = f"{word.text!r} at {word.start_s:.3f}-{word.end_s:.3f} s"
        expect(word.text, f"{what} has a word without text")
        expect(
            before_s - 1e-6 <= word.start_s <= word.end_s,
            f"{what}: {span} is not in order after {before_s:.3f} s",
        )
        expect(word.end_s <= end_s + 1e-6, f"{what}: {span} goes past the end, {end_s:.3f} s")
        expect(0.0 <= word.probability <= 1.0, f"{what}: {span} has probability {word.probability}")
        before_s = word.end_s
    return hypothesis


def _check_later(heard: Hypothesis, later: Hypothesis) -> None:
    texts = [word.text for word in heard.words]
    expect(
        texts == [word.text for word in later.words],
        "the same audio later in the stream gives other words",
    )
    for first, second in zip(heard.words, later.words, strict=True):
        shift_s = second.start_s - first.start_s
        expect(
            abs(shift_s - seconds(LATER_SAMPLES)) < 1e-3,
            f"{first.text!r} is at {second.start_s:.3f} s; times must be absolute",
        )


def _check_prefix(backend: Backend, window: Window, heard: Hypothesis) -> None:
    prefix = heard.words[: max(1, len(heard.words) // 2)]
    forced = _decode(backend, replace(window, prefix=prefix))
    expect(
        text_of(forced.words).startswith(text_of(prefix)),
        f"the forced prefix {text_of(prefix)!r} is not where the hypothesis starts: "
        f"{text_of(forced.words)!r}",
    )
