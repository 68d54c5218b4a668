from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from sources._serial import SerialThread


def test_calls_run_in_turn_on_one_daemon_thread() -> None:
    thread = SerialThread("turns")
    order: list[int] = []
    threads: set[threading.Thread] = set()

    def work(n: int) -> int:
        threads.add(threading.current_thread())
        order.append(n)
        return n

    async def call_all() -> list[int]:
        calls = [thread.call(partial(work, n), timeout_s=5.0) for n in range(20)]
        return await asyncio.gather(*calls)

    assert asyncio.run(call_all()) == list(range(20)) == order
    assert thread.wait(lambda: work(20), timeout_s=5.0) == 20
    (only,) = threads
    assert only.daemon
    assert only is not threading.main_thread()


def test_what_a_call_raises_is_raised() -> None:
    thread = SerialThread("errors")

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(thread.call(fail, timeout_s=5.0))
    with pytest.raises(ValueError, match="no"):
        thread.wait(fail, timeout_s=5.0)


def test_what_comes_too_late_is_undone() -> None:
    thread = SerialThread("late")
    release = threading.Event()
    undone: list[str] = []

    def open_it() -> str:
        release.wait(5.0)
        return "opened"

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await thread.call(open_it, timeout_s=0.05, undo=undone.append)

    asyncio.run(give_up())
    release.set()
    thread.wait(lambda: None, timeout_s=5.0)
    assert undone == ["opened"]


def test_a_cancelled_caller_leaves_nothing_open() -> None:
    thread = SerialThread("cancelled")
    begun, release = threading.Event(), threading.Event()
    undone: list[str] = []

    def open_it() -> str:
        begun.set()
        release.wait(5.0)
        return "opened"

    async def cancel() -> None:
        task = asyncio.create_task(thread.call(open_it, timeout_s=5.0, undo=undone.append))
        await asyncio.to_thread(begun.wait, 5.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()

    asyncio.run(cancel())
    thread.wait(lambda: None, timeout_s=5.0)
    assert undone == ["opened"]


def test_attempts_that_nobody_waits_for_any_more_are_left_out_but_closing_is_not() -> None:
    thread = SerialThread("hung")
    release = threading.Event()
    done: list[str] = []

    def open_it() -> str:
        done.append("open")
        return "opened"

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await thread.call(lambda: release.wait(5.0), timeout_s=0.02)
        with pytest.raises(TimeoutError):
            await thread.call(open_it, timeout_s=0.02, undo=done.append)
        with pytest.raises(TimeoutError):
            await thread.call(lambda: done.append("close"), timeout_s=0.02)

    asyncio.run(give_up())
    release.set()
    thread.wait(lambda: None, timeout_s=5.0)
    assert done == ["close"]


def test_an_undo_that_fails_leaves_the_thread_at_work() -> None:
    thread = SerialThread("undo")
    release = threading.Event()

    def fail(_: object) -> None:
        raise OSError("closing fails")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await thread.call(lambda: release.wait(5.0), timeout_s=0.02, undo=fail)

    asyncio.run(give_up())
    release.set()
    assert thread.wait(lambda: 7, timeout_s=5.0) == 7
