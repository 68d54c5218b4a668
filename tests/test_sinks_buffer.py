from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks._buffer import Buffer, Rank


@dataclass(frozen=True)
class Put:
    size: int
    rank: Rank


TAKE = None
SIZES = st.integers(min_value=0, max_value=12)
STEPS = st.lists(st.one_of(st.builds(Put, SIZES, st.sampled_from(Rank)), st.just(TAKE)))


@given(STEPS, st.integers(1, 6), st.integers(1, 30))
def test_it_stays_within_its_limits_and_loses_nothing_it_does_not_tell(
    steps: list[Put | None], most_items: int, most_bytes: int
) -> None:
    buffer = Buffer[int](most_items, most_bytes)
    puts: dict[int, Put] = {}
    taken: list[int] = []
    gone: set[int] = set()
    for number, step in enumerate(steps):
        if step is TAKE:
            found = buffer.take()
            assert (found is None) == (not set(puts) - gone)
            if found is not None:
                assert found == (puts[found[1]].rank, found[1])
                assert found[1] == min(set(puts) - gone), "the oldest comes out first"
                taken.append(found[1])
                gone.add(found[1])
        else:
            puts[number] = step
            dropped = buffer.put(number, step.size, step.rank)
            for rank, item in dropped:
                left = set(puts) - gone - {number} | {item}
                assert rank == puts[item].rank
                if item != number:
                    waiting = [n for n in set(puts) - gone if puts[n].rank <= rank]
                    assert item == min(waiting), "the oldest of the lowest rank"
                    assert not [n for n in left if puts[n].rank < rank]
                gone.add(item)
        waiting = sorted(set(puts) - gone)
        assert len(buffer) == len(waiting) <= most_items
        assert buffer.n_bytes == sum(puts[n].size for n in waiting) <= most_bytes
        for rank in Rank:
            assert buffer.count(rank) == sum(puts[n].rank == rank for n in waiting)
    assert taken == sorted(taken)


@given(STEPS, st.integers(1, 6), st.integers(1, 30))
def test_no_more_is_dropped_than_has_to_be(
    steps: list[Put | None], most_items: int, most_bytes: int
) -> None:
    buffer = Buffer[Put](most_items, most_bytes)
    for step in steps:
        if step is TAKE:
            buffer.take()
            continue
        items, size = len(buffer) + 1, buffer.n_bytes + step.size
        dropped = buffer.put(step, step.size, step.rank)
        if dropped and step.size <= most_bytes:
            for _, entry in dropped[:-1]:
                items, size = items - 1, size - entry.size
            assert items > most_items or size > most_bytes, "the last one had to go too"


def test_partial_text_goes_before_what_lasts_and_the_oldest_before_the_newest() -> None:
    buffer = Buffer[str](3, 1000)
    assert not buffer.put("text", 1, Rank.LASTING)
    assert not buffer.put("partial 1", 1, Rank.PASSING)
    assert not buffer.put("partial 2", 1, Rank.PASSING)
    assert buffer.put("more text", 1, Rank.LASTING) == [(Rank.PASSING, "partial 1")]
    assert buffer.put("speech", 1, Rank.TELLING) == [(Rank.PASSING, "partial 2")]
    assert buffer.put("partial 3", 1, Rank.PASSING) == [(Rank.PASSING, "partial 3")]
    assert buffer.put("third text", 1, Rank.LASTING) == [(Rank.TELLING, "speech")]
    assert buffer.put("fourth text", 1, Rank.LASTING) == [(Rank.LASTING, "text")]
    assert [buffer.take() for _ in range(4)] == [
        (Rank.LASTING, "more text"),
        (Rank.LASTING, "third text"),
        (Rank.LASTING, "fourth text"),
        None,
    ]


def test_what_is_larger_than_the_buffer_costs_nothing_else_its_place() -> None:
    buffer = Buffer[str](3, 10)
    buffer.put("small", 5, Rank.PASSING)
    assert buffer.put("large", 11, Rank.LASTING) == [(Rank.LASTING, "large")]
    assert buffer.take() == (Rank.PASSING, "small")


@pytest.mark.parametrize(("items", "size"), [(0, 1), (1, 0)])
def test_a_buffer_that_holds_nothing_is_refused(items: int, size: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Buffer[str](items, size)
