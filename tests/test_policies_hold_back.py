from __future__ import annotations

import math

import pytest
from fakes import ScriptedBackend, chunks_of, make_parts, say, simulate
from hypothesis import given
from hypothesis import strategies as st

from policies.hold_back import HoldBack
from streaming.errors import ConfigurationError
from streaming.events import Committed, Final, Word, text_of
from streaming.testing import check_commit_policy


@pytest.mark.parametrize("seconds", [0, 0.3, 0.8, 10.0])
def test_it_keeps_the_contract_of_a_commit_policy(seconds: float) -> None:
    check_commit_policy(lambda: HoldBack(seconds))


def commit(seconds: float, *ends_s: float, audio_end_s: float = 10.0) -> tuple[str, str]:
    words = [Word(f" {end_s:g}", max(end_s - 0.3, 0.0), end_s, 0.9) for end_s in ends_s]
    decided = HoldBack(seconds).update([words], (), audio_end_s)
    return text_of(decided.words), text_of(decided.tentative)


def test_words_that_end_early_enough_are_committed_at_once() -> None:
    assert commit(0.8, 8.0, 9.1, 9.3, 9.9) == (" 8 9.1", " 9.3 9.9")
    assert commit(0.8, 8.0, 9.1) == (" 8 9.1", "")
    assert commit(0.8, 9.3) == ("", " 9.3")
    assert commit(0.8) == ("", "")


def test_a_word_that_ends_with_the_audio_is_never_certain() -> None:
    assert commit(0.0, 9.9, 10.0) == (" 9.9", " 10")


def test_a_time_that_jumps_back_overtakes_nothing() -> None:
    assert commit(0.8, 8.0, 9.5, 8.5) == (" 8", " 9.5 8.5")


@pytest.mark.parametrize("seconds", [-0.1, 10.5, math.nan, math.inf, True, "much", None])
def test_seconds_must_be_a_small_number(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="hold-back: seconds must be a number from 0"):
        HoldBack(seconds)


@given(
    ends_s=st.lists(st.floats(0.0, 30.0), max_size=8),
    seconds=st.floats(0.0, 10.0),
    audio_end_s=st.floats(0.0, 30.0),
)
def test_it_commits_as_long_a_prefix_as_ends_early_enough(
    ends_s: list[float], seconds: float, audio_end_s: float
) -> None:
    words = tuple(Word(" a", 0.0, end_s, 0.9) for end_s in ends_s)
    decided = HoldBack(seconds).update([(), words], (), audio_end_s)
    assert (*decided.words, *decided.tentative) == words
    assert all(word.end_s < audio_end_s - seconds for word in decided.words)
    assert not decided.tentative or decided.tentative[0].end_s >= audio_end_s - seconds


@pytest.mark.parametrize("seconds", [0.3, 0.8, 2.0])
def test_in_a_run_words_wait_so_long_and_hardly_longer(seconds: float) -> None:
    script = say(40)
    parts = make_parts(chunk_s=0.5, commit_policy=HoldBack(seconds))
    events = simulate(chunks_of(script.audio()), ScriptedBackend(script), parts, pass_cost_s=0.1)
    final = next(event for event in events if isinstance(event, Final))
    said = [e for e in events if isinstance(e, Committed) and e.clock_s < final.clock_s]
    delays_s = [event.clock_s - word.end_s for event in said for word in event.words]
    assert len(delays_s) > 30
    assert min(delays_s) > seconds
    assert max(delays_s) <= seconds + 0.5 + 0.1 + 0.1 + 0.02  # chunk, pass, a piece, two frames
