"""The five promises, over scripted models that hear well, badly, wildly or nothing."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import (
    ListSink,
    LoudnessVad,
    Noise,
    Script,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    name_of,
    say,
    simulate,
    worker_for,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from virtual_time import run_virtual

from policies.agreement_hold_back import AgreementHoldBack
from policies.endpoint_only import EndpointOnly
from policies.hold_back import HoldBack
from policies.local_agreement import LocalAgreement
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, Samples, samples_from_seconds, seconds
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Partial,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Word,
    event_to_json,
)
from streaming.mel import IncrementalMel
from streaming.pipeline import Pipeline
from streaming.protocols import CommitPolicy, VoiceActivityDetector
from streaming.ring_buffer import RingBuffer
from streaming.session import Session, SessionParts, pieces
from streaming.transcriber import TAIL_SAMPLES, Pass
from streaming.vad.none import NoVad

Items = list[AudioChunk | Flush]
Policies = st.SearchStrategy[CommitPolicy]
FRAME = 160
AGREEMENT = LocalAgreement()
SHORTEST = samples_from_seconds(0.1)


def promised(examples: int) -> settings:
    """Settings of a property that takes up to a tenth of a second an example."""
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


# -- what is drawn --------------------------------------------------------------------------------


@st.composite
def scripts(draw: st.DrawFn, longest_s: float = 14.0) -> Script:
    """Words with small gaps, pauses between some, the same word twice here and there."""
    rng = random.Random(draw(st.integers(0, 10_000)))
    gap_s = draw(st.sampled_from([0.04, 0.08, 0.2]))
    pause_chance = draw(st.sampled_from([0.0, 0.05, 0.2]))
    words: list[Word] = []
    at_s = draw(st.sampled_from([0.0, 0.4, 2.0]))
    end_s = at_s + draw(st.floats(0.5, longest_s))
    while at_s < end_s:
        twice = words and rng.random() < 0.1
        text = words[-1].text if twice else name_of(len(words))
        length_s = rng.uniform(0.15, 0.5)
        words.append(Word(text, round(at_s, 2), round(at_s + length_s, 2), 0.9))
        at_s += length_s + (rng.uniform(0.3, 2.0) if rng.random() < pause_chance else gap_s)
    return Script(tuple(words), round(words[-1].end_s + draw(st.sampled_from([0.0, 0.3, 2.0])), 2))


chances = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])
noises = st.builds(
    Noise,
    respelled=chances,
    misheard=chances,
    unsure=chances,
    missed=st.sampled_from([0.0, 0.0, 0.1, 0.5]),
    invented=chances,
    loops=chances,
    deaf=chances,
    interpolated=chances,
    jitter_s=st.sampled_from([0.0, 0.05, 0.3, 2.0]),
    languages=st.sampled_from([(), ("en",), ("en", "de", "ja")]),
)


held_back_s = st.sampled_from([0.0, 0.4, 0.8, 3.0])
POLICIES: dict[str, Policies] = {
    "local-agreement": st.builds(
        LocalAgreement,
        st.integers(1, 3),
        sure=st.sampled_from([0.0, 0.6]),
        settled=st.sampled_from([0.0, 1.2]),
    ),
    "hold-back": st.builds(HoldBack, held_back_s),
    "agreement-hold-back": st.builds(AgreementHoldBack, st.integers(1, 3), held_back_s),
    "endpoint": st.builds(EndpointOnly),
}
any_policy: Policies = st.one_of(*POLICIES.values())
with_every_policy = pytest.mark.parametrize("policies", POLICIES.values(), ids=POLICIES)


@st.composite
def all_parts(draw: st.DrawFn, policies: Policies = any_policy) -> SessionParts:
    window_s = draw(st.sampled_from([2.0, 4.0, 10.0]))
    vad: VoiceActivityDetector = LoudnessVad()
    if draw(st.booleans()):
        vad = NoVad()
    return make_parts(
        vad=vad,
        silence_s=draw(st.sampled_from([0.25, 0.6, 3.0])),
        commit_policy=draw(policies),
        chunk_s=draw(st.sampled_from([0.2, 0.5, 1.0])),
        window_s=window_s,
        left_context_s=draw(st.sampled_from([0.0, 0.3, 0.5])) * window_s,
        max_utterance_s=draw(st.sampled_from([2.0, 5.0, 30.0])),
        language=draw(st.sampled_from(["en", None])),
    )


costs = st.sampled_from([0.0, 0.1, 0.6, 3.0])


class Scenario:
    """What a source yields, and what was lost on the way."""

    def __init__(self, items: Items, lost: list[tuple[int, int]]) -> None:
        self.items = items
        self.lost = lost

    def __repr__(self) -> str:
        spans = [
            "flush" if isinstance(i, Flush) else f"{i.start_sample}-{i.end_sample}"
            for i in self.items
        ]
        return f"Scenario({', '.join(spans)})"


@st.composite
def scenarios(draw: st.DrawFn, script: Script) -> Scenario:
    """The audio of a script in any chunks, with flushes and gaps anywhere."""
    sizes = draw(st.lists(st.sampled_from([1, 159, 512, 1600, 8000, 40_000]), min_size=1))
    sizes = [max(size, 160) if len(sizes) < 3 else size for size in sizes]
    rng = random.Random(draw(st.integers(0, 10_000)))
    flush_chance, gap_chance = draw(chances) / 20, draw(chances) / 20
    items: Items = []
    lost: list[tuple[int, int]] = []
    shift = 0
    for chunk in chunks_of(script.audio(), [*sizes, 4000]):
        start = chunk.start_sample + shift
        if rng.random() < gap_chance:
            missing = rng.choice([1, 700, 16_000, 16_001, 60_000])
            lost.append((start, start + missing))
            shift += missing
        if rng.random() < flush_chance:
            items.append(Flush())
        items.append(AudioChunk(chunk.samples, chunk.start_sample + shift))
    return Scenario(items, lost)


@st.composite
def wild(
    draw: st.DrawFn, policies: Policies = any_policy
) -> tuple[Scenario, ScriptedBackend, SessionParts]:
    script = draw(scripts())
    backend = ScriptedBackend(
        script,
        draw(noises),
        seed=draw(st.integers(0, 1000)),
        forces_prefix=draw(st.booleans()),
    )
    return draw(scenarios(script)), backend, draw(all_parts(policies))


def committed_words(events: list[Event]) -> list[Word]:
    return [word for event in events if isinstance(event, Committed) for word in event.words]


def texts(words: list[Word] | tuple[Word, ...]) -> list[str]:
    return [word.text for word in words]


def frame_limit(parts: SessionParts) -> int:
    """A window may be half as long again as asked for, and its edges cut two frames."""
    return round(parts.options.window_s * 150) + 1


# -- 1: never retract -----------------------------------------------------------------------------


@with_every_policy
@promised(20)
@given(data=st.data(), cost_s=costs)
def test_nothing_committed_is_ever_taken_back(
    policies: Policies, data: st.DataObject, cost_s: float
) -> None:
    scenario, backend, parts = data.draw(wild(policies))
    events = simulate(scenario.items, backend, parts, pass_cost_s=cost_s)
    assert check_events(events) == []
    said: dict[int, str] = {}
    for event in events:
        if isinstance(event, Committed):
            said[event.utterance] = said.get(event.utterance, "") + event.text
        elif isinstance(event, Partial):
            assert event.committed == said.get(event.utterance, "")
        elif isinstance(event, Final):
            assert event.text == said.get(event.utterance, "")
            assert event.start_s <= event.end_s
    # Lost audio is accounted for to the sample, and windows stay within their limit.
    dropped = [(e.start_s, e.end_s) for e in events if isinstance(e, AudioDropped)]
    assert dropped == [(seconds(start), seconds(end)) for start, end in scenario.lost]
    assert backend.longest_frames <= frame_limit(parts)
    # Speech starts and ends in turn.
    edges = [type(e) for e in events if isinstance(e, SpeechStarted | SpeechEnded)]
    assert edges == [SpeechStarted, SpeechEnded] * (len(edges) // 2)


@promised(25)
@given(run=wild(), cost_s=costs)
def test_with_a_given_cost_the_log_is_the_same_byte_for_byte(
    run: tuple[Scenario, ScriptedBackend, SessionParts], cost_s: float
) -> None:
    scenario, backend, parts = run
    again = replace(backend, windows=[], passes=0)
    first = simulate(scenario.items, backend, parts, pass_cost_s=cost_s)
    second = simulate(scenario.items, again, parts, pass_cost_s=cost_s)
    assert [event_to_json(e) for e in first] == [event_to_json(e) for e in second]


# -- 2: tail --------------------------------------------------------------------------------------


@with_every_policy
@promised(20)
@given(data=st.data(), cost_s=costs, pace=st.sampled_from(["simulated", "fast"]))
def test_every_word_that_is_heard_well_comes_out_once_and_in_order(
    policies: Policies, data: st.DataObject, cost_s: float, pace: Any
) -> None:
    script = data.draw(scripts())
    sizes = data.draw(st.lists(st.integers(160, 9000), min_size=1, max_size=4))
    items: Items = list(chunks_of(script.audio(), sizes))
    parts = data.draw(all_parts(policies))
    backend = ScriptedBackend(script, forces_prefix=data.draw(st.booleans()))
    events = simulate(items, backend, parts, pass_cost_s=cost_s, pace=pace)
    assert texts(committed_words(events)) == texts(script.words)
    assert not [e for e in events if isinstance(e, AudioDropped)]


@with_every_policy
@promised(20)
@given(data=st.data())
def test_the_last_pass_reaches_past_the_speech_and_all_it_heard_is_committed(
    policies: Policies, data: st.DataObject
) -> None:
    scenario, backend, parts = data.draw(wild(policies))
    session = Session(parts, n_mels=80, started=SessionStarted(session="s"))
    rng = random.Random(data.draw(st.integers(0, 1000)))
    slowness = data.draw(st.sampled_from([0, 1, 3, 30]))
    done: list[Pass] = []
    out: Pass | None = None
    wait = 0
    last_sample = 0
    stretch_ends: list[int] = []
    seen: list[Event] = session.start()

    def complete() -> None:
        nonlocal out
        assert out is not None
        assert session.next_pass() is None, "more than one pass is out"
        hypothesis = backend.decode(session.window(out))
        done.append(out)
        finished, out = out, None
        check(session.complete(finished, hypothesis, 0.0, 0.0))

    def check(events: list[Event]) -> None:
        seen.extend(events)
        for event in events:
            if isinstance(event, Committed):
                # Nothing older than the newest pass is ever promoted.
                assert {round(w.probability * 1e6) for w in event.words} == {backend.passes - 1}
            if isinstance(event, Final) and event.reason != "max_length":
                end = samples_from_seconds(event.end_s)
                stretch_end = min((e for e in stretch_ends if e >= end), default=last_sample)
                target = min(end + TAIL_SAMPLES, stretch_end) - 2 * FRAME
                reached = [d.end_sample for d in done if d.start_sample <= end + TAIL_SAMPLES]
                heard = max([samples_from_seconds(event.start_s), *reached])
                assert heard >= target or target - heard < SHORTEST

    for item in scenario.items:
        for piece in [item] if isinstance(item, Flush) else pieces(item):
            while not session.has_room:
                out = out or session.next_pass()
                complete()
            if isinstance(piece, Flush):
                stretch_ends.append(last_sample)
                check(session.flush(0.0))
            else:
                if piece.start_sample - last_sample > SAMPLE_RATE:
                    stretch_ends.append(last_sample)
                last_sample = piece.end_sample
                check(session.feed(piece, 0.0))
            if out is None:
                out, wait = session.next_pass(), rng.randint(0, slowness)
            elif wait == 0:
                complete()
            else:
                wait -= 1
            if out is not None and rng.random() < 0.02:
                session.abandon(out)
                out = None
    check(session.finish(0.0))
    while not session.idle:
        out = out or session.next_pass()
        complete()
    assert session.next_pass() is None
    check(session.end(0.0))
    assert check_events(seen) == []


def test_without_a_detector_speech_starts_once_and_only_length_or_the_end_closes() -> None:
    script = say(30, 30, pause_s=3.0)
    parts = make_parts(vad=NoVad(), max_utterance_s=6.0)
    events = simulate(chunks_of(script.audio()), ScriptedBackend(script), parts)
    assert [e.at_s for e in events if isinstance(e, SpeechStarted)] == [0.0]
    reasons = [e.reason for e in events if isinstance(e, Final)]
    assert set(reasons[:-1]) == {"max_length"}
    assert reasons[-1] == "end_of_stream"
    assert texts(committed_words(events)) == texts(script.words)


# -- 3: bounded -----------------------------------------------------------------------------------


def held_by(thing: object, seen: set[int] | None = None) -> int:
    """How many things our own objects hold, all the way down; bytes of arrays."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    if isinstance(thing, dict):
        return len(thing) + sum(held_by(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return len(thing) + sum(held_by(value, seen) for value in thing)
    if not type(thing).__module__.startswith(("streaming", "policies")):
        return 0
    names = [*getattr(thing, "__dict__", {})]
    for kind in type(thing).__mro__:
        names += getattr(kind, "__slots__", ())
    return 1 + sum(held_by(getattr(thing, name, None), seen) for name in names)


def again_and_again(script: Script, minutes: int) -> Iterator[AudioChunk]:
    """The audio of a script said over and over."""
    audio = script.audio()
    for round_start in range(0, minutes * 60 * SAMPLE_RATE, len(audio)):
        yield from chunks_of(audio, start_sample=round_start)


class Endless(ScriptedBackend):
    """Hears a script that is said again and again."""

    def decode(self, window: Any) -> Any:
        length = samples_from_seconds(self.script.duration_s)
        first = window.start_sample // length
        said = self.script
        around = [
            Word(w.text, w.start_s + i * said.duration_s, w.end_s + i * said.duration_s, 0.9)
            for i in range(first, first + window.n_frames // 100 // int(said.duration_s) + 2)
            for w in said.words
        ]
        self.script = Script(tuple(around), said.duration_s)
        try:
            return super().decode(window)
        finally:
            self.script = said


def uncomputed(
    self: IncrementalMel, audio: Samples, n_frames: int
) -> None:  # the filter bank has its own tests
    self._end_frame += n_frames


@pytest.mark.parametrize(
    ("utterances", "noise", "pause_s", "with_vad", "minutes", "policy"),
    [
        ((20, 5), Noise(unsure=0.5, respelled=0.2, jitter_s=0.1), 1.0, True, 60, AGREEMENT),
        ((55,), Noise(), 0.0, True, 12, AGREEMENT),
        ((55,), Noise(misheard=1.0), 0.0, True, 12, AGREEMENT),
        ((55,), Noise(deaf=1.0), 0.0, True, 12, AGREEMENT),
        ((55,), Noise(loops=1.0, invented=1.0), 0.0, False, 12, AGREEMENT),
        ((55,), Noise(interpolated=1.0), 0.0, False, 12, AGREEMENT),
        ((1,), Noise(), 29.0, True, 12, AGREEMENT),
        ((55,), Noise(interpolated=0.5, jitter_s=2.0), 0.0, True, 12, HoldBack()),
        ((55,), Noise(), 0.0, True, 12, HoldBack(10.0)),
        ((55,), Noise(), 0.0, True, 12, EndpointOnly()),
    ],
    ids=[
        *("talk", "no pause", "music", "deaf", "loops", "guessed times", "silence"),
        *("times that jump", "held back too long", "no endpoint"),
    ],
)
def test_nothing_grows_with_the_stream_and_no_window_outgrows_its_limit(
    monkeypatch: pytest.MonkeyPatch,
    utterances: tuple[int, ...],
    noise: Noise,
    pause_s: float,
    with_vad: bool,
    minutes: int,
    policy: CommitPolicy,
) -> None:
    monkeypatch.setattr(IncrementalMel, "_compute", uncomputed)
    script = say(*utterances, start_s=0.0, end_s=pause_s, gap_s=0.06)
    backend = Endless(script, noise, keep=False)
    vad = LoudnessVad() if with_vad else NoVad()
    parts = make_parts(vad=vad, chunk_s=2.0, commit_policy=policy)
    session = Session(parts, n_mels=80, started=SessionStarted(session="s"))
    sizes: list[int] = []
    finals = 0
    for i, chunk in enumerate(again_and_again(script, minutes)):
        assert session.has_room
        events = session.feed(chunk, seconds(chunk.end_sample))
        while (due := session.next_pass()) is not None:
            hypothesis = backend.decode(session.window(due))
            events += session.complete(due, hypothesis, 0.1, seconds(chunk.end_sample))
        for event in events:
            if isinstance(event, Final):
                finals += 1
                assert len(event.words) < 400
                assert event.end_s - event.start_s <= 31.0
        if i % 150 == 149:  # every fifteen seconds
            sizes.append(held_by(session))
    assert backend.longest_frames <= frame_limit(parts)
    assert finals >= 1.8 * minutes
    warm, rest = sizes[:20], sizes[20:]
    assert max(rest) <= max(warm) + 2000, "what the session holds grows with the stream"
    assert max(sizes) < 12_000_000


@promised(30)
@given(run=wild(), cost_s=st.sampled_from([1.0, 5.0, 20.0]))
def test_under_any_overload_a_file_is_finished_whole_within_the_bounds(
    run: tuple[Scenario, ScriptedBackend, SessionParts], cost_s: float
) -> None:
    scenario, backend, parts = run
    events = simulate(scenario.items, backend, parts, pass_cost_s=cost_s)
    assert check_events(events) == []
    assert len([e for e in events if isinstance(e, AudioDropped)]) == len(scenario.lost)
    ended = events[-1]
    assert isinstance(ended, SessionEnded)
    last = [i for i in scenario.items if isinstance(i, AudioChunk)][-1]
    assert ended.audio_s == seconds(last.end_sample)
    assert backend.longest_frames <= frame_limit(parts)


@pytest.mark.parametrize("silence_s", [60.0, 3600.0])
def test_a_pause_that_never_ends_an_utterance_does_not_outgrow_the_buffers(
    silence_s: float,
) -> None:
    script = say(6, 6, pause_s=70.0)
    parts = make_parts(silence_s=silence_s, max_utterance_s=600.0)
    events = simulate(chunks_of(script.audio()), ScriptedBackend(script), parts)
    assert texts(committed_words(events)) == texts(script.words)


# -- 4: chunking does not matter ------------------------------------------------------------------


def split(samples: Samples, sizes: list[int]) -> Iterator[Samples]:
    at = 0
    for i in range(len(samples)):
        size = sizes[i % len(sizes)]
        yield samples[at : at + size]
        at += size
        if at >= len(samples):
            return


def mel_of(parts: Iterator[Samples]) -> NDArray[np.float32]:
    mel = IncrementalMel()
    for part in parts:
        mel.push(part)
    mel.flush()
    return mel.window(0, mel.end_frame)


@promised(30)
@given(
    script=scripts(longest_s=4.0),
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(any),
    vad=st.sampled_from([LoudnessVad, NoVad]),
)
def test_any_split_of_the_audio_gives_the_one_shot_result(
    script: Script, sizes: list[int], vad: type[LoudnessVad | NoVad]
) -> None:
    audio = script.audio()
    assert np.array_equal(mel_of(split(audio, sizes)), mel_of(iter([audio])))

    ring = RingBuffer(30_000)
    for part in split(audio, sizes):
        ring.write(part)
    assert np.array_equal(ring.read(ring.start_sample, ring.end_sample), audio[-30_000:])

    def edges(chunks: list[AudioChunk]) -> list[tuple[type[Event], float]]:
        session = Session(make_parts(vad=vad()), n_mels=80, started=SessionStarted())
        events: list[Event] = []
        for chunk in chunks:
            for piece in pieces(chunk):
                events += session.feed(piece, 0.0)
        events += session.finish(0.0)
        return [(type(e), e.at_s) for e in events if isinstance(e, SpeechStarted | SpeechEnded)]

    whole = edges(chunks_of(audio, len(audio)))
    assert edges(chunks_of(audio, [max(size, 1) for size in sizes])) == whole
    assert whole


# -- 5: closing -----------------------------------------------------------------------------------


@promised(30)
@given(
    script=scripts(longest_s=5.0),
    at_s=st.floats(0.0, 6.0),
    how=st.sampled_from(["cancel", "stop", "leave"]),
)
def test_whenever_it_is_closed_it_closes_at_once_and_cleanly(
    script: Script, at_s: float, how: str
) -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        sink = ListSink()
        source = ScriptedSource(chunks_of(script.audio()), live=True, paced=True)
        with worker_for(ScriptedBackend(script)) as worker:
            pipeline = Pipeline(source, worker, make_parts(), [sink])

            async def run() -> None:
                async with pipeline, aclosing(pipeline.events()) as events:
                    async for event in events:
                        if how == "leave" and event.clock_s >= at_s:
                            break

            task = asyncio.ensure_future(run())
            await asyncio.wait([task], timeout=at_s)
            asked_s = clock()
            if how == "stop":
                pipeline.stop()
            elif how == "cancel":
                task.cancel()
            await asyncio.wait([task])
            if how != "leave":
                assert clock() - asked_s <= 0.1
            if how == "cancel" and at_s < script.duration_s - 0.2:
                assert task.cancelled()  # not swallowed
            elif not task.cancelled():
                task.result()
            if how == "stop":
                assert check_events(sink.events) == []
            assert not source.is_open
            assert not sink.is_open
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(scenario())
