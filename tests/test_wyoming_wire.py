"""Reading and writing events: bounds, cuts, and agreement with the package."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.app.server.refusal import Refusal
from streaming.app.wyoming.vocabulary import Event
from streaming.app.wyoming.wire import (
    MAX_DATA_BYTES,
    MAX_HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    read_event,
    write_event,
)

# isort: split
from wyoming.event import async_read_event

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
EVENTS = st.builds(
    Event,
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON_VALUES, max_size=4),
    st.none() | st.binary(min_size=1, max_size=200),
)


class Sent:
    """Enough of a stream writer to collect what an event becomes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def writelines(self, parts: tuple[bytes, ...]) -> None:
        self.data += b"".join(parts)

    async def drain(self) -> None:
        pass


def read_all(*pieces: bytes, ends: bool = True) -> list[Event]:
    """Events of a stream that comes in these pieces."""

    async def run() -> list[Event]:
        reader = asyncio.StreamReader(limit=MAX_HEADER_BYTES)

        async def feed() -> None:
            for piece in pieces:
                reader.feed_data(piece)
                await asyncio.sleep(0)
            if ends:
                reader.feed_eof()

        feeding = asyncio.create_task(feed())
        events = []
        while (event := await read_event(reader)) is not None:
            events.append(event)
        await feeding
        return events

    return asyncio.run(run())


def written(events: list[Event]) -> bytes:
    sent = Sent()
    for event in events:
        asyncio.run(write_event(sent, event))  # type: ignore[arg-type]
    return sent.data


@settings(deadline=None, max_examples=60)
@given(st.lists(EVENTS, max_size=3), st.lists(st.integers(0, 800), max_size=4))
def test_what_is_written_is_read_however_it_is_cut(events: list[Event], cuts: list[int]) -> None:
    data = written(events)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert read_all(*(data[a:b] for a, b in pairwise(edges))) == events


@settings(deadline=None, max_examples=60)
@given(EVENTS)
def test_the_package_reads_the_same(event: Event) -> None:
    async def run() -> Event | None:
        reader = asyncio.StreamReader()
        reader.feed_data(written_inside(event))
        reader.feed_eof()
        return await async_read_event(reader)

    def written_inside(event: Event) -> bytes:
        header: dict[str, Any] = {"type": event.type}
        data = json.dumps(event.data).encode()
        payload = event.payload or b""
        header |= {"data_length": len(data), "payload_length": len(payload)}
        return json.dumps(header).encode() + b"\n" + data + payload

    assert asyncio.run(run()) == read_all(written_inside(event))[0]


def test_data_after_the_line_goes_over_data_in_it() -> None:
    (event,) = read_all(b'{"type": "x", "data": {"a": 1, "b": 1}, "data_length": 8}\n{"b": 2}')
    assert event.data == {"a": 1, "b": 2}


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200) | st.lists(JSON_VALUES).map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_events_or_are_refused(data: bytes) -> None:
    for ending in (b"", b"\n"):
        with suppress(Refusal):
            read_all(data + ending)


@pytest.mark.parametrize(
    ("name", "most"), [("data_length", MAX_DATA_BYTES), ("payload_length", MAX_PAYLOAD_BYTES)]
)
def test_lengths_are_believed_up_to_their_bounds(name: str, most: int) -> None:
    def event(length: int) -> bytes:
        return json.dumps({"type": "x", name: length}).encode() + b"\n"

    body = b'{"a": "' + b"x" * (most - 9) + b'"}'
    assert len(body) == most
    assert len(read_all(event(most) + body)) == 1
    with pytest.raises(Refusal, match=f"{name} is at most {most}"):
        read_all(event(most + 1), ends=False)  # at once, without waiting for the rest


def test_a_line_may_have_so_many_bytes() -> None:
    def event(n_bytes: int) -> bytes:
        return b'{"type": "' + b"x" * (n_bytes - 13) + b'"}\n'

    longest = event(MAX_HEADER_BYTES)
    assert len(longest) == MAX_HEADER_BYTES
    assert len(read_all(longest)) == 1
    with pytest.raises(Refusal, match="the line of an event"):
        read_all(event(MAX_HEADER_BYTES + 2), ends=False)


def test_an_event_that_is_cut_is_told_from_the_end() -> None:
    whole = b'{"type": "x", "payload_length": 3}\nabc'
    for end in range(1, len(whole)):
        with pytest.raises(Refusal, match="in the middle of an event"):
            read_all(whole[:end])


def test_who_takes_nothing_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(Sent):
        async def drain(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("streaming.app.wyoming.wire._WRITE_S", 0.01)
    with pytest.raises(TimeoutError):
        asyncio.run(write_event(Stuck(), Event("x")))  # type: ignore[arg-type]
