from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Noise, ScriptedBackend, chunks_of, make_parts, say, simulate

from sinks.jsonl import JsonlSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.text import TextSink
from streaming.evaluation import check_events
from streaming.events import Committed, Event, Partial, PassDone, Stats, text_of
from streaming.protocols import Sink

SCRIPT = say(6, 5)
EXACT = Noise()
NOISE = Noise(unsure=0.3, loops=0.3, deaf=0.1)
LOGGER = "streaming.pass_log"


def run(*, trace: bool, noise: Noise = EXACT, seed: int = 0) -> list[Event]:
    backend = ScriptedBackend(SCRIPT, noise=noise, seed=seed)
    parts = replace(make_parts(), trace=trace)
    return simulate(chunks_of(SCRIPT.audio()), backend, parts)


def passes_of(events: list[Event]) -> list[PassDone]:
    return [event for event in events if isinstance(event, PassDone)]


def without_stamps(events: list[Event]) -> list[Event]:
    return [replace(event, seq=0) for event in events if not isinstance(event, PassDone)]


@pytest.mark.parametrize("seed", range(5))
def test_a_traced_session_says_what_an_untraced_one_says_and_a_line_a_pass(seed: int) -> None:
    traced = run(trace=True, noise=NOISE, seed=seed)
    untraced = run(trace=False, noise=NOISE, seed=seed)
    assert passes_of(untraced) == []
    assert without_stamps(traced) == without_stamps(untraced)
    assert check_events(traced) == []
    (stats,) = [event for event in traced if isinstance(event, Stats)]
    passes = passes_of(traced)
    assert len(passes) == stats.passes > 10
    assert sum(each.compute_s for each in passes) == pytest.approx(stats.compute_s)


def test_words_that_a_pass_commits_stand_before_it() -> None:
    events = run(trace=True)
    by_passes = 0
    for at, event in enumerate(events):
        if isinstance(event, PassDone) and event.n_committed:
            committed, partial = events[at - 2 : at]
            assert isinstance(committed, Committed)
            assert isinstance(partial, Partial)
            assert len(committed.words) == event.n_committed
            assert len(partial.words) == event.n_tentative
            by_passes += event.n_committed
    assert 0 < by_passes < len(SCRIPT.words)  # the rest is committed by the pause


def test_a_pass_tells_what_it_covered_cost_and_decided() -> None:
    events = run(trace=True)
    first = passes_of(events)[0]
    at = events.index(first)
    (partial,) = [e for e in events[:at] if isinstance(e, Partial)]
    assert first == PassDone(
        seq=at,
        session="simulated",
        clock_s=first.asked_s + 0.1,
        start_s=first.start_s,
        end_s=first.end_s,
        asked_s=first.asked_s,
        compute_s=0.1,
        utterance=0,
        language="en",
        n_words=len(partial.words),
        n_tentative=len(partial.words),
    )
    assert first.start_s == pytest.approx(SCRIPT.words[0].start_s, abs=0.5)
    assert first.end_s == pytest.approx(first.asked_s, abs=0.15)
    assert first.start_s < first.end_s <= first.asked_s
    later = [each for each in passes_of(events) if each.n_prefix]
    assert later
    assert {each.utterance for each in passes_of(events)} == {0, 1}
    assert any(each.context_chars for each in passes_of(events) if each.utterance == 1)


def test_a_second_try_is_told_from_the_pass_that_looped() -> None:
    passes = passes_of(run(trace=True, noise=Noise(loops=0.4), seed=1))
    looped = [at for at, each in enumerate(passes) if each.looped and not each.careful]
    assert looped
    assert all(passes[at + 1].careful for at in looped)
    assert all(passes[at].n_committed == passes[at].n_tentative == 0 for at in looped)
    assert {passes[at].utterance for at in looped} & {0, 1}


def test_at_debug_level_every_pass_is_one_line_of_json_with_its_texts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        traced = run(trace=True)
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert not any("\n" in message for message in messages)
    lines: list[dict[str, Any]] = [json.loads(message) for message in messages]
    passes = passes_of(traced)
    assert len(lines) == len(passes)
    for line, event in zip(lines, passes, strict=True):
        assert line["session"] == event.session[:8] == "simulate"
        assert line["clock_s"] == pytest.approx(event.clock_s, abs=1e-3)
        assert line["n_committed"] == event.n_committed
        assert len(line["context"]) == event.context_chars
        assert len(line["prefix"].split()) == event.n_prefix
        assert len(line["heard"].split()) == event.n_words
    assert lines[0]["type"] == "pass_done"
    assert "seq" not in lines[0]
    said = text_of([word for e in traced if isinstance(e, Committed) for word in e.words])
    assert lines[1]["heard"].strip()
    assert lines[1]["heard"] in said


def test_an_untraced_session_writes_the_same_lines(caplog: pytest.LogCaptureFixture) -> None:
    def lines(trace: bool) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, LOGGER):
            run(trace=trace)
        return [record.getMessage() for record in caplog.records if record.name == LOGGER]

    assert lines(trace=False) == lines(trace=True) != []


def test_nothing_is_put_together_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_fields: object) -> None:
        raise AssertionError

    monkeypatch.setattr("streaming.pass_log.PassDone", fail)
    assert run(trace=False)


@pytest.mark.parametrize("sink", [TextSink, SrtSink, WebVttSink])
def test_outputs_of_text_stay_as_they_are(sink: type[Any], tmp_path: Path) -> None:
    def written(name: str, events: list[Event]) -> bytes:
        async def write(target: Sink) -> None:
            async with target:
                for event in events:
                    await target.write(event)

        asyncio.run(write(sink(tmp_path / name)))
        return tmp_path.joinpath(name).read_bytes()

    traced, untraced = run(trace=True), run(trace=False)
    assert written("traced", traced) == written("untraced", untraced) != b""


def test_an_event_log_reads_back(tmp_path: Path) -> None:
    from streaming.evaluation import read_log

    events = run(trace=True)

    async def write() -> None:
        async with JsonlSink(tmp_path / "log.jsonl") as target:
            for event in events:
                await target.write(event)

    asyncio.run(write())
    read = passes_of(read_log(tmp_path / "log.jsonl"))
    assert [each.n_words for each in read] == [each.n_words for each in passes_of(events)]
