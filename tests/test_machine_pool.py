"""The scheduler under any order of passes, cancellations and failures.

The threads are real, and each pass waits to be let go, so that what runs next is decided by the
pool alone. After each step it is known which passes run; a list says which should.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Queue

import numpy as np
import pytest
from bounded import bounded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streaming.backends.pool import BackendPool, Decoded
from streaming.errors import BackendError
from streaming.protocols import Hypothesis, Window

PATIENCE_S = 20.0
"""Of the tests."""
HEARD = Hypothesis(words=())


@dataclass
class Job:
    """A pass, and all that becomes of it."""

    number: int
    session: int
    asked_s: float
    """On a clock that ticks with each pass."""
    deadline_s: float | None
    future: Future[Decoded]
    answer: Queue[Hypothesis | Exception] = field(default_factory=Queue)
    settled: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        return float("inf") if self.deadline_s is None else self.deadline_s, self.number


class GatedBackend:
    """Each pass tells that it has begun, and waits for its answer."""

    name = model = "gated"
    n_mels = 80
    multilingual = True
    forces_prefix = False

    def __init__(self, machine: SchedulerMachine) -> None:
        self.machine = machine
        self.busy = False
        self.closed = False
        self.aborts = 0

    def decode(self, window: Window) -> Hypothesis:
        assert not self.busy, "one pass at a time"
        assert not self.closed
        self.busy = True
        number = int(window.prompt)
        self.machine.begun.put((number, self))
        try:
            answer = self.machine.jobs[number].answer.get(timeout=PATIENCE_S)
        finally:
            self.busy = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    def abort(self) -> None:
        self.aborts += 1

    def close(self) -> None:
        self.closed = True


class SchedulerMachine(RuleBasedStateMachine):
    pool: BackendPool

    @initialize(workers=st.integers(1, 3), max_waiting=st.integers(1, 9))
    def make(self, workers: int, max_waiting: int) -> None:
        self.workers, self.max_waiting = workers, max_waiting
        self.backends: list[GatedBackend] = []
        self.begun: Queue[tuple[int, GatedBackend]] = Queue()
        self.jobs: list[Job] = []
        self.waiting: list[Job] = []
        self.running: dict[int, GatedBackend] = {}
        """By number of the job; cancelled ones stay until they are let go."""
        self.closed = False
        self.clock_s = 0.0
        self.zero_s = time.monotonic() - 1_000.0  # no deadline comes near those that have none
        self.pool = BackendPool(self.load, workers=workers, max_waiting=max_waiting)
        self.pool.start()
        while len(self.backends) < workers:
            time.sleep(0.001)

    def load(self) -> GatedBackend:
        self.backends.append(GatedBackend(self))
        return self.backends[-1]

    def out(self, session: int) -> bool:
        return any(job.session == session and not job.future.done() for job in self.jobs)

    # -- what sessions do -------------------------------------------------------------------------

    @rule(count=st.integers(1, 10), seed=st.integers(0, 1 << 30))
    def submit_some(self, count: int, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(count):
            self.submit(rng.randrange(12), rng.choice((0.0, 0.1, 0.5, 0.5, 2.0, 8.0, None)))

    def submit(self, session: int, patience_s: float | None) -> None:
        if self.out(session):
            return  # a session has one pass out
        self.clock_s += 0.25
        deadline_s = None if patience_s is None else self.clock_s + patience_s
        asked_of_pool = None if deadline_s is None else self.zero_s + deadline_s
        number = len(self.jobs)
        window = Window(start_sample=0, mel=np.zeros((80, 0), np.float32), prompt=str(number))
        job = Job(number, session, self.clock_s, deadline_s, Future())
        self.jobs.append(job)
        full = len(self.waiting) >= self.max_waiting
        if full or self.closed:
            self.jobs.pop()
            with pytest.raises(BackendError, match="closed" if self.closed else "wait for the"):
                self.pool.submit(window, deadline_s=asked_of_pool)
            return
        job.future = self.pool.submit(window, deadline_s=asked_of_pool)

        def settled(_: Future[Decoded]) -> None:
            job.settled += 1

        job.future.add_done_callback(settled)
        self.waiting.append(job)
        self.begin_what_is_due()

    @rule(pick=st.integers(0, 10), outcome=st.sampled_from(["heard", "heard", "fails", "breaks"]))
    @precondition(lambda self: self.running)
    def let_go(self, pick: int, outcome: str) -> None:
        number = sorted(self.running)[pick % len(self.running)]
        job, backend = self.jobs[number], self.running.pop(number)
        cancelled = job.future.cancelled()
        answers: dict[str, Hypothesis | Exception] = {
            "heard": HEARD,
            "fails": BackendError("the core failed"),
            "breaks": ValueError("what is this?"),
        }
        job.answer.put(answers[outcome])
        if cancelled:
            assert backend.aborts
        elif outcome == "heard" and not self.closed:
            assert job.future.result(PATIENCE_S).hypothesis is HEARD
        else:
            says = {"fails": "the core failed", "breaks": "gated failed: what is this"}
            with pytest.raises(BackendError, match=says.get(outcome, "closed")):
                job.future.result(PATIENCE_S)
        self.begin_what_is_due()

    @rule(pick=st.integers(0, 20))
    @precondition(lambda self: any(not job.future.done() for job in self.jobs))
    def cancel(self, pick: int) -> None:
        out = [job for job in self.jobs if not job.future.done()]
        job = out[pick % len(out)]
        hit = self.running.get(job.number)
        before = [backend.aborts for backend in self.backends]
        assert job.future.cancel()
        assert [backend.aborts for backend in self.backends] == [
            aborts + (backend is hit) for backend, aborts in zip(self.backends, before, strict=True)
        ]
        if hit is None:
            self.waiting.remove(job)

    @rule(really=st.sampled_from([False, False, False, False, True]))
    @precondition(lambda self: not self.closed)
    def close(self, really: bool) -> None:
        if not really:
            return
        before = [backend.aborts for backend in self.running.values()]
        assert self.pool.close(timeout_s=0.0) in (False, not self.running)
        self.closed = True
        assert [backend.aborts for backend in self.running.values()] == [n + 1 for n in before]
        for job in self.waiting:
            with pytest.raises(BackendError, match="closed"):
                job.future.result(PATIENCE_S)
        self.waiting = []

    def begin_what_is_due(self) -> None:
        """A worker that is free takes the pass with the earliest deadline."""
        while not self.closed and self.waiting and len(self.running) < self.workers:
            number, backend = self.begun.get(timeout=PATIENCE_S)
            due = min(self.waiting, key=lambda job: job.rank)
            assert number == due.number
            self.waiting.remove(due)
            self.running[number] = backend
            # What has waited past its deadline is overtaken by nothing that was asked for since.
            for job in self.waiting:
                assert job.deadline_s is None or job.deadline_s >= due.asked_s

    # -- what always holds ------------------------------------------------------------------------

    @invariant()
    def nothing_else_runs_or_waits(self) -> None:
        assert self.begun.empty()
        assert len(self.waiting) <= self.max_waiting
        until_s = time.monotonic() + PATIENCE_S
        while True:  # a thread tells its pass's end before it counts itself free
            found = self.pool.statistics()
            if (found.waiting, found.running) == (len(self.waiting), len(self.running)):
                break
            assert time.monotonic() < until_s, found
            time.sleep(0.001)
        assert found.failed == self.closed

    @invariant()
    def no_pass_is_settled_twice(self) -> None:
        for job in self.jobs:
            assert job.settled <= 1
            if job in self.waiting:
                assert not job.future.done()

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        while self.waiting or self.running:
            if self.running:
                self.let_go(0, "heard")
            else:
                self.begin_what_is_due()
        assert self.pool.close(timeout_s=PATIENCE_S)
        assert all(backend.closed for backend in self.backends)
        assert [job.settled for job in self.jobs] == [1] * len(self.jobs)
        assert self.begun.empty()


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = bounded(100, steps=25)
