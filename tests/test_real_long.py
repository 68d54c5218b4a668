"""Ten minutes of silence, and audio that comes faster than it was said, with the real model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from audio_files import read_audio
from fakes import ScriptedSource, chunks_of
from speech import errors

from sources.push import PushSource
from streaming.app import transcribe
from streaming.audio import SAMPLE_RATE
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    SessionEnded,
    SpeechStarted,
    Stats,
)

pytestmark = pytest.mark.needs_model


async def collect(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def test_ten_minutes_of_silence_cost_nothing_and_what_follows_is_heard(jfk: Path) -> None:
    silence = np.zeros(600 * SAMPLE_RATE, np.float32)
    silence += np.random.default_rng(0).normal(0, 1e-4, len(silence)).astype(np.float32)
    source = ScriptedSource(chunks_of(np.concatenate([silence, read_audio(jfk)])))
    before = psutil.Process().memory_info().rss
    events = asyncio.run(collect(transcribe(source, pace="fast")))
    assert check_events(events) == []
    first = next(e for e in events if isinstance(e, SpeechStarted))
    assert first.at_s == pytest.approx(600.0, abs=0.5)
    committed = [e for e in events if isinstance(e, Committed)]
    assert errors("".join(e.text for e in committed)) <= 0.1
    (stats,) = [e for e in events if isinstance(e, Stats)]
    assert stats.passes < 60
    # The model and its buffers; the audio alone would be 38 MB, its mel as much again.
    assert psutil.Process().memory_info().rss - before < 600e6


def test_audio_faster_than_real_time_is_dropped_from_its_oldest_end_and_told(jfk: Path) -> None:
    speech = read_audio(jfk)
    source = PushSource(live=True, capacity_s=30.0)
    for _ in range(12):
        source.push(speech)
    source.end()
    events = asyncio.run(collect(transcribe(source, pace="realtime")))
    assert check_events(events) == []
    dropped = [e for e in events if isinstance(e, AudioDropped)]
    assert dropped[0].start_s == 0.0
    lost_s = sum(e.end_s - e.start_s for e in dropped)
    (ended,) = [e for e in events if isinstance(e, SessionEnded)]
    (stats,) = [e for e in events if isinstance(e, Stats)]
    assert ended.audio_s == pytest.approx(12 * 11.0, abs=0.01)
    assert stats.audio_s + lost_s == pytest.approx(ended.audio_s, abs=0.01)
    words = [w for e in events if isinstance(e, Committed) for w in e.words]
    assert errors("".join(w.text for w in words if w.start_s > 11 * 11.0)) <= 0.1
