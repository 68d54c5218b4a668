from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from sinks._loop_thread import LoopThread


def gone(name: str) -> bool:
    for _ in range(200):
        if not any(thread.name == name for thread in threading.enumerate()):
            return True
        time.sleep(0.01)
    return False


def test_results_errors_and_cancellation_pass_between_the_loops() -> None:
    cancelled = threading.Event()

    async def where() -> str:
        return threading.current_thread().name

    async def fail() -> None:
        raise ZeroDivisionError

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def main() -> None:
        thread = LoopThread("other")
        assert await thread.call(where()) == "other"
        with pytest.raises(ZeroDivisionError):
            await thread.call(fail())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await thread.call(hang())
        assert await asyncio.to_thread(cancelled.wait, 1)
        thread.stop()

    asyncio.run(main())
    assert gone("other")


def test_posts_are_called_in_order_and_after_the_stop_not_at_all() -> None:
    got: list[int] = []

    async def answer() -> None:
        pass

    async def main() -> None:
        thread = LoopThread("posted")
        for n in range(1000):
            thread.post(got.append, n)
        await thread.call(answer())
        assert got == list(range(1000))
        thread.stop()
        assert await asyncio.to_thread(gone, "posted")
        thread.post(got.append, 1000)
        thread.stop()

    asyncio.run(main())
    assert len(got) == 1000


def test_stopping_cancels_what_still_runs() -> None:
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def begin() -> asyncio.Task[None]:
        return asyncio.create_task(hang())

    async def main() -> None:
        thread = LoopThread("stopped")
        running = await thread.call(begin())
        await asyncio.sleep(0.01)
        thread.stop()
        assert await asyncio.to_thread(gone, "stopped")
        assert running.cancelled()

    asyncio.run(main())
    assert cancelled.is_set()


def test_a_blocking_call_in_its_executor_does_not_hold_up_the_exit() -> None:
    program = """
import asyncio, time
from sinks._loop_thread import LoopThread

async def block():
    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)

async def main():
    thread = LoopThread("blocked")
    try:
        async with asyncio.timeout(0.1):
            await thread.call(block())
    except TimeoutError:
        thread.stop()

asyncio.run(main())
"""
    began_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - began_s < 10
