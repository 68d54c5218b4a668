"""Scripted parts: who said what when, and a model that hears it, more or less."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Self

import numpy as np

from policies.endpointing import TrailingSilence
from policies.local_agreement import LocalAgreement
from policies.trimming import TrimAtWord
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples, samples_from_seconds, seconds
from streaming.backends.pool import BackendPool
from streaming.errors import BackendError, SinkError, SourceError
from streaming.events import Event, Word
from streaming.options import TranscriberOptions, VadOptions
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import CommitPolicy, Hypothesis, SourceItem, VoiceActivityDetector, Window
from streaming.session import SessionParts

__all__ = [
    "HangingBackend",
    "ListSink",
    "LoudnessVad",
    "Noise",
    "Script",
    "ScriptedBackend",
    "ScriptedSource",
    "chunks_of",
    "make_parts",
    "say",
    "simulate",
    "until",
    "worker_for",
]

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"


def name_of(number: int) -> str:
    """A word that looks like no other: " bama", " dife", ..."""
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    first, second = number * 31 % len(syllables), number * 17 + number // len(syllables)
    return " " + syllables[first] + syllables[second % len(syllables)]


@dataclass(frozen=True)
class Script:
    """What is truly said, and how long the recording is."""

    words: tuple[Word, ...]
    duration_s: float
    language: str = "en"

    def audio(self) -> Samples:
        """Noise where somebody speaks, silence elsewhere."""
        samples = np.zeros(samples_from_seconds(self.duration_s), np.float32)
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, SAMPLE_RATE).astype(np.float32)
        for word in self.words:
            start, end = samples_from_seconds(word.start_s), samples_from_seconds(word.end_s)
            samples[start:end] = noise[np.arange(start, end) % SAMPLE_RATE]
        return samples


def say(
    *utterances: int,
    word_s: float = 0.3,
    gap_s: float = 0.08,
    pause_s: float = 1.2,
    start_s: float = 0.5,
    end_s: float = 0.5,
) -> Script:
    """A script of utterances with so many words each."""
    words: list[Word] = []
    at_s = start_s
    for n_words in utterances:
        for _ in range(n_words):
            at_s = round(at_s, 4)
            words.append(Word(name_of(len(words)), at_s, round(at_s + word_s, 4), 0.9))
            at_s += word_s + gap_s
        at_s += pause_s - gap_s
    return Script(tuple(words), round(max(at_s - pause_s, 0.0) + end_s, 4))


@dataclass(frozen=True)
class Noise:
    """How badly the model hears. Chances are per word, or per pass where it says so."""

    respelled: float = 0.0
    """Another capital or full stop: still the same word."""
    misheard: float = 0.0
    """Another word, anywhere."""
    unsure: float = 0.0
    """Another word, near the live edge."""
    missed: float = 0.0
    invented: float = 0.0
    """Per pass: words after the last one, without duration."""
    loops: float = 0.0
    """Per pass: the last words again and again."""
    deaf: float = 0.0
    """Per pass: nothing at all."""
    interpolated: float = 0.0
    """Per pass: times that are only a guess."""
    jitter_s: float = 0.0
    languages: tuple[str, ...] = ()
    """Detected ones, where none is asked for."""


@dataclass
class ScriptedBackend:
    """Hears the words of a script whose middle and end lie in the window.

    A window is always heard the same way. Each word's probability tells the number of the
    pass it was heard in, divided by a million.
    """

    script: Script
    noise: Noise = Noise()
    seed: int = 0
    keep: bool = True
    """Remember the windows, without their mel."""
    fails_at: int | None = None
    """Number of the pass that fails."""
    fails_from: float = math.inf
    """The same for all passes from there on."""
    name: str = "scripted"
    model: str = "script"
    n_mels: int = 80
    multilingual: bool = True
    forces_prefix: bool = False
    windows: list[Window] = field(default_factory=list)
    passes: int = 0
    longest_frames: int = 0
    closed: bool = False

    def decode(self, window: Window) -> Hypothesis:
        number, self.passes = self.passes, self.passes + 1
        if number == self.fails_at or number >= self.fails_from:
            raise BackendError("the script says that this pass fails")
        assert not self.closed
        assert not self.keep or number < 2000, "passes without end"
        self.longest_frames = max(self.longest_frames, window.n_frames)
        if self.keep:
            self.windows.append(replace(window, mel=np.zeros((0, window.n_frames), np.float32)))
        rng = random.Random(f"{self.seed} {window.start_sample} {window.n_frames}")
        start_s, end_s = seconds(window.start_sample), seconds(window.end_sample)
        heard = [
            word
            for word in self.script.words
            if (word.start_s + word.end_s) / 2 > start_s and word.end_s <= end_s + 1e-6
        ]
        prefix = window.prefix if self.forces_prefix and not window.careful else ()
        if prefix:
            heard = [word for word in heard if (word.start_s + word.end_s) / 2 > prefix[-1].end_s]
        words = self._distort(heard, rng, end_s)
        language, detected = window.language or window.fallback_language, False
        if window.language is None and self.noise.languages:
            language, detected = rng.choice(self.noise.languages), rng.random() < 0.8
        return Hypothesis(
            words=(*prefix, *self._timed(words, rng, start_s, end_s, number)),
            language=language or self.script.language,
            language_detected=detected,
            timing="interpolated" if rng.random() < self.noise.interpolated else "aligned",
            looped=rng.random() < self.noise.loops / 2,
            n_forced=len(prefix) if self.forces_prefix and not window.careful else None,
        )

    def abort(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def _distort(self, words: list[Word], rng: random.Random, end_s: float) -> list[Word]:
        noise = self.noise
        if rng.random() < noise.deaf:
            return []
        out: list[Word] = []
        for word in words:
            text = word.text
            if rng.random() < noise.missed:
                continue
            near_edge = word.end_s > end_s - 1.0
            if rng.random() < (noise.misheard + noise.unsure * near_edge):
                text = name_of(rng.randrange(1000))
            if rng.random() < noise.respelled:
                text = rng.choice((text.title(), text.upper(), text + ",", text + "."))
            out.append(replace(word, text=text))
        if out and rng.random() < noise.loops:
            out += out[-rng.randint(1, 3) :] * rng.randint(2, 6)
        if rng.random() < noise.invented:
            out += [
                Word(name_of(rng.randrange(1000)), end_s, end_s, 0.1)
                for _ in range(rng.randint(1, 4))
            ]
        return out

    def _timed(
        self, words: Sequence[Word], rng: random.Random, start_s: float, end_s: float, number: int
    ) -> Iterator[Word]:
        at_s, jitter_s = start_s, self.noise.jitter_s
        for word in words:
            begins = min(max(word.start_s + rng.uniform(-jitter_s, jitter_s), at_s), end_s)
            ends = min(max(word.end_s + rng.uniform(-jitter_s, jitter_s), begins), end_s)
            at_s = ends
            yield Word(word.text, begins, ends, number / 1e6)


class HangingBackend(ScriptedBackend):
    """Hangs in its first pass until it is released."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.entered = threading.Event()
        self.release = threading.Event()
        self.aborts = 0

    def decode(self, window: Window) -> Hypothesis:
        self.entered.set()
        self.release.wait(20)
        return super().decode(window)

    def abort(self) -> None:
        self.aborts += 1


class LoudnessVad:
    """Speech is where the audio is not silent: it knows just what the script knows."""

    frame_samples = 320

    def process(self, frame: Samples) -> float:
        return float(np.abs(frame).max() > 0.01)

    def reset(self) -> None:
        pass


class _Opened:
    """Knows whether it is inside its ``async with``."""

    is_open = False

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_open = False


class ScriptedSource(_Opened):
    """Yields what it is given; ``paced`` waits on the loop's clock until it was said."""

    def __init__(
        self,
        items: Iterable[SourceItem],
        *,
        live: bool = False,
        paced: bool = False,
        error: str | None = None,
    ) -> None:
        self.items = items
        self.live = live
        self.paced = paced
        self.error = error
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        clock = asyncio.get_running_loop().time
        zero_s = clock()
        for item in self.items:
            if self.paced and isinstance(item, AudioChunk):
                await asyncio.sleep(max(0.0, zero_s + seconds(item.end_sample) - clock()))
            self.taken += 1
            yield item
        if self.error is not None:
            raise SourceError(self.error)


class ListSink(_Opened):
    """Keeps events; fails at the event with the number ``fails_at``."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.events: list[Event] = []
        self.fails_at = fails_at

    async def write(self, event: Event) -> None:
        assert self.is_open
        if len(self.events) == self.fails_at:
            raise SinkError("the disk is full")
        self.events.append(event)


async def until(condition: Callable[[], object], *, every_s: float = 0.0) -> None:
    """Wait for what another thread or a source does."""
    while not condition():  # noqa: ASYNC110 - threads set no asyncio.Event
        await asyncio.sleep(every_s)


def chunks_of(
    samples: Samples, sizes: int | Sequence[int] = 1600, start_sample: int = 0
) -> list[AudioChunk]:
    """Cut audio into chunks; sizes are taken in turn, again and again."""
    sizes = [sizes] if isinstance(sizes, int) else sizes
    chunks: list[AudioChunk] = []
    at = 0
    while at < len(samples):
        piece = samples[at : at + sizes[len(chunks) % len(sizes)]]
        chunks.append(AudioChunk(piece, start_sample + at))
        at += len(piece)
    return chunks


def make_parts(
    *,
    vad: VoiceActivityDetector | None = None,
    silence_s: float = 0.6,
    commit_policy: CommitPolicy | None = None,
    **options: object,
) -> SessionParts:
    """Parts as the command line would choose them, around a detector that knows the truth."""
    chosen = TranscriberOptions(**{"language": "en", **options})  # type: ignore[arg-type]
    return SessionParts(
        vad=vad or LoudnessVad(),
        commit_policy=commit_policy or LocalAgreement(),
        trim_policy=TrimAtWord(chosen.window_s, chosen.left_context_s),
        endpoint_policy=TrailingSilence(silence_s, chosen.max_utterance_s),
        options=chosen,
        vad_options=VadOptions(),
    )


@contextmanager
def worker_for(*backends: ScriptedBackend) -> Iterator[BackendPool]:
    """A pool of so many workers that is closed afterwards."""
    left = iter(backends)
    worker = BackendPool(lambda: next(left), workers=len(backends))
    try:
        yield worker
    finally:
        worker.close()


def simulate(
    items: Iterable[SourceItem],
    backend: ScriptedBackend,
    parts: SessionParts | None = None,
    *,
    pass_cost_s: float | None = 0.1,
    pace: Pace = "simulated",
) -> list[Event]:
    """Run a whole pipeline and return its events."""

    async def run() -> list[Event]:
        with worker_for(backend) as worker:
            source = ScriptedSource(items)
            cost_s = pass_cost_s if pace == "simulated" else None
            async with (
                Pipeline(
                    source, worker, parts or make_parts(), pace=pace, pass_cost_s=cost_s
                ) as pipeline,
                aclosing(pipeline.events()) as events,
            ):
                return [event async for event in events]

    return asyncio.run(run())
