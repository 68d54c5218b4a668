"""A session that goes on from its log, wherever the log was cut."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from contextlib import ExitStack, aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Noise, ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_runs import Recorded, cut, go_on, parsed, record, said
from test_promises import Scenario, wild

from streaming.audio import AudioChunk, Flush, seconds
from streaming.backends.pool import BackendPool
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Flushed,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechEnded,
    SpeechStarted,
    Word,
    event_to_json,
)
from streaming.journal import Journal
from streaming.journal_files import read_events, read_quiet
from streaming.pipeline import Pipeline
from streaming.recovery import Quiet, Recovered, Recovery, recover
from streaming.replacements import Replacements
from streaming.session import SessionParts

_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def texts(words: list[Word] | tuple[Word, ...]) -> list[str]:
    return [word.text for word in words]


def marks(events: list[Event]) -> list[float]:
    """Where speech started and ended."""
    return [event.at_s for event in events if isinstance(event, SpeechStarted | SpeechEnded)]


# -- any cut --------------------------------------------------------------------------------------


@pytest.mark.parametrize("forces", [False, True], ids=["seam", "forced prefix"])
@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_cut_after_any_event_a_run_goes_on_to_the_same_words(
    pace: str, forces: bool, tmp_path: Path
) -> None:
    script = say(6, 30, 3, 20, pause_s=0.9)
    audio = script.audio()

    def parts() -> SessionParts:
        return make_parts(max_utterance_s=6.0)

    def backend() -> ScriptedBackend:
        return ScriptedBackend(script, forces_prefix=forces)

    run = record(tmp_path / "whole", chunks_of(audio), backend(), parts(), pace=pace)  # type: ignore[arg-type]
    assert texts(said(run.events)) == texts(script.words)
    for n in range(1, len(run.lines), 3):
        cut(tmp_path / str(n), run, n)
        joined = parsed(run.lines[:n]) + go_on(tmp_path / str(n), backend(), parts(), audio)
        assert check_events(joined) == []
        assert texts(said(joined)) == texts(script.words)
        assert marks(joined) == pytest.approx(marks(run.events), abs=0.021)  # a frame


@st.composite
def interrupted(draw: st.DrawFn) -> tuple[Scenario, ScriptedBackend, SessionParts, float, float]:
    scenario, backend, parts = draw(wild())
    if draw(st.booleans()):  # flushes that fall between the milliseconds of a log
        rng = random.Random(draw(st.integers(0, 10_000)))
        items: list[AudioChunk | Flush] = []
        size = draw(st.integers(800, 4000))
        for chunk in chunks_of(backend.script.audio(), size):
            items.append(chunk)
            if rng.random() < 0.15:
                items.append(Flush())
        scenario = Scenario(items, [])
    return scenario, backend, parts, draw(st.floats(0, 1)), draw(st.floats(0, 1))


@_SETTINGS
@given(run=interrupted(), again=st.booleans())
def test_whatever_was_heard_the_promises_hold_over_the_joined_log(
    run: tuple[Scenario, ScriptedBackend, SessionParts, float, float], again: bool
) -> None:
    scenario, backend, parts, cut_at, audio_ahead = run
    with tempfile.TemporaryDirectory() as directory:
        whole = record(Path(directory) / "whole", scenario.items, backend, parts, pace="simulated")
        assert check_events(whole.events) == []
        n = 1 + int(cut_at * (len(whole.lines) - 2))
        heard, all_of_it = whole.audio_at[n - 1], whole.audio_at[-1]
        folder = Path(directory) / "cut"
        cut(folder, whole, n, heard + int(audio_ahead * (all_of_it - heard)))
        joined = parsed(whole.lines[:n])
        if again:
            last = joined[-1].seq + 5
            second = replace(backend, closed=False)
            joined += go_on(folder, second, parts, until=lambda event: event.seq == last)
        if not isinstance(joined[-1], SessionEnded):
            joined += go_on(folder, replace(backend, closed=False), parts)
        assert check_events(joined) == []
        spans = [(e.start_sample, e.end_sample) for e in joined if isinstance(e, AudioDropped)]
        assert len(set(spans)) == len(spans)
        flushes = [e.at_sample for e in joined if isinstance(e, Flushed)]
        assert (
            flushes == [e.at_sample for e in whole.events if isinstance(e, Flushed)][: len(flushes)]
        )


@pytest.mark.parametrize("size", [1611, 1037])
def test_cut_after_any_event_flushes_between_milliseconds_bring_no_speech_back(
    size: int, tmp_path: Path
) -> None:
    script = say(3, 6, 2, pause_s=0.9)
    items: list[AudioChunk | Flush] = []
    for i, chunk in enumerate(chunks_of(script.audio(), size)):
        items.append(chunk)
        if i % 6 == 2:
            items.append(Flush())
    run = record(tmp_path / "whole", items, ScriptedBackend(script), make_parts())
    for n in range(1, len(run.lines)):
        cut(tmp_path / str(n), run, n, run.audio_at[-1])
        joined = parsed(run.lines[:n])
        joined += go_on(tmp_path / str(n), ScriptedBackend(script), make_parts())
        assert check_events(joined) == []
        # As far as the kill left them: a flush of the input is not in its audio.
        flushes = [e.at_sample for e in joined if isinstance(e, Flushed)]
        kept = [e for e in run.events if isinstance(e, Flushed)]
        assert flushes == [e.at_sample for e in kept][: len(flushes)]


def test_gaps_and_flushes_are_neither_lost_nor_told_again(tmp_path: Path) -> None:
    script = say(5, 5, 5, pause_s=0.9)
    chunks = chunks_of(script.audio())
    items: list[AudioChunk | Flush] = []
    for i, chunk in enumerate(chunks):
        shift = 3200 * (i > 15) + 40_000 * (i > 40)
        items.append(AudioChunk(chunk.samples, chunk.start_sample + shift))
        if i in (10, 50):
            items.append(Flush())
    run = record(tmp_path / "whole", items, ScriptedBackend(script), make_parts())
    for n in range(1, len(run.lines), 2):
        cut(tmp_path / str(n), run, n, run.audio_at[-1])
        joined = parsed(run.lines[:n]) + go_on(
            tmp_path / str(n), ScriptedBackend(script), make_parts()
        )
        assert check_events(joined) == []
        told = [e for e in joined if isinstance(e, AudioDropped)]
        assert [(e.start_sample, e.end_sample) for e in told] == [
            (e.start_sample, e.end_sample) for e in run.events if isinstance(e, AudioDropped)
        ]


# -- long silence ---------------------------------------------------------------------------------


class Snapshots(Journal):
    """Keeps hardly more audio than it must, and a copy of itself after each change of that."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "journal", {}, limit_bytes=1, rotate_samples=4000)
        self.copies: list[Path] = []
        self._kept = directory
        self._audio_seen: list[str] = []

    def tell(self, event: Event) -> None:
        super().tell(event)
        if self._audio_seen:
            self._copy()

    def hear(self, chunk: AudioChunk) -> None:
        super().hear(chunk)
        assert self.folder is not None
        audio = sorted(path.name for path in self.folder.glob("audio-*"))
        if audio != self._audio_seen:
            self._audio_seen = audio
            self._copy()

    def _copy(self) -> None:
        assert self.folder is not None
        self.copies.append(self._kept / f"copy{len(self.copies)}")
        shutil.copytree(self.folder, self.copies[-1])


@pytest.mark.parametrize("refines", [False, True], ids=["alone", "larger model"])
def test_silence_is_let_go_of_and_what_starts_in_it_is_heard_from_its_pre_roll_on(
    refines: bool, tmp_path: Path
) -> None:
    script = say(3, 2, 4, pause_s=5.0)
    audio = script.audio()

    def larger() -> ScriptedBackend | None:
        return ScriptedBackend(script, model="larger") if refines else None

    items: list[AudioChunk | Flush] = [*chunks_of(audio)]
    items.insert(40, Flush())  # in the middle of a silence

    async def run(
        worker: BackendPool, final_worker: BackendPool | None
    ) -> tuple[list[Event], list[Path]]:
        journal = Snapshots(tmp_path)
        pipeline = Pipeline(
            *(ScriptedSource(items), worker, make_parts()),
            pace="fast",
            final_worker=final_worker,
            journal=journal,
        )
        async with pipeline, aclosing(pipeline.events()) as events:
            return [event async for event in events], journal.copies

    with worker_for(ScriptedBackend(script)) as worker, ExitStack() as stack:
        second = larger()
        final_worker = None if second is None else stack.enter_context(worker_for(second))
        whole, copies = asyncio.run(run(worker, final_worker))
    assert texts(said(whole)) == texts(script.words)
    held_s = []
    for folder in copies:
        before = list(read_events(folder))
        if isinstance(before[-1], SessionEnded):
            continue
        held_s.append(sum(path.stat().st_size for path in folder.glob("audio-*")) / 32_000)
        new = go_on(folder, ScriptedBackend(script), make_parts(), audio, final=larger())
        joined = before + new
        assert check_events(joined) == []
        assert texts(said(joined)) == texts(script.words)
        assert marks(joined) == pytest.approx(marks(whole), abs=0.021)  # a frame
        assert not [event for event in joined if isinstance(event, AudioDropped)]
        flushes = [event for event in before if isinstance(event, Flushed)]
        assert [event for event in joined if isinstance(event, Flushed)] == flushes
    assert len(held_s) > 50
    assert max(held_s) < 4.0
    assert any(read_quiet(folder) is not None for folder in copies)


def test_silence_counts_only_once_the_events_before_it_are_there() -> None:
    recovery = Recovery()
    recovery.push(SessionStarted(session="s"))
    assert not recovery.rest(Quiet(next_seq=2, from_sample=160_000))
    assert recovery.needed_from == 0
    recovery.push(Notice(seq=1))
    assert recovery.rest(Quiet(next_seq=2, from_sample=160_000))
    assert recovery.needed_from == 160_000 - 4000
    recovery.push(SpeechStarted(seq=2, at_s=12.0))
    assert recovery.needed_from == 12 * 16_000 - 4000


# -- with replacements, and with a larger model ---------------------------------------------------


@pytest.mark.parametrize("forces", [False, True], ids=["seam", "forced prefix"])
def test_replaced_words_are_not_replaced_again_nor_forced_on_the_model(
    forces: bool, tmp_path: Path
) -> None:
    script = say(16, 8, pause_s=0.9)
    heard = texts(script.words)
    rules = Replacements.parse(
        f"{heard[2]} {heard[3]} -> Acme Corp\n{heard[5]} -> *\n{heard[9]} {heard[10]} -> {heard[1]}"
    )

    def parts() -> SessionParts:
        made = make_parts(max_utterance_s=20.0)
        return SessionParts(**{**vars(made), "replacements": rules})

    def backend() -> ScriptedBackend:
        return ScriptedBackend(script, forces_prefix=forces)

    audio = script.audio()
    run = record(tmp_path / "whole", chunks_of(audio), backend(), parts())
    for n in range(1, len(run.lines)):
        cut(tmp_path / str(n), run, n)
        second = backend()
        joined = parsed(run.lines[:n]) + go_on(tmp_path / str(n), second, parts(), audio)
        assert check_events(joined) == []
        assert texts(said(joined)) == texts(said(run.events))
        forced = {word.text for window in second.windows for word in window.prefix}
        assert forced <= set(heard)


def test_where_the_larger_model_hears_nothing_words_are_not_replaced_twice(tmp_path: Path) -> None:
    script = say(6, 9, pause_s=0.9)
    heard = [word.text.strip() for word in script.words]
    rules = Replacements.parse(
        f"{heard[1]} -> {heard[8]}\n{heard[8]} -> zulu\n{heard[9]} -> {heard[1]}"
    )

    def parts() -> SessionParts:
        return SessionParts(**{**vars(make_parts()), "replacements": rules})

    def deaf() -> ScriptedBackend:
        return ScriptedBackend(script, Noise(deaf=1.0), model="larger")

    chunks = chunks_of(script.audio())
    whole = tmp_path / "whole"
    run = record(whole, chunks, ScriptedBackend(script), parts(), final=deaf())
    # As if the larger model had been slow: none of its answers came before the kill.
    unrefined = [event for event in run.events if not isinstance(event, Refined)]
    for n in range(1, len(unrefined)):
        before = [replace(event, seq=seq) for seq, event in enumerate(unrefined[:n])]
        lines = [event_to_json(event) + "\n" for event in before]
        folder = tmp_path / str(n)
        cut(folder, Recorded(before, lines, run.audio_at, run.pcm), n, run.audio_at[-1])
        new = go_on(folder, ScriptedBackend(script), parts(), final=deaf())
        joined = parsed(lines) + new
        assert check_events(joined) == []
        assert [e.text for e in joined if isinstance(e, Refined)] == [
            e.text for e in joined if isinstance(e, Final)
        ]


def test_each_final_is_refined_once_whenever_the_run_was_cut(tmp_path: Path) -> None:
    script = say(5, 6, 4, 7, pause_s=0.9)
    audio = script.audio()

    def larger() -> ScriptedBackend:
        return ScriptedBackend(script, model="larger")

    whole = tmp_path / "whole"
    run = record(whole, chunks_of(audio), ScriptedBackend(script), make_parts(), final=larger())
    for n in range(1, len(run.lines), 2):
        cut(tmp_path / str(n), run, n)
        backend = ScriptedBackend(script)
        joined = parsed(run.lines[:n])
        joined += go_on(tmp_path / str(n), backend, make_parts(), audio, final=larger())
        assert check_events(joined) == []
        refined = [e for e in joined if isinstance(e, Refined)]
        assert {e.model for e in refined} == {"larger"}
        assert sorted(e.text for e in refined) == sorted(
            e.text for e in joined if isinstance(e, Final)
        )


def test_flushes_and_gaps_among_what_is_refined_again_bring_no_speech_back(tmp_path: Path) -> None:
    script = say(5, 6, 4, 7, 3, pause_s=0.9)

    def larger() -> ScriptedBackend:
        return ScriptedBackend(script, model="larger")

    items: list[AudioChunk | Flush] = []
    for i, chunk in enumerate(chunks_of(script.audio())):
        items.append(AudioChunk(chunk.samples, chunk.start_sample + 40_000 * (i > 60)))
        if i in (30, 31, 75):
            items.append(Flush())
    whole = tmp_path / "whole"
    run = record(whole, items, ScriptedBackend(script), make_parts(), final=larger())
    refined = [i for i, event in enumerate(run.events) if isinstance(event, Refined)]
    # As if the larger model had been slow: none of its answers came before the kill.
    unrefined = [event for event in run.events[:-2] if not isinstance(event, Refined)]
    assert refined
    for n in range(2, len(unrefined), 3):
        folder = tmp_path / str(n)
        before = [replace(event, seq=seq) for seq, event in enumerate(unrefined[:n])]
        lines = [event_to_json(event) + "\n" for event in before]
        cut(folder, Recorded(before, lines, run.audio_at, run.pcm), n, run.audio_at[-1])
        new = go_on(folder, ScriptedBackend(script), make_parts(), final=larger())
        joined = parsed(lines) + new
        assert check_events(joined) == []
        last_s = max(marks(before), default=0.0)
        assert all(at_s >= last_s for at_s in marks(parsed(lines) + new)[len(marks(before)) :])


# -- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize("kept_s", [0.0, 1.0, 2.5, 4.0, 6.0])
def test_audio_that_is_gone_is_told_and_the_session_goes_on(kept_s: float, tmp_path: Path) -> None:
    script = say(30, 5, pause_s=0.9)
    run = record(
        tmp_path / "whole", chunks_of(script.audio()), ScriptedBackend(script), make_parts()
    )
    for n in range(1, len(run.lines) - 1, 4):
        folder = tmp_path / str(n)
        cut(folder, run, n, run.audio_at[-1])
        (file,) = folder.glob("audio-*")
        data = file.read_bytes()
        file.unlink()
        first = int(kept_s * 16_000) + run.audio_at[n - 1] - 48_000
        first = max(min(first, len(data) // 2 - 1600), 0)
        (folder / f"audio-{first:012d}.s16").write_bytes(data[2 * first :])
        state = recover(parsed(run.lines[:n]))
        assert state is not None
        new = go_on(folder, ScriptedBackend(script), make_parts())
        assert check_events(parsed(run.lines[:n]) + new) == []
        lost = [(e.start_sample, e.end_sample) for e in new if isinstance(e, AudioDropped)]
        assert lost == ([(state.needed_from, first)] if state.needed_from < first else [])
        assert isinstance(new[-1], SessionEnded)


@pytest.mark.parametrize("missing_s", [0.05, 0.4, 3.0, 30.0])
def test_an_end_that_never_reached_the_disk_is_told(missing_s: float, tmp_path: Path) -> None:
    script = say(10, 5, 30, pause_s=0.9)
    run = record(
        tmp_path / "whole", chunks_of(script.audio()), ScriptedBackend(script), make_parts()
    )
    for n in range(1, len(run.lines) - 1, 3):
        folder = tmp_path / str(n)
        end = max(0, run.audio_at[n - 1] - int(missing_s * 16_000))
        cut(folder, run, n, end)
        state = recover(parsed(run.lines[:n]))
        assert state is not None
        new = go_on(folder, ScriptedBackend(script), make_parts())
        assert check_events(parsed(run.lines[:n]) + new) == []
        lost = [(e.end_sample, e.reason) for e in new if isinstance(e, AudioDropped)]
        assert lost == ([(state.heard_until, "lost")] if state.heard_until > end else [])


# -- the state ------------------------------------------------------------------------------------


def state_of(*events: Event) -> Recovered:
    stamped = [SessionStarted(session="s"), *events]
    state = recover(stamped)
    assert state is not None
    return state


def test_no_events_have_no_state() -> None:
    assert recover([]) is None


def test_a_session_that_was_told_its_end_has_ended() -> None:
    assert state_of(SessionEnded()).ended
    assert not state_of(Notice()).ended


def test_only_speech_without_a_final_is_unfinished() -> None:
    state = state_of(
        SpeechStarted(at_s=1.0),
        SpeechEnded(at_s=2.0),
        SpeechStarted(at_s=3.0),
        SpeechEnded(at_s=4.0),
        Final(utterance=0, start_s=1.0, end_s=2.0),
        SpeechStarted(at_s=5.0),
    )
    assert [(edge.at_sample, edge.told) for edge in state.edges] == [
        (48_000, True),
        (64_000, True),
        (80_000, True),
    ]
    assert (state.utterance, state.shown) == (1, False)


def test_after_an_utterance_of_the_longest_length_the_next_begins_where_it_ended() -> None:
    word = Word(" a", 28.0, 28.5, 0.9)
    state = state_of(
        SpeechStarted(at_s=1.0),
        Committed(utterance=0, text=" a", words=(word,)),
        Final(utterance=0, words=(word,), start_s=1.0, end_s=28.5, reason="max_length"),
        Partial(utterance=1),
    )
    assert [edge.at_sample for edge in state.edges] == [int(28.5 * 16_000)]
    assert state.speech_start == 16_000
    assert (state.utterance, state.shown, state.said, state.words) == (1, True, (), (word,))
    assert seconds(state.needed_from) == pytest.approx(8.25)


def test_the_load_that_was_told_last_is_known() -> None:
    over, well = Notice(code="overload"), Notice(code="keeping_up")
    assert state_of(over).overloaded
    assert not state_of(over, well).overloaded


def test_noise_is_heard_as_in_one_run_or_nearly(tmp_path: Path) -> None:
    script = say(12, 25, 6, pause_s=0.9)
    noise = Noise(unsure=0.4, respelled=0.1, jitter_s=0.1)
    audio = script.audio()
    wrong = total = 0
    run = record(tmp_path / "whole", chunks_of(audio), ScriptedBackend(script, noise), make_parts())
    for n in range(1, len(run.lines), 4):
        cut(tmp_path / str(n), run, n)
        new = go_on(tmp_path / str(n), ScriptedBackend(script, noise), make_parts(), audio)
        words = texts(said(parsed(run.lines[:n]) + new))
        total += len(words)
        wrong += abs(len(words) - len(said(run.events)))
    assert wrong <= 0.01 * total
