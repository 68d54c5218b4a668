from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest
from fakes import HangingBackend, ScriptedBackend, say, worker_for

from streaming.backends.worker import BackendWorker
from streaming.errors import BackendError, ModelError
from streaming.protocols import Backend, Hypothesis, Window

SCRIPT = say(3)


def window(n_frames: int = 300) -> Window:
    return Window(start_sample=0, mel=np.zeros((80, n_frames), np.float32))


def test_passes_run_in_order_on_a_thread_of_their_own_and_tell_their_cost() -> None:
    threads: list[str] = []

    class Slow(ScriptedBackend):
        def decode(self, window: Window) -> Hypothesis:
            threads.append(threading.current_thread().name)
            time.sleep(0.02)
            return super().decode(window)

    backend = Slow(SCRIPT)
    with worker_for(backend) as worker:
        futures = [worker.submit(window(n)) for n in (100, 200, 300)]
        done = [future.result(5) for future in futures]
    assert [w.n_frames for w in backend.windows] == [100, 200, 300]
    assert set(threads) == {"backend"}
    assert all(d.compute_s >= 0.02 for d in done)
    assert done[2].queue_s >= 0.04 > done[0].queue_s


def test_the_model_is_loaded_on_that_thread_and_only_when_asked_for() -> None:
    loaded_on: list[threading.Thread] = []

    def load() -> Backend:
        loaded_on.append(threading.current_thread())
        return ScriptedBackend(SCRIPT)

    worker = BackendWorker(load)
    assert not loaded_on
    worker.start()
    worker.start()
    assert worker.loaded.result(5).name == "scripted"
    assert [t.daemon for t in loaded_on] == [True]
    assert loaded_on != [threading.main_thread()]
    assert worker.close()


def test_a_model_that_cannot_be_loaded_fails_every_pass_and_none_waits_for_ever() -> None:
    go = threading.Event()

    def load() -> Backend:
        go.wait(5)
        raise ModelError("no such model")

    worker = BackendWorker(load)
    early = worker.submit(window())
    go.set()
    with pytest.raises(ModelError, match="no such model"):
        worker.loaded.result(5)
    with pytest.raises(ModelError, match="no such model"):
        early.result(5)
    with pytest.raises(ModelError, match="no such model"):
        worker.submit(window()).result(5)
    assert worker.close()


def test_a_pass_that_fails_is_a_backend_error_and_the_next_one_runs() -> None:
    class Faulty(ScriptedBackend):
        def decode(self, window: Window) -> Hypothesis:
            if window.n_frames == 1:
                raise ZeroDivisionError("division by zero")
            return super().decode(window)

    with worker_for(Faulty(SCRIPT, fails_at=0)) as worker:
        with pytest.raises(BackendError, match="script says"):
            worker.submit(window()).result(5)
        with pytest.raises(BackendError, match="scripted failed: division by zero") as caught:
            worker.submit(window(1)).result(5)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert worker.submit(window()).result(5).hypothesis.words


def test_more_passes_than_may_wait_are_refused() -> None:
    backend = HangingBackend(SCRIPT)
    worker = BackendWorker(lambda: backend, max_waiting=2)
    futures = [worker.submit(window())]
    assert backend.entered.wait(5)
    futures += [worker.submit(window()), worker.submit(window())]
    with pytest.raises(BackendError, match="2 passes wait"):
        worker.submit(window())
    backend.release.set()
    for future in futures:
        future.result(5)
    assert worker.close()


def test_a_cancelled_pass_that_waits_is_never_run() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as worker:
        first = worker.submit(window(100))
        assert backend.entered.wait(5)
        second, third = worker.submit(window(200)), worker.submit(window(300))
        assert second.cancel()
        assert backend.aborts == 0  # it was not the one that runs
        backend.release.set()
        first.result(5)
        third.result(5)
    assert [w.n_frames for w in backend.windows] == [100, 300]


def test_a_cancelled_pass_that_runs_is_asked_to_abort_and_its_result_discarded() -> None:
    backend = HangingBackend(SCRIPT)
    with worker_for(backend) as worker:
        first = worker.submit(window(100))
        assert backend.entered.wait(5)
        assert first.cancel()
        assert backend.aborts == 1
        backend.release.set()
        assert worker.submit(window(200)).result(5).hypothesis is not None
        with pytest.raises(CancelledError):
            first.result(0)


def test_closing_frees_the_model_and_refuses_more() -> None:
    backend = ScriptedBackend(SCRIPT)
    worker = BackendWorker(lambda: backend)
    worker.submit(window()).result(5)
    assert worker.close()
    assert backend.closed
    assert worker.close()  # again changes nothing
    with pytest.raises(BackendError, match="closed"):
        worker.submit(window())


def test_closing_does_not_wait_longer_than_it_may_for_a_pass_that_hangs() -> None:
    backend = HangingBackend(SCRIPT)
    worker = BackendWorker(lambda: backend)
    running = worker.submit(window())
    assert backend.entered.wait(5)
    waiting = worker.submit(window())
    began = time.perf_counter()
    assert not worker.close(timeout_s=0.05)
    assert time.perf_counter() - began < 0.5
    assert backend.aborts == 1
    with pytest.raises(BackendError, match="closed"):
        waiting.result(0)
    assert not backend.closed
    backend.release.set()
    assert worker.close(timeout_s=5)
    with pytest.raises(BackendError, match="closed"):
        running.result(0)
    assert backend.closed


def test_a_worker_closed_before_it_was_started_never_loads() -> None:
    worker = BackendWorker(lambda: pytest.fail("loaded"))
    assert worker.close()
    worker.start()
    with pytest.raises(BackendError, match="closed"):
        worker.submit(window())
    with pytest.raises(BackendError, match="closed"):
        worker.loaded.result(1)


def test_an_abort_never_reaches_a_pass_that_was_not_cancelled() -> None:
    class SlowAbort(HangingBackend):
        hit: int | None = None

        def abort(self) -> None:
            self.release.set()  # the cancelled pass ends ...
            time.sleep(0.1)  # ... long before the flag is raised
            self.hit = self.passes

    backend = SlowAbort(SCRIPT)
    with worker_for(backend) as worker:
        first = worker.submit(window(100))
        assert backend.entered.wait(5)
        second = worker.submit(window(200))
        first.cancel()
        second.result(5)
        assert backend.hit == 1  # pass 2 had not begun


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
def test_a_worker_in_the_background_gives_way_and_so_do_the_threads_it_starts() -> None:
    seen: list[int] = []

    def look() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))

    def load() -> Backend:
        look()
        native = threading.Thread(target=look)
        native.start()
        native.join()
        return ScriptedBackend(SCRIPT)

    here = os.getpriority(os.PRIO_PROCESS, 0)
    for background in (True, False):
        worker = BackendWorker(load, background=background)
        worker.start()
        worker.loaded.result(5)
        assert worker.close()
    assert seen == [min(here + 10, 19)] * 2 + [here] * 2
    assert os.getpriority(os.PRIO_PROCESS, 0) == here
