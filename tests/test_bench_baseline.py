"""The loop that the benchmarks compare with must be as good as such a loop can be."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fakes import Script, say

from streaming import Committed, Event, Word
from streaming.audio import Samples, seconds
from streaming.evaluation import check_events
from streaming.events import text_of


class Engine:
    """Hears the words of a script that lie in the audio; every pass takes so long."""

    def __init__(self, script: Script, pass_s: float) -> None:
        self.words = script.words
        # Each sample says where it is, so that the engine knows what it is given.
        n_samples = round(script.duration_s * 16_000)
        self.audio = np.arange(n_samples).astype(np.float32)
        self.pass_s = pass_s
        self.now_s = 0.0
        self.longest_s = 0.0

    def __call__(self, audio: Samples, prompt: str) -> Sequence[Word]:
        self.now_s += self.pass_s
        self.longest_s = max(self.longest_s, seconds(len(audio)))
        start_s, end_s = seconds(int(audio[0])), seconds(int(audio[-1]) + 1)
        assert text_of([w for w in self.words if w.end_s <= start_s]).endswith(prompt)
        return [
            Word(word.text, word.start_s - start_s, word.end_s - start_s, 1.0)
            for word in self.words
            if start_s <= word.start_s and word.end_s <= end_s
        ]


@pytest.fixture
def baseline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    return importlib.import_module("_baseline")


def streamed(baseline: ModuleType, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    monkeypatch.setattr(baseline.time, "perf_counter", lambda: engine.now_s)
    events: list[Event] = baseline.stream(engine.audio, engine)
    return events


@pytest.mark.parametrize("pass_s", [0.3, 2.5])
def test_the_loop_commits_every_word_once(
    baseline: ModuleType, monkeypatch: pytest.MonkeyPatch, pass_s: float
) -> None:
    engine = Engine(say(60, 60, pause_s=2.0), pass_s)
    events = streamed(baseline, engine, monkeypatch)
    words = [word for e in events if isinstance(e, Committed) for word in e.words]
    assert text_of(words) == text_of(list(engine.words))
    assert check_events(events) == []
    assert 15.0 < engine.longest_s <= 15.0 + 2 * max(pass_s, 1.0)


def test_words_are_committed_two_passes_after_they_were_said(
    baseline: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(say(60), pass_s=0.25)
    delays_s = [
        event.clock_s - word.end_s
        for event in streamed(baseline, engine, monkeypatch)[:-4]
        if isinstance(event, Committed)
        for word in event.words
    ]
    assert 1.25 <= min(delays_s) <= max(delays_s) <= 2.25
    assert len(delays_s) > 40
