"""What waits, what is held up and what goes, on a clock that is not the machine's."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise

import numpy as np
from virtual_time import run_virtual

from streaming.app.server.feed import Feed
from streaming.audio import AudioChunk, Samples, samples_from_seconds
from streaming.events import Notice
from streaming.options import Configure, TranscriberOptions
from streaming.protocols import SourceItem


def sound(duration_s: float) -> Samples:
    return np.full(samples_from_seconds(duration_s), 0.1, np.float32)


async def take(feed: Feed, times_real_time: float, taken: list[SourceItem]) -> None:
    """Read on at a speed, as a session does."""
    async for item in feed:
        taken.append(item)
        if isinstance(item, AudioChunk):
            await asyncio.sleep(item.duration_s / times_real_time)


async def send(feed: Feed, duration_s: float, *, every_s: float, piece_s: float = 0.1) -> None:
    for _ in range(round(duration_s / piece_s)):
        feed.append(sound(piece_s))
        await feed.room()
        await asyncio.sleep(every_s)


def run(
    duration_s: float, *, every_s: float, speed: float, max_rate: float = 0.0, piece_s: float = 0.1
) -> tuple[list[SourceItem], float]:
    """What a session gets that hears at ``speed``, and how long the client sent."""

    async def scenario() -> tuple[list[SourceItem], float]:
        feed, taken = Feed(max_rate), list[SourceItem]()
        async with feed:
            taking = asyncio.ensure_future(take(feed, speed, taken))
            await send(feed, duration_s, every_s=every_s, piece_s=piece_s)
            sent_s = asyncio.get_running_loop().time()
            feed.end()
            await taking
        return taken, sent_s

    return run_virtual(scenario())


def audio(items: list[SourceItem]) -> list[AudioChunk]:
    return [item for item in items if isinstance(item, AudioChunk)]


def lost(items: list[SourceItem]) -> int:
    chunks = audio(items)
    return sum(b.start_sample - a.end_sample for a, b in pairwise(chunks))


def test_what_is_appended_comes_out_in_order_with_what_was_asked_for_in_its_place() -> None:
    async def scenario() -> list[SourceItem]:
        feed = Feed(0)
        feed.append(sound(0.25))
        feed.flush()
        feed.configure(TranscriberOptions(language="de"))
        feed.append(sound(0.1))
        feed.skip(800, "connection")
        feed.append(sound(0.1))
        feed.skip(1600, "connection")
        feed.end()
        feed.append(sound(1.0))  # too late
        return [item async for item in feed]

    items = run_virtual(scenario())
    kinds = [type(item) for item in items]
    assert kinds == [*[AudioChunk] * 3, Configure, *[AudioChunk] * 4]
    assert [(c.start_sample, c.end_sample, c.gap_reason) for c in audio(items)] == [
        (0, 1600, ""),
        (1600, 3200, ""),
        (3200, 4000, ""),
        (4000, 5600, ""),
        # The last sample of what was skipped is there, as silence, and tells of the rest.
        (6399, 7999, "connection"),
        (7999, 8000, ""),
        (9599, 9600, "connection"),
    ]


def test_the_smallest_pieces_are_put_together_and_of_wishes_between_no_audio_one_stays() -> None:
    async def scenario() -> list[SourceItem]:
        feed = Feed(0)
        for _ in range(3200):
            feed.append(np.zeros(1, np.float32))
        for prompt in "abc":
            feed.flush()
            feed.configure(TranscriberOptions(prompt=prompt))
        feed.flush()
        feed.end()
        return [item async for item in feed]

    items = run_virtual(scenario())
    assert [len(c.samples) for c in audio(items)] == [1600, 1600]
    (wish,) = items[2:]
    assert isinstance(wish, Configure)
    assert wish.options.prompt == "c"


def test_who_sends_wishes_between_the_smallest_pieces_has_to_wait() -> None:
    async def scenario() -> int:
        feed = Feed(0)
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while True:
                    feed.append(np.zeros(1, np.float32))
                    feed.flush()
                    await feed.room()
                    sent += 1
        return sent

    assert run_virtual(scenario()) < 1000


def test_it_knows_when_audio_came() -> None:
    async def scenario() -> list[float]:
        feed = Feed(0)
        feed.append(sound(1.0))
        await asyncio.sleep(8)  # muted: nothing is sent
        feed.append(sound(1.0))
        await asyncio.sleep(0.5)
        return [feed.age_s(at_s) for at_s in (0.7, 1.0, 1.7, 9.0)]

    assert run_virtual(scenario()) == [8.5, 8.5, 0.5, 0.0]


def test_a_fast_client_waits_for_a_slow_session_and_loses_nothing() -> None:
    items, sent_s = run(120, every_s=0.0, speed=0.5)
    assert lost(items) == 0
    assert sum(len(c.samples) for c in audio(items)) == 120 * 16_000
    assert sent_s > 120 / 0.5 - 15


def test_a_live_client_of_a_slow_session_is_never_held_up_and_the_oldest_audio_goes() -> None:
    items, sent_s = run(120, every_s=0.1, speed=0.5)
    assert 119.9 < sent_s < 121
    assert 50 < lost(items) / 16_000 < 70
    gaps = [c.gap_reason for c in audio(items) if c.gap_reason]
    assert set(gaps) == {"overload"}


def test_a_live_client_of_a_session_that_keeps_up_loses_nothing_and_does_not_wait() -> None:
    items, sent_s = run(60, every_s=0.1, speed=1.5)
    assert lost(items) == 0
    assert sent_s < 61


def test_who_comes_back_may_send_what_it_missed_and_loses_nothing() -> None:
    async def scenario() -> list[SourceItem]:
        feed, taken = Feed(2.0), list[SourceItem]()
        async with feed:
            taking = asyncio.ensure_future(take(feed, 1.3, taken))
            await send(feed, 20, every_s=0.1)
            await asyncio.sleep(40)  # the connection was gone; the client kept its audio
            await send(feed, 40, every_s=0.0)
            await send(feed, 60, every_s=0.1)
            feed.end()
            await taking
        return taken

    items = run_virtual(scenario())
    assert lost(items) == 0
    assert sum(len(c.samples) for c in audio(items)) == 120 * 16_000


def test_audio_faster_than_allowed_is_slowed_down_and_that_is_told_once() -> None:
    items, sent_s = run(120, every_s=0.0, speed=100, max_rate=2.0)
    assert sent_s >= (120 - 10) / 2 - 0.2
    told = [item for item in items if isinstance(item, Notice)]
    assert [notice.code for notice in told] == ["max_rate"]
    assert lost(items) == 0


def test_one_frame_of_a_minute_is_taken_whole() -> None:
    items, _ = run(60, every_s=0.0, speed=1.0, piece_s=60.0)
    assert lost(items) == 0
    assert len(audio(items)) == 600


def test_waiting_ends_with_the_session() -> None:
    async def scenario() -> float:
        feed = Feed(0)
        feed.append(sound(60))
        waiting = asyncio.ensure_future(feed.room())
        await asyncio.sleep(3)
        feed.end()
        await waiting
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 3
