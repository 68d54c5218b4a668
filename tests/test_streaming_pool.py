from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
from fakes import HangingBackend, ScriptedBackend, chunks_of, make_parts, say, worker_for

from streaming.app.cli import NATIVE_THREADS
from streaming.audio import seconds
from streaming.backends.pool import BackendPool, Decoded
from streaming.errors import BackendError, ConfigurationError, ModelError
from streaming.events import SessionStarted
from streaming.protocols import Backend, Hypothesis, Window
from streaming.session import Session
from streaming.transcriber import Pass

SCRIPT = say(3)


def window(n_frames: int = 300, prompt: str = "") -> Window:
    return Window(start_sample=0, mel=np.zeros((80, n_frames), np.float32), prompt=prompt)


def frames(backend: ScriptedBackend) -> list[int]:
    """Of the windows that were decoded, in order."""
    return [w.n_frames for w in backend.windows]


def both_busy(
    pool: BackendPool, one: HangingBackend, other: HangingBackend
) -> tuple[tuple[Future[Decoded], HangingBackend], tuple[Future[Decoded], HangingBackend]]:
    """Submit two passes that hang, and tell which backend has which."""
    first = pool.submit(window(100))
    while not (one.entered.is_set() or other.entered.is_set()):
        time.sleep(0.001)
    has_first, has_second = (one, other) if one.entered.is_set() else (other, one)
    second = pool.submit(window(200))
    assert has_second.entered.wait(5)
    return (first, has_first), (second, has_second)


# -- loading and closing --------------------------------------------------------------------------


def test_models_are_loaded_on_threads_of_their_own_and_only_when_asked_for() -> None:
    loaded_on: list[threading.Thread] = []

    def load() -> Backend:
        loaded_on.append(threading.current_thread())
        return ScriptedBackend(SCRIPT)

    pool = BackendPool(load)
    assert not loaded_on
    pool.start()
    pool.start()
    assert pool.loaded.result(5).name == "scripted"
    assert [t.daemon for t in loaded_on] == [True]
    assert loaded_on != [threading.main_thread()]
    assert pool.close()


def test_each_worker_loads_its_own_model_one_after_the_other_and_the_first_does_not_wait() -> None:
    threads: set[threading.Thread] = set()
    made: list[HangingBackend] = []
    loading = threading.Semaphore(0)
    at_once = 0

    def load() -> Backend:
        nonlocal at_once
        at_once += 1
        assert at_once == 1
        threads.add(threading.current_thread())
        loading.acquire()
        made.append(HangingBackend(SCRIPT))
        at_once -= 1
        return made[-1]

    pool = BackendPool(load, workers=3)
    pool.start()
    assert not pool.loaded.done()
    loading.release()
    assert pool.loaded.result(5) is made[0]
    running = pool.submit(window())
    assert made[0].entered.wait(5)
    made[0].release.set()
    running.result(5)
    loading.release(2)
    while len(made) < 3:
        time.sleep(0.001)
    assert pool.close()
    assert len(threads) == 3
    assert all(backend.closed for backend in made)


def test_a_model_that_cannot_be_loaded_fails_every_pass_and_none_waits_for_ever() -> None:
    go = threading.Event()
    loads = 0

    def load() -> Backend:
        nonlocal loads
        loads += 1
        go.wait(5)
        raise ModelError("no such model")

    pool = BackendPool(load, workers=2)
    early = pool.submit(window())
    go.set()
    with pytest.raises(ModelError, match="no such model"):
        pool.loaded.result(5)
    with pytest.raises(ModelError, match="no such model"):
        early.result(5)
    with pytest.raises(ModelError, match="no such model"):
        pool.submit(window()).result(5)
    assert pool.close()
    assert loads == 1  # what failed once is not tried again


def test_one_of_several_models_that_cannot_be_loaded_ends_the_pool_with_the_way_out() -> None:
    backend, go = HangingBackend(SCRIPT), threading.Event()
    loads = iter((backend,))

    def load() -> Backend:
        try:
            return next(loads)
        except StopIteration:
            go.wait(5)
            raise MemoryError from None

    pool = BackendPool(load, workers=3)
    running = pool.submit(window(100))
    assert backend.entered.wait(5)
    waiting = pool.submit(window(200))
    go.set()
    says = "only 1 of 3 workers could load the model: MemoryError; try --workers 1"
    with pytest.raises(BackendError, match=says) as caught:
        waiting.result(5)
    assert isinstance(caught.value.__cause__, MemoryError)
    assert backend.aborts == 1
    backend.release.set()
    with pytest.raises(BackendError, match=says):
        running.result(5)
    with pytest.raises(BackendError, match=says):
        pool.submit(window())
    assert pool.loaded.result(0) is backend
    assert pool.close()
    assert backend.closed
    assert frames(backend) == [100]


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ConfigurationError, match="at least one worker, not 0"):
        BackendPool(lambda: pytest.fail("loaded"), workers=0)


def test_closing_frees_the_model_and_refuses_more() -> None:
    backend = ScriptedBackend(SCRIPT)
    pool = BackendPool(lambda: backend)
    pool.submit(window()).result(5)
    assert pool.close()
    assert backend.closed
    assert pool.close()  # again changes nothing
    with pytest.raises(BackendError, match="closed"):
        pool.submit(window())


def test_closing_does_not_wait_longer_than_it_may_for_passes_that_hang() -> None:
    backends = HangingBackend(SCRIPT), HangingBackend(SCRIPT)
    with worker_for(*backends) as pool:
        busy = both_busy(pool, *backends)
        waiting = pool.submit(window())
        began = time.perf_counter()
        assert not pool.close(timeout_s=0.05)
        assert time.perf_counter() - began < 0.5
        assert [b.aborts for b in backends] == [1, 1]
        with pytest.raises(BackendError, match="closed"):
            waiting.result(0)
        for (running, backend), others in ((busy[0], False), (busy[1], True)):
            assert not backend.closed
            backend.release.set()
            assert pool.close(timeout_s=5 if others else 0.05) is others
            with pytest.raises(BackendError, match="closed"):
                running.result(5)
        assert all(b.closed for b in backends)
    assert frames(backends[0]) + frames(backends[1]) in ([100, 200], [200, 100])


def test_a_pool_closed_before_it_was_started_never_loads() -> None:
    pool = BackendPool(lambda: pytest.fail("loaded"))
    assert pool.close()
    pool.start()
    with pytest.raises(BackendError, match="closed"):
        pool.submit(window())
    with pytest.raises(BackendError, match="closed"):
        pool.loaded.result(1)


def test_a_pool_closed_while_it_loads_tells_at_once_and_frees_what_was_loaded() -> None:
    backend, entered, go = ScriptedBackend(SCRIPT), threading.Event(), threading.Event()

    def load() -> Backend:
        entered.set()
        go.wait(5)
        return backend

    pool = BackendPool(load, workers=2)
    waiting = pool.submit(window())
    assert entered.wait(5)
    assert not pool.close(timeout_s=0.0)
    for future in (waiting, pool.loaded):
        with pytest.raises(BackendError, match="closed"):
            future.result(0)
    go.set()
    assert pool.close(timeout_s=5)
    assert backend.closed
    assert backend.windows == []


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_workers_in_the_background_give_way_and_so_do_the_threads_they_start() -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))

    all_loaded = threading.Semaphore(0)

    def load() -> Backend:
        look()
        native = threading.Thread(target=look)
        native.start()
        native.join()
        all_loaded.release()
        return ScriptedBackend(SCRIPT)

    here = os.getpriority(os.PRIO_PROCESS, 0)
    for background in (True, False):
        pool = BackendPool(load, workers=2, background=background)
        pool.start()
        for _ in range(2):
            assert all_loaded.acquire(timeout=5)
        assert pool.close()
    assert seen == [min(here + 10, 19)] * 4 + [here] * 4
    assert os.getpriority(os.PRIO_PROCESS, 0) == here


# -- passes ---------------------------------------------------------------------------------------


def test_passes_without_a_deadline_run_in_order_and_tell_their_cost() -> None:
    threads: set[threading.Thread] = set()

    class Slow(ScriptedBackend):
        def decode(self, window: Window) -> Hypothesis:
            threads.add(threading.current_thread())
            time.sleep(0.02)
            return super().decode(window)

    backend = Slow(SCRIPT)
    with worker_for(backend) as pool:
        futures = [pool.submit(window(n)) for n in (100, 200, 300)]
        done = [future.result(5) for future in futures]
    assert frames(backend) == [100, 200, 300]
    assert len(threads) == 1
    assert all(d.compute_s >= 0.02 for d in done)


def test_the_time_in_the_queue_is_told_apart_from_the_time_of_the_pass() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        first = pool.submit(window())
        assert backend.entered.wait(5)
        second = pool.submit(window())
        time.sleep(0.2)
        backend.release.set()
        one, other = first.result(5), second.result(5)
    assert one.compute_s >= 0.2 > one.queue_s
    assert other.queue_s >= 0.2 > other.compute_s


def test_a_pool_tells_what_waits_what_runs_and_how_long_it_was_busy() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        began = time.perf_counter()
        futures = [pool.submit(window())]
        assert backend.entered.wait(5)
        futures += [pool.submit(window()), pool.submit(window())]
        told = pool.statistics()
        assert (told.waiting, told.running, told.busy_s) == (2, 1, 0.0)
        time.sleep(0.1)
        backend.release.set()
        for future in futures:
            future.result(5)
        told = pool.statistics()
        assert (told.waiting, told.running) == (0, 0)
        assert 0.1 <= told.busy_s <= time.perf_counter() - began
        assert told.waits_s == ()  # nobody was in a hurry
        assert not told.failed
    assert pool.statistics().failed


def test_a_pool_tells_how_long_passes_with_a_deadline_waited_for_each_other() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        futures = [pool.submit(window(), deadline_s=0)]
        assert backend.entered.wait(5)
        futures += [pool.submit(window(), deadline_s=n) for n in (1, 2)]
        time.sleep(0.1)
        backend.release.set()
        for future in futures:
            future.result(5)
        alone, *others = pool.statistics().waits_s
    assert alone < 0.1
    assert [wait_s >= 0.1 for wait_s in others] == [True, True]


def test_what_a_pass_without_a_deadline_held_up_is_no_wait_of_the_others() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        upload = pool.submit(window())
        assert backend.entered.wait(5)
        live = pool.submit(window(), deadline_s=0)
        time.sleep(0.2)
        backend.release.set()
        upload.result(5)
        assert live.result(5).queue_s >= 0.2
        assert [wait_s < 0.2 for wait_s in pool.statistics().waits_s] == [True]


def test_the_earliest_deadline_goes_first_whenever_it_came() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        futures = [pool.submit(window(1), deadline_s=9e9)]
        assert backend.entered.wait(5)
        now_s = time.monotonic()
        for n, deadline_s in ((5, now_s + 20), (2, now_s - 1), (4, None), (3, now_s + 5)):
            futures.append(pool.submit(window(n), deadline_s=deadline_s))
        backend.release.set()
        for future in futures:
            future.result(5)
    assert frames(backend) == [1, 2, 3, 4, 5]


def test_equal_deadlines_go_in_order_of_arrival() -> None:
    backend = HangingBackend(SCRIPT)
    order = [300, 100, 200, 500, 400] * 5
    with worker_for(backend) as pool:
        futures = [pool.submit(window(1))]
        assert backend.entered.wait(5)
        futures += [pool.submit(window(n), deadline_s=7.0) for n in order]
        backend.release.set()
        for future in futures:
            future.result(5)
    assert frames(backend) == [1, *order]


def test_as_many_passes_run_at_the_same_time_as_there_are_workers() -> None:
    together = threading.Barrier(3, timeout=5)

    class Meets(ScriptedBackend):
        def decode(self, window: Window) -> Hypothesis:
            together.wait()  # breaks unless all three are in here
            return super().decode(window)

    backends = [Meets(SCRIPT) for _ in range(3)]
    with worker_for(*backends) as pool:
        futures = [pool.submit(window(n)) for n in (100, 200, 300)]
        for future in futures:
            future.result(5)
    assert sorted(n for backend in backends for n in frames(backend)) == [100, 200, 300]
    assert [len(backend.windows) for backend in backends] == [1, 1, 1]


def test_a_pass_that_fails_is_a_backend_error_and_the_next_one_runs() -> None:
    class Faulty(ScriptedBackend):
        def decode(self, window: Window) -> Hypothesis:
            if window.n_frames == 1:
                raise ZeroDivisionError("division by zero")
            return super().decode(window)

    with worker_for(Faulty(SCRIPT, fails_at=0)) as pool:
        with pytest.raises(BackendError, match="script says"):
            pool.submit(window()).result(5)
        with pytest.raises(BackendError, match="scripted failed: division by zero") as caught:
            pool.submit(window(1)).result(5)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert pool.submit(window()).result(5).hypothesis.words


def test_more_passes_than_may_wait_are_refused_and_a_cancelled_one_makes_room() -> None:
    backend = HangingBackend(SCRIPT)
    pool = BackendPool(lambda: backend, max_waiting=2)
    futures = [pool.submit(window())]
    assert backend.entered.wait(5)
    futures += [pool.submit(window()), pool.submit(window())]
    with pytest.raises(BackendError, match="2 passes wait"):
        pool.submit(window())
    assert futures.pop().cancel()
    futures.append(pool.submit(window()))
    backend.release.set()
    for future in futures:
        future.result(5)
    assert pool.close()


def test_a_cancelled_pass_that_waits_is_never_run_and_disturbs_no_other() -> None:
    backends = HangingBackend(SCRIPT), HangingBackend(SCRIPT)
    with worker_for(*backends) as pool:
        (first, _), (second, _) = both_busy(pool, *backends)
        waiting = [pool.submit(window(n), deadline_s=n) for n in (700, 300, 600, 400, 500)]
        assert waiting[1].cancel()
        assert waiting[2].cancel()
        assert [b.aborts for b in backends] == [0, 0]  # they were not the ones that run
        for backend in backends:
            backend.release.set()
        for future in (first, second, waiting[0], waiting[3], waiting[4]):
            future.result(5)
    assert sorted(frames(backends[0]) + frames(backends[1])) == [100, 200, 400, 500, 700]


def test_cancelling_some_leaves_the_others_in_order() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as pool:
        futures = {0: pool.submit(window(0))}
        assert backend.entered.wait(5)
        for n in range(1, 41):
            deadline = n * 7 % 41  # every number from 1 to 40
            futures[deadline] = pool.submit(window(deadline), deadline_s=deadline)
        cancelled = [n for n in futures if n % 3 == 1]
        for n in cancelled:
            assert futures.pop(n).cancel()
        backend.release.set()
        for future in futures.values():
            future.result(5)
    assert frames(backend) == sorted(futures)


def test_a_cancelled_pass_that_runs_is_aborted_alone_and_its_result_discarded() -> None:
    backends = HangingBackend(SCRIPT), HangingBackend(SCRIPT)
    with worker_for(*backends) as pool:
        (first, has_first), (second, has_second) = both_busy(pool, *backends)
        assert second.cancel()
        assert (has_first.aborts, has_second.aborts) == (0, 1)
        has_second.release.set()
        assert pool.submit(window(300)).result(5).hypothesis is not None
        assert frames(has_second) == [200, 300]
        has_first.release.set()
        assert first.result(5).hypothesis is not None
        with pytest.raises(CancelledError):
            second.result(0)


def test_an_abort_never_reaches_a_pass_that_was_not_cancelled() -> None:
    class SlowAbort(HangingBackend):
        hit: int | None = None

        def abort(self) -> None:
            self.release.set()  # the cancelled pass ends ...
            time.sleep(0.1)  # ... long before the flag is raised
            self.hit = self.passes

    backend = SlowAbort(SCRIPT)
    with worker_for(backend) as pool:
        first = pool.submit(window(100))
        assert backend.entered.wait(5)
        second = pool.submit(window(200))
        first.cancel()
        second.result(5)
        assert backend.hit == 1  # pass 2 had not begun


# -- overload -------------------------------------------------------------------------------------

COST_S = 0.3
"""Of every pass, on the virtual clock."""
TALK = say(*[12] * 12, pause_s=0.9)


class Stepped(ScriptedBackend):
    """Ends a pass when it is told to."""

    def __init__(self) -> None:
        super().__init__(TALK)
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.at_work = ""

    def decode(self, window: Window) -> Hypothesis:
        self.at_work = window.prompt
        self.begun.release()
        assert self.go.acquire(timeout=5)
        return super().decode(window)


class Stream:
    """A live session on a virtual clock that asks for passes as the live driver does."""

    def __init__(self, name: str, chunk_s: float) -> None:
        self.name = name
        parts = make_parts(prompt=name, chunk_s=chunk_s)
        self.session = Session(parts, n_mels=80, started=SessionStarted(session=name))
        self.session.start()
        self.audio = iter(chunks_of(TALK.audio()))
        self.out: tuple[Pass, Future[Decoded], float] | None = None
        self.late_s: list[float] = []
        """How long after its patience had ended each pass began; below zero if before."""
        self.backlog_s: list[float] = []
        """Audio that no pass had heard, as each pass ended."""

    def hear(self, now_s: float) -> None:
        """Take the audio that has arrived by now."""
        while seconds(self.session.audio_end) < now_s - 0.099:
            assert self.session.has_room
            chunk = next(self.audio)
            self.session.feed(chunk, seconds(chunk.end_sample))

    def ask(self, pool: BackendPool, now_s: float) -> None:
        if self.out is None and (due := self.session.next_pass()) is not None:
            future = pool.submit(self.session.window(due), deadline_s=now_s + due.patience_s)
            self.out = (due, future, now_s)

    def complete(self, now_s: float) -> None:
        assert self.out is not None
        (due, future, asked_s), self.out = self.out, None
        queue_s = now_s - COST_S - asked_s
        self.late_s.append(queue_s - due.patience_s)
        self.backlog_s.append(now_s - seconds(due.end_sample))
        hypothesis = future.result(5).hypothesis
        self.session.complete(due, hypothesis, COST_S, now_s, queue_s=queue_s)


def drive(streams: Sequence[Stream], until_s: float) -> None:
    """Run the streams over one worker. What goes first is settled while a pass is under way."""
    by_name = {stream.name: stream for stream in streams}
    backend, now_s = Stepped(), 0.0
    with worker_for(backend) as pool:
        while now_s < until_s:
            busy = any(stream.out for stream in streams)
            if busy:
                assert backend.begun.acquire(timeout=5)
            now_s += COST_S if busy else 0.1
            for stream in streams:
                stream.hear(now_s)
                stream.ask(pool, now_s)
            if busy:
                backend.go.release()
                by_name[backend.at_work].complete(now_s)
        backend.go.release(len(streams))


def test_under_threefold_overload_every_session_gets_its_share_and_no_queue_grows() -> None:
    streams = [Stream(f"stream {i}", chunk_s=0.5) for i in range(5)]
    drive(streams, 40.0)  # five streams that would like 0.3 s of work every 0.5 s
    passes = [len(stream.late_s) for stream in streams]
    share = sum(passes) / len(passes)
    assert share * len(streams) * COST_S > 35.0  # the worker hardly rests
    assert 0.8 * share < min(passes)
    assert max(passes) < 1.2 * share
    longest_wait_s = 2.0 + 4 * COST_S  # the longest chunk, and a pass of every other stream
    for stream in streams:
        assert max(stream.late_s) <= 4 * COST_S
        assert max(stream.backlog_s) <= longest_wait_s + COST_S + 0.1
        queue_delay_s = stream.session.metrics.stats().queue_delay_max_s
        assert queue_delay_s is not None
        assert COST_S < queue_delay_s <= longest_wait_s


def test_a_patient_session_is_not_starved_by_those_in_a_hurry() -> None:
    hurried = [Stream(f"stream {i}", chunk_s=0.2) for i in range(6)]
    patient = Stream("patient", chunk_s=3.0)
    drive([*hurried, patient], 40.0)
    assert max(patient.late_s) <= 6 * COST_S
    assert len(patient.late_s) >= 40.0 / (3.0 + 7 * COST_S)
    assert min(len(stream.late_s) for stream in hurried) > len(patient.late_s)


def test_the_command_knows_the_threads_by_their_names() -> None:
    before = set(threading.enumerate())
    pool = BackendPool(lambda: ScriptedBackend(say(1)), workers=2)
    pool.start()
    threads = set(threading.enumerate()) - before
    native = {f"{NATIVE_THREADS}{number}" for number in range(2)}
    assert {thread.name for thread in threads} == {*native, "pass limit"}
    assert pool.close()


_LEAVES_EARLY = """
import time
import numpy as np
from streaming.backends.pool import BackendPool
from streaming.protocols import Hypothesis, Window

class Slow:
    name = model = "slow"
    n_mels = 80
    multilingual = forces_prefix = False

    def decode(self, window):
        return Hypothesis(words=(), language="en")

    def abort(self):
        pass

    def close(self):
        time.sleep(0.5)
        print("freed", flush=True)

class Heavy:
    def __del__(self):
        time.sleep(0.5)
        print("gone", flush=True)

def load():
    backend = Slow()
    backend.model_data = Heavy()
    return backend

pool = BackendPool(load)
pool.start()
pool.submit(Window(start_sample=0, mel=np.zeros((80, 100), np.float32))).result()
if CLOSES:
    pool.close(timeout_s=0.0)
    del pool
"""


@pytest.mark.parametrize("closes", [True, False])
def test_a_program_that_ends_lets_its_models_be_freed(closes: bool) -> None:
    program = f"CLOSES = {closes}\n{_LEAVES_EARLY}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "freed\ngone\n", "")
