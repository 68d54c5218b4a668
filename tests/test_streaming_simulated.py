from __future__ import annotations

import time

import pytest
from fakes import Noise, ScriptedBackend, chunks_of, make_parts, say, simulate

from streaming.audio import Flush
from streaming.evaluation import check_events
from streaming.evaluation.delays import endpoint_to_final
from streaming.events import (
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    SpeechStarted,
    Stats,
    event_to_json,
)

SCRIPT = say(20, 8, gap_s=0.06)


def run(cost_s: float | None, **options: object) -> list[Event]:
    parts = make_parts(**options)  # type: ignore[arg-type]
    backend = ScriptedBackend(SCRIPT)
    return simulate(chunks_of(SCRIPT.audio(), 800), backend, parts, pass_cost_s=cost_s)


def test_an_hour_long_wait_is_not_waited_for() -> None:
    script = say(3, start_s=120.0)
    began = time.perf_counter()
    events = simulate(chunks_of(script.audio()), ScriptedBackend(script))
    assert time.perf_counter() - began < 20.0
    assert [e.at_s for e in events if isinstance(e, SpeechStarted)] == [pytest.approx(119.7)]
    assert events[-1].clock_s >= script.duration_s


def test_events_carry_the_time_they_would_have_had_live() -> None:
    events = run(0.2)
    assert check_events(events) == []
    (started, _) = [e for e in events if isinstance(e, SpeechStarted)]
    assert started.clock_s == pytest.approx(0.6)  # the chunk that confirms it has arrived
    first = next(e for e in events if isinstance(e, Partial))
    # 0.5 s from the start of the utterance, at the next tenth of a second, then the pass itself.
    assert first.clock_s == pytest.approx(0.8 + 0.2)
    for event in events:
        if isinstance(event, Committed):
            assert event.clock_s >= event.words[-1].end_s + 0.2


def test_a_dearer_pass_delays_what_it_says_by_its_cost() -> None:
    def first_shown_s(cost_s: float) -> float:
        return next(e.clock_s for e in run(cost_s) if isinstance(e, Partial))

    assert first_shown_s(0.45) - first_shown_s(0.05) == pytest.approx(0.4)


def test_one_pass_at_a_time_is_run_and_the_rest_coalesces() -> None:
    cheap, dear = run(0.01), run(1.2)
    passes = {}
    for name, events in (("cheap", cheap), ("dear", dear)):
        (stats,) = [e for e in events if isinstance(e, Stats)]
        passes[name] = stats.passes
        said = [w.text for e in events if isinstance(e, Committed) for w in e.words]
        assert said == [w.text for w in SCRIPT.words]
    assert passes["dear"] * 1.2 <= SCRIPT.duration_s + 3 * 1.2
    assert passes["dear"] < passes["cheap"] / 1.5


def test_stats_are_made_of_the_given_cost() -> None:
    (stats,) = [e for e in run(0.25) if isinstance(e, Stats)]
    assert stats.compute_s == pytest.approx(0.25 * stats.passes)
    assert stats.real_time_factor == pytest.approx(stats.compute_s / SCRIPT.duration_s)
    assert stats.queue_delay_max_s == 0.0  # the virtual clock knows one session


def test_without_a_given_cost_passes_take_what_they_took() -> None:
    events = run(None)
    (stats,) = [e for e in events if isinstance(e, Stats)]
    assert 0 < stats.compute_s < 2
    assert check_events(events) == []


def test_passes_that_never_keep_up_are_told_and_nothing_is_lost() -> None:
    events = run(4.0)
    assert "overload" in [e.code for e in events if isinstance(e, Notice)]
    said = [w.text for e in events if isinstance(e, Committed) for w in e.words]
    assert said == [w.text for w in SCRIPT.words]


@pytest.mark.parametrize("chunk_s", [2.5, 10.0])
@pytest.mark.parametrize("window_s", [10.0, 20.0])
def test_long_chunks_that_are_lengthened_do_not_outgrow_the_buffers(
    chunk_s: float, window_s: float
) -> None:
    script = say(250, gap_s=0.06)
    parts = make_parts(chunk_s=chunk_s, window_s=window_s, max_utterance_s=600.0)
    events = simulate(chunks_of(script.audio()), ScriptedBackend(script), parts, pass_cost_s=25.0)
    assert check_events(events) == []
    assert [w.text for e in events if isinstance(e, Committed) for w in e.words] == [
        w.text for w in script.words
    ]


def test_a_flush_takes_place_when_the_audio_before_it_has_arrived() -> None:
    chunks = chunks_of(SCRIPT.audio())
    events = simulate([*chunks[:30], Flush(), *chunks[30:]], ScriptedBackend(SCRIPT))
    flushed = next(e for e in events if isinstance(e, Final))
    assert flushed.reason == "flush"
    assert flushed.end_s == pytest.approx(3.0, abs=0.1)
    assert 3.0 < flushed.clock_s < 3.5


def test_fast_pace_says_the_same_words_on_the_wall_clock() -> None:
    began = time.perf_counter()
    events = simulate(chunks_of(SCRIPT.audio()), ScriptedBackend(SCRIPT), pace="fast")
    took_s = time.perf_counter() - began
    assert check_events(events) == []
    assert [w.text for e in events if isinstance(e, Committed) for w in e.words] == [
        w.text for w in SCRIPT.words
    ]
    assert events[-1].clock_s <= took_s


def test_two_runs_with_a_given_cost_give_the_same_bytes() -> None:
    noise = Noise(unsure=0.5, respelled=0.3, jitter_s=0.1, loops=0.2)
    logs = [
        [
            event_to_json(event)
            for event in simulate(chunks_of(SCRIPT.audio()), ScriptedBackend(SCRIPT, noise))
        ]
        for _ in range(2)
    ]
    assert logs[0] == logs[1]
    assert '"session": "simulated"' in logs[0][0]


@pytest.mark.parametrize("sizes", [[159], [1600], [8000, 1], [100_000]])
def test_how_a_source_cuts_its_audio_does_not_matter(sizes: list[int]) -> None:
    backend = ScriptedBackend(SCRIPT)
    events = simulate(chunks_of(SCRIPT.audio(), sizes), backend, pass_cost_s=0.2)
    assert [event_to_json(e) for e in events] == [event_to_json(e) for e in run(0.2)]


@pytest.mark.parametrize("cost_s", [0.05, 0.2, 0.37])
def test_a_final_is_there_150_ms_after_its_endpoint_is_known(cost_s: float) -> None:
    # The last pass begins 0.2 s after the speech, or after the pass that is out then; the
    # endpoint is known after 0.6 s: two passes of up to 0.375 s each have time until 0.75 s.
    waits_s = []
    for seed in range(12):  # so that the pauses fall anywhere between two passes
        script = say(5, 7, 4, 9, 6, start_s=0.5 + seed * 0.043, gap_s=0.05)
        events = simulate(
            chunks_of(script.audio(), 480), ScriptedBackend(script), pass_cost_s=cost_s
        )
        said = [w.text for e in events if isinstance(e, Committed) for w in e.words]
        assert said == [w.text for w in script.words]
        waits_s += endpoint_to_final(events)
    assert len(waits_s) >= 12 * 4
    assert max(waits_s) <= 0.15
