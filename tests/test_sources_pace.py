from __future__ import annotations

import asyncio

import numpy as np
from virtual_time import run_virtual

from sources._pace import Pacer
from streaming.audio import AudioChunk


def handed_out(pacer: Pacer, arrivals_s: list[float]) -> list[float]:
    """When chunks of 0.1 s are handed out that arrive at these times."""

    async def scenario() -> list[float]:
        clock, times = asyncio.get_running_loop().time, []
        for index, arrival_s in enumerate(arrivals_s):
            await asyncio.sleep(max(0.0, arrival_s - clock()))
            await pacer.wait_for(AudioChunk(np.zeros(1_600, np.float32), 1_600 * index))
            times.append(round(clock(), 3))
        return times

    return run_virtual(scenario())


def test_what_arrives_in_bursts_is_handed_out_evenly() -> None:
    bursts = [0.0] * 6 + [0.3] * 4
    assert handed_out(Pacer("realtime", catch_up=1.5), bursts) == [
        round(0.1 * n, 3) for n in range(1, 11)
    ]


def test_after_a_stall_a_limited_pacer_catches_up_until_it_is_on_time_again() -> None:
    stalled = [0.0, 0.0, 1.2, *[1.2] * 30]
    times = handed_out(Pacer("realtime", catch_up=2.0), stalled)
    assert times[:6] == [0.1, 0.2, 1.2, 1.25, 1.3, 1.35]
    assert times[-1] == 3.3  # its place on the clock


def test_a_pacer_without_a_limit_catches_up_at_once() -> None:
    assert handed_out(Pacer("realtime"), [0.0, 0.5, 0.5, 0.5, 0.5, 0.5]) == [
        0.1, 0.5, 0.5, 0.5, 0.5, 0.6
    ]  # fmt: skip
