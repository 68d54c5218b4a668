"""Events from and to a stream, within bounds.

An event is a line of JSON, which may be followed by more JSON and by bytes; the line tells how
many of each. The package's own reader believes every length, and gives in to what is no JSON
object without a word; this one tells what is wrong.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ..server.refusal import Refusal
from .vocabulary import Event, async_write_event

__all__ = ["MAX_DATA_BYTES", "MAX_HEADER_BYTES", "MAX_PAYLOAD_BYTES", "read_event", "write_event"]

MAX_HEADER_BYTES = 64 * 1024
"""Of the line. Stream readers are to have it as their limit."""
MAX_DATA_BYTES = 256 * 1024
MAX_PAYLOAD_BYTES = 1024 * 1024
"""Half a minute of speech as it usually comes, in one piece; usual are pieces of 10 to 100 ms."""
_WRITE_S = 10.0
"""A client that takes nothing for this long, while there is no room for more, is gone."""


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """The next event; None at the end of the stream.

    Raises:
        Refusal: "bad_event", "too_large": what comes after it cannot be read any more.
        OSError: the connection is lost.
    """
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise _torn() from None
    except asyncio.LimitOverrunError:
        raise Refusal(
            "too_large", f"the line of an event has at most {MAX_HEADER_BYTES} bytes"
        ) from None
    header = _object(line)
    kind = header.get("type")
    if not isinstance(kind, str):
        raise Refusal("bad_event", "an event needs a type")
    n_data = _length(header, "data_length", MAX_DATA_BYTES)
    n_payload = _length(header, "payload_length", MAX_PAYLOAD_BYTES)
    data = header.get("data")
    if not isinstance(data, dict):
        if data is not None:
            raise Refusal("bad_event", "the data of an event is a JSON object")
        data = {}
    try:
        if n_data:
            data |= _object(await reader.readexactly(n_data))
        payload = await reader.readexactly(n_payload) if n_payload else None
    except asyncio.IncompleteReadError:
        raise _torn() from None
    return Event(kind, data, payload)


async def write_event(writer: asyncio.StreamWriter, event: Event) -> None:
    """Send an event; returns once there is room for another.

    Raises:
        OSError: the connection is lost, or nobody reads.
    """
    async with asyncio.timeout(_WRITE_S):
        await async_write_event(event, writer)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refusal("bad_event", "an event begins with a JSON object on a line of its own")
    return value


def _length(header: dict[str, Any], name: str, most: int) -> int:
    value = header.get(name) or 0
    if type(value) is not int or value < 0:
        raise Refusal("bad_event", f"{name} is a number of bytes")
    if value > most:
        raise Refusal("too_large", f"{name} is at most {most}; send smaller pieces")
    return value


def _torn() -> Refusal:
    return Refusal("bad_event", "the stream ended in the middle of an event")
