"""Runs that are killed with SIGKILL at any moment, and go on."""

from __future__ import annotations

import json
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from journal_runs import parsed, said
from journal_victims import SCRIPT, Order, Victims

from streaming.evaluation import check_events
from streaming.events import Event
from streaming.journal_files import folders_in, has_ended, read_events

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor kill")

N_POINTS = 200
WORDS = [word.text for word in SCRIPT.words]


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    victims = Victims()
    yield victims
    victims.close()


def shown_in(folder: Path) -> list[Event]:
    """What sinks were given, over all runs."""
    path = folder / "shown.jsonl"
    return parsed(path.read_text("utf-8").splitlines()) if path.exists() else []


def begun(folder: Path) -> bool:
    return any(list(read_events(each)) for each in folders_in(folder / "journal"))


def check(folder: Path, kills: int) -> None:
    """What was shown stays, comes once, and with the rest makes the uninterrupted run."""
    (journal,) = folders_in(folder / "journal")
    events = list(read_events(journal))
    assert check_events(events) == []
    assert [word.text for word in said(events)] == WORDS
    shown = shown_in(folder)
    assert len({event.seq for event in shown}) == len(shown)
    assert all(event == events[event.seq] for event in shown)
    # A kill may come between the journal and the sink.
    assert len(events) - kills <= len(shown) <= len(events)


def test_killed_at_200_points_a_session_loses_and_repeats_nothing(
    victims: Victims, tmp_path: Path
) -> None:
    rng = random.Random(2026)
    deaths = again = point = 0
    while deaths < N_POINTS:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        pace = rng.choice(["fast", "fast", "simulated", "realtime"])
        forces = rng.random() < 0.5
        kills = 0

        def run(*, resume: bool, longest_s: float, most_writes: int) -> int:
            by_time = rng.random() < 0.5
            order = Order(
                folder=str(folder),  # noqa: B023 - called in this round
                resume=resume,
                pace=pace,  # type: ignore[arg-type]  # noqa: B023
                forces=forces,  # noqa: B023
                dies_after_s=rng.uniform(0.01, longest_s) if by_time else None,
                dies_at_write=None if by_time else rng.randrange(1, most_writes),
            )
            return victims.run(order)

        code = run(resume=False, longest_s=0.12, most_writes=130)
        while code != 0:
            assert code == -signal.SIGKILL
            kills += 1
            if not folder.joinpath("journal").exists() or not begun(folder):
                assert shown_in(folder) == []
                kills = 0
                break
            if all(map(has_ended, folders_in(folder / "journal"))):
                code = 0
            elif kills < 3 and rng.random() < 0.3:
                again += 1
                code = run(resume=True, longest_s=0.12, most_writes=40)
            else:
                code = victims.run(Order(folder=str(folder), resume=True, forces=forces))
        else:
            check(folder, kills)
        deaths += kills
    assert point < 3 * N_POINTS
    assert again >= 20


def test_after_a_native_abort_the_session_goes_on(victims: Victims, tmp_path: Path) -> None:
    order = Order(folder=str(tmp_path), aborts_at_pass=6)
    assert victims.run(order) == -signal.SIGABRT
    assert shown_in(tmp_path)
    assert victims.run(Order(folder=str(tmp_path), resume=True)) == 0
    check(tmp_path, kills=1)


def test_the_audio_is_written_before_what_is_said_of_it(victims: Victims, tmp_path: Path) -> None:
    order = Order(folder=str(tmp_path), dies_at_write=90)
    assert victims.run(order) == -signal.SIGKILL
    (journal,) = folders_in(tmp_path / "journal")
    words = said(read_events(journal))
    assert words
    (audio,) = journal.glob("audio-*")
    assert audio.stat().st_size >= 2 * words[-1].end_s * 16_000
    assert json.loads(journal.joinpath("session.json").read_text())["version"] == 1
