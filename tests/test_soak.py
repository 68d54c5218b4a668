"""Ten hours of a live session, on a virtual clock: nothing grows, and no loss goes untold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from audio_files import JFK, read_audio
from long_run import Hour, Outcome, long_run

from streaming.protocols import VoiceActivityDetector
from streaming.vad.energy import EnergyVad
from streaming.vad.silero import SileroVad
from streaming.vad.webrtc import WebRtcVad

MOST_ITEMS = {
    "everything": 4_000,
    "Transcriber._recent": 400,
    "Lines._lines": 200,
    "Input._notices": 64,
    # An utterance has at most 30 s, and nobody says more than six words a second.
    "Final.words": 180,
    "Refined.words": 180,
    "Partial.words": 180,
    "_Heard.words": 180,
    "_Utterance.words": 180,
    "Rewriter._said": 180,
}
"""What a container may hold; any other one `_MOST_ITEMS`."""
_MOST_ITEMS = 64
MOST_BYTES = {
    "RingBuffer._samples": 9_600_000,  # 150 s for the larger model
    "_Utterance.pieces[][]": 2_000_000,  # an utterance that it hears
    "IncrementalMel._frames": 1_440_000,  # 45 s
}
"""What an array may have; any other one `_MOST_BYTES`."""
_MOST_BYTES = 70_000
MORE_MB = 16
"""Memory that may come and go with the utterances of the moment."""


def too_large(hour: Hour) -> dict[str, int]:
    """What had more than it may."""
    items = {n: s for n, s in hour.items.items() if s > MOST_ITEMS.get(n, _MOST_ITEMS)}
    arrays = {n: s for n, s in hour.arrays.items() if s > MOST_BYTES.get(n, _MOST_BYTES)}
    return items | arrays


def check(outcome: Outcome) -> None:
    """That it kept every promise, whatever was heard."""
    assert outcome.broken == []
    for hour in outcome.hours:
        assert too_large(hour) == {}, f"in hour {hour.number}"


@pytest.mark.timeout(900)
def test_ten_hours_leave_no_trace(tmp_path: Path) -> None:
    outcome = long_run(10, tmp_path)
    check(outcome)
    accounts = outcome.accounts
    assert accounts.problems == []
    assert [hour.number for hour in outcome.hours] == list(range(1, 11))
    first = outcome.hours[0]
    for hour in outcome.hours[1:]:
        assert hour.memory_mb < first.memory_mb + MORE_MB
        assert hour.objects < 1.05 * first.objects
    # It was what it should have been: talk, load, faults, and somebody who presses keys.
    assert accounts.committed > 10_000
    assert accounts.misheard > 1_000
    assert {"overload", "paused", "reconnect", "overflow"} <= accounts.drops.keys()
    assert {"overload", "keeping_up", "somebody", "source"} <= accounts.notices.keys()


@pytest.mark.parametrize("vad", [EnergyVad, WebRtcVad, SileroVad])
@pytest.mark.timeout(300)
def test_a_real_detector_changes_nothing_of_that(
    tmp_path: Path, vad: Callable[[], VoiceActivityDetector]
) -> None:
    outcome = long_run(0.3, tmp_path, seed=1, vad=vad, voice=read_audio(JFK))
    check(outcome)
    assert outcome.accounts.finals > 10


@pytest.mark.timeout(300)
def test_nor_does_a_model_that_takes_what_is_committed_for_granted(tmp_path: Path) -> None:
    outcome = long_run(0.6, tmp_path, seed=2, forces_prefix=True)
    check(outcome)
    assert outcome.accounts.problems == []
    assert outcome.accounts.committed > 500
