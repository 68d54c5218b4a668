from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from caption_reader import Reader, Speech

from sinks.publisher import Publisher, TooManyViewersError, page_for
from streaming.errors import ConfigurationError
from streaming.events import Event, event_to_json
from streaming.protocols import Sink
from streaming.testing import check_sink


class Viewer:
    """Keeps what it is sent, and goes when told to."""

    def __init__(self, publisher: Publisher) -> None:
        self.reader = Reader()
        self.room = asyncio.Event()
        self.room.set()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.following = asyncio.create_task(publisher.follow(self._send, self._incoming()))

    async def _send(self, data: bytes) -> None:
        await self.room.wait()
        self.reader.take(data)

    async def _incoming(self) -> AsyncIterator[str]:
        yield "hello"
        await self.gone


async def write(publisher: Publisher, *events: Event) -> None:
    for event in events:
        await publisher.write(event)
        await asyncio.sleep(0)


def test_it_keeps_the_contract_of_a_sink() -> None:
    assert isinstance(Publisher(), Sink)
    asyncio.run(check_sink(Publisher))


@pytest.mark.parametrize(
    "options", [{"clear_after_s": 1e9}, {"max_viewers": -1}, {"stall_limit_s": 0.0}]
)
def test_values_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Publisher(**options)


def test_early_late_and_very_late_viewers_know_the_same() -> None:
    async def main() -> None:
        speech = Speech()
        events: list[Event] = [
            speech.start("me"),
            speech.commit(" One."),
            speech.final(),
            speech.commit(" Two."),
        ]
        async with Publisher() as publisher:
            early = Viewer(publisher)
            await asyncio.sleep(0)
            await write(publisher, *events[:2])
            late = Viewer(publisher)
            await asyncio.sleep(0)
            assert publisher.n_viewers == 2
            await write(publisher, *events[2:])
        very_late = Viewer(publisher)
        for viewer in (early, late, very_late):
            async with asyncio.timeout(10):
                await viewer.following
        assert publisher.n_viewers == 0
        assert early.reader.text("a") == " One. Two."
        assert early.reader.known() == late.reader.known() == very_late.reader.known()
        assert early.reader.events == [json.loads(event_to_json(event)) for event in events]

    asyncio.run(main())


def test_what_ends_the_incoming_ends_the_viewer_alone() -> None:
    async def main() -> None:
        async with Publisher() as publisher:
            left, broken, stays = Viewer(publisher), Viewer(publisher), Viewer(publisher)
            await asyncio.sleep(0.1)
            left.gone.set_result(None)
            broken.gone.set_exception(ConnectionError("cut"))
            async with asyncio.timeout(10):
                await left.following
                with pytest.raises(ConnectionError, match="cut"):
                    await broken.following
            assert publisher.n_viewers == 1
            assert not stays.following.done()
        async with asyncio.timeout(10):
            await stays.following

    asyncio.run(main())


def test_a_viewer_that_takes_nothing_is_given_up() -> None:
    async def main() -> None:
        async with Publisher(stall_limit_s=0.05) as publisher:
            viewer = Viewer(publisher)
            viewer.room.clear()
            with pytest.raises(TimeoutError):
                await viewer.following
            assert publisher.n_viewers == 0

    asyncio.run(main())


@pytest.mark.parametrize("most", [0, 2])
def test_there_are_no_more_viewers_than_may_be(most: int) -> None:
    async def main() -> None:
        async with Publisher(max_viewers=most) as publisher:
            viewers = [Viewer(publisher) for _ in range(most)]
            await asyncio.sleep(0)
            with pytest.raises(TooManyViewersError, match=f"there are {most} viewers already"):
                await Viewer(publisher).following
            assert publisher.n_viewers == most == len(viewers)

    asyncio.run(main())


def test_a_viewer_that_is_cancelled_leaves_nothing() -> None:
    async def main() -> None:
        async with Publisher() as publisher:
            viewer = Viewer(publisher)
            await asyncio.sleep(0.01)
            viewer.following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await viewer.following
            assert publisher.n_viewers == 0
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize("hosts", [[], ["a", "b"], ["a;script-src *"], [""]])
def test_a_page_for_no_host_is_refused(hosts: list[str]) -> None:
    assert page_for(hosts).status == 400


def test_a_page_may_speak_to_its_host_alone() -> None:
    page = page_for(["captions.example:8443"])
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src ws://captions.example:8443 wss://captions.example:8443;" in policy
    assert page.headers["Content-Length"] == str(len(page.body))
