"""Hours of a live session on a virtual clock: what is said and how busy the machine is are random.

The pipeline is the real one, at its live pace, with a live source that loses audio, somebody who
presses keys, and a model whose passes take what the load of the moment makes of them. What was
said is known, so every word can be accounted for. Nothing here grows with the hours, so that
what does is the pipeline's.
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import psutil
from fakes import (
    ListSink,
    LoudnessVad,
    Noise,
    Script,
    ScriptedBackend,
    ScriptedSource,
    make_parts,
    name_of,
)
from reachable import reachable
from virtual_time import run_virtual

from sinks.publisher import Publisher
from sinks.subtitles import SrtSink, WebVttSink
from sinks.text import TextSink
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, Samples, samples_from_seconds, seconds
from streaming.backends.pool import BackendPool, Decoded
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    Word,
    event_from_json,
    event_to_json,
)
from streaming.options import Configure, TranscriberOptions
from streaming.pipeline import Pipeline
from streaming.protocols import (
    Backend,
    Hypothesis,
    Sink,
    SourceItem,
    VoiceActivityDetector,
    Window,
)
from streaming.replacements import Replacements

__all__ = ["Hour", "Outcome", "long_run"]

_FORGET_S = 300.0
"""What was said longer ago than this is needed by nobody."""
_LOOK_S = 60.0
"""How often the pipeline's containers are measured, on the virtual clock."""
_DISHONEST_S = 900.0
"""So long the model mishears, loops and invents at the beginning of each hour."""
_NOISES = (
    Noise(misheard=0.1, unsure=0.5, respelled=0.2, jitter_s=0.1),
    Noise(loops=0.3, invented=0.3, deaf=0.1),
    Noise(missed=0.2, interpolated=0.5, jitter_s=0.5),
    Noise(deaf=1.0),
    Noise(misheard=1.0),
)
_REPLACED = {" Three": (name_of(3),), " Seven": (name_of(7), name_of(8))}
"""What somebody sees instead of some of the words."""


class Talk:
    """What is said and heard: words, silence, noise, and audio that is missing."""

    def __init__(self, seed: int, duration_s: float, voice: Samples | None) -> None:
        self._rng = random.Random(seed)
        self._end = samples_from_seconds(duration_s)
        noise = np.random.default_rng(seed).uniform(-0.3, 0.3, SAMPLE_RATE)
        self._voice = noise.astype(np.float32) if voice is None else voice
        self._n_words = 0
        self.words: list[Word] = []
        """Those of the last minutes, in order."""
        self._starts_s: list[float] = []
        self.unaccounted: deque[Word] = deque()
        """Those that nobody has asked for yet."""

    @property
    def end_s(self) -> float:
        """Where the audio ends."""
        return seconds(self._end)

    def between(self, start_s: float, end_s: float) -> tuple[Word, ...]:
        """Words that may be heard in a window."""
        first = bisect_left(self._starts_s, start_s - 2.0)
        return tuple(self.words[first : bisect_left(self._starts_s, end_s)])

    def items(self) -> Iterator[SourceItem]:
        """What the source yields."""
        rng = self._rng
        sounds = self._sounds()
        under_way = next(sounds)
        at, gap, reason = 0, 0, ""
        while at < self._end:
            length = rng.choice((8_000, 8_000, 8_000, 3_200, 16_000, 1_024))
            samples = np.zeros(length, np.float32)
            while under_way[0] < at + length:
                start, end = under_way
                low, high = max(start, at) - at, min(end, at + length) - at
                samples[low:high] = self._voice[np.arange(at + low, at + high) % len(self._voice)]
                if end > at + length:
                    break
                under_way = next(sounds)
            if rng.random() < 0.0015:
                gap = rng.choice((rng.randint(1, 16_000), rng.randint(16_001, 30 * SAMPLE_RATE)))
                reason = rng.choice(("", "overflow", "reconnect"))
            lost, gap = min(gap, length), max(gap - length, 0)
            if lost < length:
                yield AudioChunk(samples[lost:], at + lost, reason)
                reason = ""
            at += length
            self._forget(seconds(at) - _FORGET_S)
            if rng.random() < 0.001:
                yield self._wish()

    def _wish(self) -> SourceItem:
        language = self._rng.choice(("en", "de"))
        configure = Configure(TranscriberOptions(language=language, prompt="Names: Bama."))
        return self._rng.choice((Flush(), configure, Notice(code="source", message="unplugged?")))

    def _sounds(self) -> Iterator[tuple[int, int]]:
        """First sample of each sound and the one after its last."""
        rng = self._rng
        at_s = 0.5
        while True:
            kind = rng.choices(
                ("talk", "monologue", "noise", "pause", "silence"), (60, 3, 8, 25, 4)
            )
            if kind == ["talk"]:
                for _ in range(rng.choice((1, 2, 4, 12, 30))):
                    yield (sound := self._word(at_s))
                    at_s = seconds(sound[1]) + rng.choice((0.04, 0.08, 0.15, 0.3))
                at_s += rng.uniform(0.2, 4.0)
            elif kind == ["monologue"]:
                for _ in range(rng.randint(200, 900)):
                    yield (sound := self._word(at_s))
                    at_s = seconds(sound[1]) + rng.uniform(0.02, 0.09)
            elif kind == ["noise"]:
                end_s = at_s + rng.choice((0.05, 0.3, 3.0, 20.0)) * rng.random()
                yield samples_from_seconds(at_s), samples_from_seconds(end_s)
                at_s = end_s + rng.uniform(0.1, 2.0)
            elif kind == ["pause"]:
                at_s += rng.uniform(1.0, 20.0)
            else:
                at_s += rng.choice((60.0, 240.0, 1_200.0)) * rng.random()

    def _word(self, at_s: float) -> tuple[int, int]:
        start = samples_from_seconds(at_s)
        end = start + self._rng.randint(2_400, 8_000)
        word = Word(name_of(self._n_words), seconds(start), seconds(end), 0.9)
        self._n_words += 1
        self.words.append(word)
        self._starts_s.append(word.start_s)
        self.unaccounted.append(word)
        return start, end

    def _forget(self, before_s: float) -> None:
        forgotten = bisect_left(self._starts_s, before_s)
        if forgotten > 500:
            del self.words[:forgotten], self._starts_s[:forgotten]


class Model(ScriptedBackend):
    """Hears what is said, and badly at the beginning of each hour."""

    def __init__(self, talk: Talk, name: str, forces_prefix: bool) -> None:
        super().__init__(Script((), 0.0), keep=False, model=name, forces_prefix=forces_prefix)
        self._talk = talk

    def decode(self, window: Window) -> Hypothesis:
        start_s, end_s = seconds(window.start_sample), seconds(window.end_sample)
        self.script = Script(self._talk.between(start_s, end_s), end_s)
        self.noise = noise_at(start_s, end_s)
        return super().decode(window)


def noise_at(start_s: float, end_s: float) -> Noise:
    """How badly is heard what lies there."""
    kind = int(start_s % 3600 / _DISHONEST_S * len(_NOISES))
    if end_s % 3600 < _DISHONEST_S or start_s % 3600 < _DISHONEST_S:
        return _NOISES[kind % len(_NOISES)]
    return Noise()


class BusyMachine:
    """What a pass takes: phases of all kinds of load, each of seconds or minutes."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._until_s = 0.0
        self._range_s = (0.05, 0.3)

    def pass_s(self, now_s: float) -> float:
        """What one costs that begins now."""
        rng = self._rng
        if now_s >= self._until_s:
            self._until_s = now_s + rng.choice((30.0, 120.0, 600.0)) * rng.random()
            self._range_s = rng.choices(
                ((0.05, 0.3), (0.2, 0.8), (0.5, 2.0), (2.0, 5.0), (10.0, 25.0)), (10, 6, 4, 2, 1)
            )[0]
        return rng.uniform(*self._range_s)


class LoadedPool(BackendPool):
    """Hears at once, and answers when the machine has had the time."""

    def __init__(self, backend: Backend, machine: BusyMachine) -> None:
        super().__init__(lambda: backend)
        self._backend = backend
        self._machine = machine
        self.passes = 0
        self._is_loaded: Future[Backend] = Future()
        self._is_loaded.set_result(backend)

    def start(self) -> None:
        pass

    @property
    def loaded(self) -> Future[Backend]:
        return self._is_loaded

    async def ready(self) -> Backend:
        return self._backend

    def submit(self, window: Window, *, deadline_s: float | None = None) -> Future[Decoded]:
        loop = asyncio.get_running_loop()
        cost_s = self._machine.pass_s(loop.time())
        decoded = Decoded(self._backend.decode(window), cost_s, 0.0)
        future: Future[Decoded] = Future()

        def answer() -> None:
            if not future.cancelled():
                future.set_result(decoded)

        loop.call_later(cost_s, answer)
        self.passes += 1
        return future


@dataclass
class Accounts:
    """Holds every committed word against what was said."""

    talk: Talk
    committed: int = 0
    lost: int = 0
    """Words in audio that was told as lost, or cut by somebody."""
    misheard: int = 0
    """Committed where the model is not honest."""
    problems: list[str] = field(default_factory=list)
    dropped_s: float = 0.0
    drops: dict[str, int] = field(default_factory=dict)
    finals: int = 0
    notices: dict[str, int] = field(default_factory=dict)
    _excuses: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=500))

    def push(self, event: Event) -> None:
        if isinstance(event, AudioDropped):
            self.dropped_s += event.end_s - event.start_s
            self.drops[event.reason] = self.drops.get(event.reason, 0) + 1
            self._excuses.append((event.start_s, event.end_s))
        elif isinstance(event, Flushed):
            self._excuses.append((event.at_s, event.at_s))
        elif isinstance(event, Notice):
            self.notices[event.code] = self.notices.get(event.code, 0) + 1
        elif isinstance(event, Final):
            self.finals += 1
        elif isinstance(event, Committed):
            for word in event.words:
                self._match(word)

    def close(self) -> None:
        """At the end: what is left was not committed; what comes later was not even said."""
        self._excuses.append((self.talk.end_s, math.inf))
        while self.talk.unaccounted:
            self._miss(self.talk.unaccounted.popleft())

    def _match(self, word: Word) -> None:
        said = self.talk.unaccounted
        while said and said[0].end_s < word.start_s - 3.0:
            self._miss(said.popleft())
        texts = _REPLACED.get(word.text, (word.text,))
        for number, each in enumerate(said):
            if each.start_s > word.end_s + 3.0:
                break
            if each.text == texts[0]:
                for _ in range(number):
                    self._miss(said.popleft())
                for text in texts:
                    assert said.popleft().text == text
                self.committed += len(texts)
                return
        if _honest(word):
            self._tell(f"{word} is committed, and was not said there or not only once")
        else:
            self.misheard += 1

    def _miss(self, word: Word) -> None:
        near_s = 0.5
        if any(s - near_s < word.end_s and word.start_s < e + near_s for s, e in self._excuses):
            self.lost += 1
        elif not _honest(word):
            self.misheard += 1
        else:
            self._tell(f"{word} is lost")

    def _tell(self, problem: str) -> None:
        if len(self.problems) < 20:
            self.problems.append(problem)


def _honest(word: Word) -> bool:
    """Whether every window that has the word in it is heard well: not from 20 s before the hour
    until 40 s after the model has come to its senses."""
    bad_s = 20.0 + _DISHONEST_S + 40.0
    return all((at_s + 20.0) % 3600 >= bad_s for at_s in (word.start_s, word.end_s))


class Paper(ListSink):
    """Writes down every event, and what the sinks that write text make of it.

    Itself, as they write on threads, which a virtual clock does not wait for.
    """

    def __init__(self, log: TextIO) -> None:
        super().__init__()
        self._log = log
        self._formats = (SrtSink("-"), WebVttSink("-"), TextSink("-"))

    async def write(self, event: Event) -> None:
        self._log.write(event_to_json(event) + "\n")
        for each in self._formats:
            each.format(event)


@dataclass
class Hour:
    """What the pipeline held and the process took in one hour of the stream."""

    number: int
    memory_mb: float
    """At its end."""
    objects: int
    """That the garbage collector knows, at its end."""
    items: dict[str, int]
    """Most that each container had in that hour."""
    arrays: dict[str, int]
    """Most bytes that each array had."""


@dataclass
class Outcome:
    """What came of it."""

    hours: list[Hour]
    accounts: Accounts
    passes: int
    events: int
    broken: list[str]
    """Promises of the event log that were not kept."""


class _Watch:
    """Measures the pipeline from time to time."""

    def __init__(self, roots: Iterable[object], tell: Callable[[Hour], None]) -> None:
        self._roots = list(roots)
        self._tell = tell
        self._items: dict[str, int] = {}
        self._arrays: dict[str, int] = {}
        self.hours: list[Hour] = []
        self._process = psutil.Process()

    async def run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_LOOK_S)
            for sizes, largest in zip(
                reachable(self._roots), (self._items, self._arrays), strict=True
            ):
                for name, size in sizes.items():
                    largest[name] = max(largest.get(name, 0), size)
            if clock() >= 3600 * (len(self.hours) + 1) - 1:
                self.close()

    def close(self) -> None:
        """An hour is over."""
        gc.collect()
        memory_mb = self._process.memory_info().rss / 1e6
        number = len(self.hours) + 1
        hour = Hour(number, memory_mb, len(gc.get_objects()), self._items, self._arrays)
        self.hours.append(hour)
        self._tell(hour)
        self._items, self._arrays = {}, {}


async def _somebody(pipeline: Pipeline, rng: random.Random) -> None:
    """Presses keys."""
    while True:
        await asyncio.sleep(rng.uniform(5.0, 600.0))
        match rng.randrange(4):
            case 0:
                pipeline.flush()
            case 1:
                pipeline.pause()
                await asyncio.sleep(rng.choice((0.3, 5.0, 60.0)) * rng.random())
                pipeline.resume()
            case 2:
                pipeline.say(Notice(code="somebody", message="hello"))
            case _:
                pipeline.status()


def long_run(
    hours: float,
    folder: Path,
    *,
    seed: int = 0,
    vad: Callable[[], VoiceActivityDetector] = LoudnessVad,
    voice: Samples | None = None,
    forces_prefix: bool = False,
    tell: Callable[[Hour], None] = lambda hour: None,
) -> Outcome:
    """Run so many hours, and see what came of them.

    Args:
        hours: on the virtual clock.
        folder: gets the event log and subtitles.
        seed: of all that is random.
        vad: makes the detector. Words can be accounted for with one that hears all of them.
        voice: what a sound sounds like, as long as it may be; noise otherwise.
        forces_prefix: the model takes what is committed for granted.
        tell: is told of every hour.
    """
    log = folder / "events.jsonl"
    talk = Talk(seed, hours * 3600, voice)
    rules = Replacements()
    for wanted, heard in _REPLACED.items():
        rules.add("".join(heard), wanted)
    accounts = Accounts(talk)
    pool = LoadedPool(Model(talk, "small", forces_prefix), BusyMachine(seed))
    final_pool = LoadedPool(Model(talk, "large", forces_prefix), BusyMachine(seed + 1))
    parts = replace(make_parts(vad=vad(), chunk_s=1.0), replacements=rules)

    async def run(file: TextIO) -> tuple[list[Hour], int]:
        sinks: list[Sink] = [Paper(file), Publisher()]
        source = ScriptedSource(talk.items(), live=True, paced=True)
        pipeline = Pipeline(source, pool, parts, sinks, final_worker=final_pool)
        n_events = 0
        async with pipeline, aclosing(pipeline.events()) as events:
            watch = _Watch((pipeline, events), tell)
            others: list[asyncio.Task[None]] = []
            async for event in events:
                if not others:  # timers do not wait for threads, as one makes the session
                    others.append(asyncio.ensure_future(watch.run()))
                    others.append(asyncio.ensure_future(_somebody(pipeline, random.Random(seed))))
                n_events += 1
                accounts.push(event)
            for other in others:
                other.cancel()
                with suppress(asyncio.CancelledError):
                    await other
            if not watch.hours:
                watch.close()
        return watch.hours, n_events

    with log.open("w+", encoding="utf-8") as file:
        measured, n_events = run_virtual(run(file), patience_s=0.0)
        accounts.close()
        file.seek(0)
        broken = check_events(event for line in file if (event := event_from_json(line)))
    return Outcome(measured, accounts, pool.passes, n_events, broken)
