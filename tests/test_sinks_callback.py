from __future__ import annotations

import asyncio

import pytest

from sinks.callback import CallbackSink
from sinks.discard import DiscardSink
from streaming.events import Event, Notice
from streaming.protocols import Sink


def test_both_are_sinks() -> None:
    assert isinstance(CallbackSink(print), Sink)
    assert isinstance(DiscardSink(), Sink)


def test_a_plain_function_gets_every_event_in_order() -> None:
    got: list[Event] = []

    async def main() -> None:
        async with CallbackSink(got.append) as sink, DiscardSink() as nowhere:
            for seq in range(3):
                await sink.write(Notice(seq=seq))
                await nowhere.write(Notice(seq=seq))

    asyncio.run(main())
    assert [event.seq for event in got] == [0, 1, 2]


def test_a_coroutine_function_is_awaited_before_write_returns() -> None:
    got: list[int] = []

    async def slow(event: Event) -> None:
        await asyncio.sleep(0.001)
        got.append(event.seq)

    async def main() -> None:
        async with CallbackSink(slow) as sink:
            await sink.write(Notice(seq=7))
            assert got == [7]

    asyncio.run(main())


def test_what_the_function_raises_reaches_the_caller() -> None:
    def fail(event: Event) -> None:
        raise ZeroDivisionError(event.seq)

    async def main() -> None:
        async with CallbackSink(fail) as sink:
            await sink.write(Notice(seq=7))

    with pytest.raises(ZeroDivisionError, match="7"):
        asyncio.run(main())
