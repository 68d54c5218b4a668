from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import streaming
from streaming.models.lock import file_lock

HOLD = """
import sys, time
from pathlib import Path
from streaming.models.lock import file_lock
with file_lock(Path(sys.argv[1]), timeout_s=10):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".model.lock"


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    root = str(Path(streaming.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_kept_out_until_the_holder_dies(path: Path) -> None:
    with holder(path) as process:
        try:
            with pytest.raises(TimeoutError), file_lock(path, timeout_s=0.1):
                pytest.fail("entered a lock that is held")
        finally:
            process.kill()
    with file_lock(path, timeout_s=5):
        pass


def test_threads_enter_one_at_a_time(path: Path) -> None:
    inside = 0
    most = 0

    def enter() -> None:
        nonlocal inside, most
        with file_lock(path, timeout_s=10):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (most, inside) == (1, 0)


def test_waiting_goes_on_while_the_holder_shows_signs_of_life(path: Path) -> None:
    beats = itertools.count()
    entered = threading.Event()

    def wait() -> None:
        with file_lock(path, timeout_s=0.15, sign_of_life=lambda: next(beats)):
            entered.set()

    with file_lock(path, timeout_s=1):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.5)
        assert thread.is_alive()
        assert not entered.is_set()
    assert entered.wait(5)
    thread.join(5)


def test_an_error_inside_lets_go(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(path, timeout_s=1):
        raise ZeroDivisionError
    with file_lock(path, timeout_s=0):
        pass


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    lock = file_lock(tmp_path / "none" / ".lock", timeout_s=0)
    with pytest.raises(FileNotFoundError), lock:
        pytest.fail("entered a lock without a file")
