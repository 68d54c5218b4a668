"""The ring buffer against a list that forgets nothing."""

from __future__ import annotations

import numpy as np
import pytest
from bounded import bounded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streaming.audio import Samples
from streaming.errors import OverwrittenError
from streaming.ring_buffer import RingBuffer


class RingBufferMachine(RuleBasedStateMachine):
    ring: RingBuffer

    @initialize(capacity=st.integers(1, 40), start=st.integers(0, 10**9))
    def make(self, capacity: int, start: int) -> None:
        self.ring = RingBuffer(capacity, start)
        self.capacity = capacity
        self.start = start
        self.written: list[float] = []
        self.reads: list[tuple[Samples, list[float]]] = []
        self.next_value = 1.0

    def held(self, start: int, end: int) -> list[float]:
        return self.written[start - self.start : end - self.start]

    @rule(n=st.integers(0, 100))
    def write(self, n: int) -> None:
        values = [self.next_value + i for i in range(n)]
        self.next_value += n
        self.ring.write(np.array(values, np.float32))
        self.written += values

    @rule(data=st.data())
    def read_what_is_held(self, data: st.DataObject) -> None:
        end = self.start + len(self.written)
        first = data.draw(st.integers(max(self.start, end - self.capacity), end))
        last = data.draw(st.integers(first, end))
        read = self.ring.read(first, last)
        assert read.dtype == np.float32
        self.reads = [*self.reads[-4:], (read, self.held(first, last))]

    @rule(before=st.integers(1, 50), length=st.integers(0, 100))
    def read_what_is_overwritten(self, before: int, length: int) -> None:
        oldest = max(self.start, self.start + len(self.written) - self.capacity)
        with pytest.raises(OverwrittenError):
            self.ring.read(oldest - before, oldest - before + length)

    @rule(after=st.integers(1, 50), length=st.integers(0, 40))
    def read_what_is_to_come(self, after: int, length: int) -> None:
        end = self.start + len(self.written)
        with pytest.raises(OverwrittenError):
            self.ring.read(end + after - length, end + after)

    @rule(start=st.integers(0, 10**9))
    def clear(self, start: int) -> None:
        self.ring.clear(start)
        self.start, self.written = start, []

    @invariant()
    def it_holds_the_newest(self) -> None:
        end = self.start + len(self.written)
        oldest = max(self.start, end - self.capacity)
        assert self.ring.capacity == self.capacity
        assert (self.ring.start_sample, self.ring.end_sample) == (oldest, end)
        assert self.ring.read(oldest, end).tolist() == self.held(oldest, end)

    @invariant()
    def what_was_read_stays_as_it_was(self) -> None:
        assert all(read.tolist() == expected for read, expected in self.reads)


TestRingBuffer = RingBufferMachine.TestCase
TestRingBuffer.settings = bounded(100, steps=30)
