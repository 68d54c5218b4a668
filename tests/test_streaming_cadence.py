from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streaming.audio import samples_from_seconds
from streaming.cadence import Cadence

BASE = samples_from_seconds(0.5)


def late(cadence: Cadence) -> None:
    cadence.observe(100 * BASE)


def timely(cadence: Cadence) -> None:
    cadence.observe(0)


def test_without_load_the_chunk_is_what_was_asked_for() -> None:
    cadence = Cadence(BASE)
    for _ in range(10):
        timely(cadence)
    assert cadence.chunk_samples == BASE
    assert cadence.shows_partials
    assert not cadence.overloaded


def test_overdue_words_get_a_pass_early_where_passes_are_quick() -> None:
    cadence = Cadence(BASE)
    assert cadence.hasty_samples == BASE  # not before one has shown that it is
    cadence.observe(BASE // 4)
    assert cadence.hasty_samples < cadence.chunk_samples == BASE
    cadence.observe(BASE // 2)
    assert cadence.hasty_samples == BASE


def test_under_load_no_pass_is_hastened() -> None:
    cadence = Cadence(BASE)
    for _ in range(2):
        late(cadence)
    timely(cadence)
    assert cadence.overloaded
    assert cadence.hasty_samples == cadence.chunk_samples > BASE


def test_one_slow_pass_is_not_load() -> None:
    cadence = Cadence(BASE)
    for _ in range(5):
        late(cadence)
        timely(cadence)
    assert not cadence.overloaded


def test_passes_that_stay_late_lengthen_the_chunk_and_at_last_hide_partials() -> None:
    cadence = Cadence(BASE)
    chunks = [cadence.chunk_samples]
    shown = [cadence.shows_partials]
    for _ in range(20):
        late(cadence)
        chunks.append(cadence.chunk_samples)
        shown.append(cadence.shows_partials)
    assert cadence.overloaded
    assert chunks == sorted(chunks)
    assert chunks[-1] >= 3 * BASE
    assert shown == sorted(shown, reverse=True)
    assert not shown[-1]
    assert shown[chunks.index(max(chunks)) - 1], "the chunk is lengthened before partials go"


def test_passes_that_keep_up_shorten_it_again_and_more_slowly() -> None:
    cadence = Cadence(BASE)
    steps_up = steps_down = 0
    while cadence.shows_partials:
        late(cadence)
        steps_up += 1
    while cadence.overloaded:
        timely(cadence)
        steps_down += 1
    assert (cadence.chunk_samples, cadence.shows_partials) == (BASE, True)
    assert steps_down > steps_up


@given(
    chunk_s=st.floats(0.1, 10.0),
    backlogs=st.lists(st.integers(0, samples_from_seconds(60)), max_size=60),
)
def test_a_chunk_is_never_shorter_than_asked_for_nor_longer_than_ten_seconds(
    chunk_s: float, backlogs: list[int]
) -> None:
    base = samples_from_seconds(chunk_s)
    cadence = Cadence(base)
    for backlog in backlogs:
        cadence.observe(backlog)
        assert base <= cadence.chunk_samples <= samples_from_seconds(10.0)
