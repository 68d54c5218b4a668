"""What echo cancellation leaves of the other end, and of who speaks.

    python bench/echo.py [--json]

One recording plays through a loudspeaker; another one speaks into the microphone, from 15 s
on, while the first goes on. The room gives back the loudspeaker at three levels. Counted in
what the microphone's session commits: words before anybody spoke into it (the other end's),
and the word error rate of what was said, for the microphone as it is, for WebRTC's canceller
alone, and for ours. Its thresholds were chosen on other recordings.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from _recordings import read_clip
from _report import RECORDINGS, report, require

from sources._echo_filter import EchoFilter
from sources.push import PushSource
from streaming import BackendPool, Committed, Word
from streaming.app import Settings, make_worker, transcribe
from streaming.audio import SAMPLE_RATE, Samples, seconds
from streaming.evaluation.text import count_errors
from streaming.events import text_of

_ALONE_S = 15.0
_SPOKEN_S = 50.0
_ROOMS = ((0.0, 0.06), (0.1, 0.06), (0.25, 0.2), (0.5, 0.06))
"""Gain and delay of the echo; with the first, headphones."""
_STEP = SAMPLE_RATE // 20

_Cancel = Callable[[Samples, Samples], Samples]
"""Takes what is heard and what is played, and gives what is left; both go on where they were."""


def _echo(played: Samples, gain: float, delay_s: float) -> Samples:
    """As a room gives it back, with a tail of a third of a second."""
    tail = np.random.default_rng(0).standard_normal(8000) * np.exp(-np.arange(8000) / 1200) * 0.02
    room = gain * np.concatenate([np.zeros(round(delay_s * SAMPLE_RATE)), [1.0], tail])
    n = len(played) + len(room)
    echo = np.fft.irfft(np.fft.rfft(played, n) * np.fft.rfft(room, n), n)
    return np.asarray(echo[: len(played)], dtype=np.float32)


def _untouched() -> _Cancel:
    return lambda heard, _: heard


def _webrtc() -> _Cancel:
    cancel: _Cancel = require("pywebrtc_audio").EchoCanceller(SAMPLE_RATE, 1).process
    return cancel


def _ours() -> _Cancel:
    return EchoFilter().process


_CANCELLERS: Mapping[str, Callable[[], _Cancel]] = {
    "none": _untouched,
    "WebRTC alone": _webrtc,
    "ours": _ours,
}


def _cleaned(cancel: _Cancel, heard: Samples, played: Samples) -> Samples:
    """Step by step, as the audio would come."""
    steps = [slice(at, at + _STEP) for at in range(0, len(heard), _STEP)]
    return np.concatenate([cancel(heard[step], played[step]) for step in steps])


async def _words(samples: Samples, worker: BackendPool) -> list[Word]:
    source = PushSource(capacity_s=seconds(len(samples)) + 1.0, live=False)
    source.push(samples)
    source.end()
    events = transcribe(source, worker=worker, pace="fast")
    return [w async for e in events if isinstance(e, Committed) for w in e.words]


async def _rows() -> list[dict[str, str | float]]:
    played = await read_clip("simplicissimus_de_68s")
    spoken = await read_clip("printing_231s")
    segments = json.loads((RECORDINGS / "printing_231s.segments.json").read_text("utf-8"))
    said = [segment for segment in segments if segment["end"] <= _SPOKEN_S]
    reference = " ".join(segment["text"] for segment in said)
    spoken = spoken[: round((said[-1]["end"] + 0.2) * SAMPLE_RATE)]
    near = np.concatenate([np.zeros(round(_ALONE_S * SAMPLE_RATE), np.float32), spoken])
    noise = np.random.default_rng(1).standard_normal(len(near)) * 1e-4
    played = played[: len(near)]
    worker = make_worker(Settings())
    rows: list[dict[str, str | float]] = []
    try:
        for gain, delay_s in _ROOMS:
            heard = near + noise.astype(np.float32) + _echo(played, gain, delay_s)
            for name, canceller in _CANCELLERS.items():
                cleaned = _cleaned(canceller(), np.clip(heard, -1, 1), played)
                words = await _words(cleaned, worker)
                after = [word for word in words if word.end_s > _ALONE_S]
                errors = count_errors(reference, text_of(after), "en")
                rows.append(
                    {
                        "echo": f"{20 * np.log10(gain):.0f} dB" if gain else "none",
                        "cancelled by": name,
                        "words of the other end, 15 s": len(words) - len(after),
                        "error % while both talk": 100 * errors.rate,
                    }
                )
    finally:
        worker.close()
    return rows


def _measure() -> Sequence[Mapping[str, str | float]]:
    return asyncio.run(_rows())


if __name__ == "__main__":
    packages = ("pywebrtc-audio", "pyaec", "ctranslate2")
    report("echo", _measure, packages, model="tiny.en", recordings=True)
