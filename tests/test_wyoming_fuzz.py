"""Whatever is sent to the Wyoming server, it stays up and answers in the protocol's words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import cli_plugin
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_server import eventually
from wyoming_server import Served, pcm, serving, transcribe

# isort: split
from wyoming.event import async_read_event

SAID = cli_plugin.talk(4)
TEXT = "".join(word.text for word in SAID.words).strip()
AUDIO = pcm(SAID.audio())
FORM = {"rate": 16_000, "width": 2, "channels": 1}
ANSWERS = {
    *("info", "pong", "error"),
    *("transcript-start", "transcript-chunk", "transcript", "transcript-stop"),
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = st.sampled_from(["rate", "width", "channels", "language", "name", "text", "x"])
TYPES = st.sampled_from(
    [
        *("describe", "ping", "transcribe", "audio-start", "audio-chunk", "audio-stop"),
        *("transcript", "select-program", "pong", ""),
    ]
)


def event(kind: str, data: dict[str, Any] | None = None, payload: bytes = b"") -> bytes:
    header: dict[str, Any] = {"type": kind}
    if data is not None:
        header["data"] = data
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + payload


SOUND = st.integers(0, len(AUDIO) - 4_000).map(
    lambda at: event("audio-chunk", FORM, AUDIO[at // 2 * 2 :][:4_000])
)
PIECES = st.one_of(
    st.just(event("audio-start", FORM)),
    st.just(event("audio-stop")),
    st.just(event("describe")),
    SOUND,
    st.builds(event, TYPES, st.dictionaries(FIELDS, JSON_VALUES, max_size=3)),
    st.builds(event, TYPES, st.just(FORM), st.binary(max_size=64)),
    st.builds(
        lambda header: json.dumps(header).encode() + b"\n",
        st.fixed_dictionaries(
            {"type": TYPES | JSON_VALUES},
            optional={
                "data": JSON_VALUES,
                "data_length": JSON_VALUES,
                "payload_length": JSON_VALUES,
            },
        ),
    ),
    st.binary(max_size=200),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Events of all kinds, some of them with bytes that are changed or missing."""
    data = bytearray(b"".join(draw(st.lists(PIECES, max_size=12))))
    for _ in range(draw(st.integers(0, 2)) if data else 0):
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        if not data:
            break
    return bytes(data)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("wyoming")
    with serving(folder, "--max-sessions", "1", backend="scripted:utterances=4") as served:
        yield served


async def answers(served: Served, data: bytes) -> list[str]:
    """Types of the events that come back, to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        async with asyncio.timeout(30):
            try:
                writer.write(data)
                writer.write_eof()
                await writer.drain()
            except OSError:  # it has closed already
                pass
            types = []
            while (answer := await async_read_event(reader)) is not None:
                types.append(answer.type)
            return types
    finally:
        writer.close()


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=streams())
def test_any_stream_is_answered_in_order_and_closed(server: Served, data: bytes) -> None:
    types = asyncio.run(answers(server, data))
    assert set(types) <= ANSWERS
    told = [kind for kind in types if kind.startswith("transcript")]
    while told:
        assert told.pop(0) == "transcript-start"
        while told and told[0] == "transcript-chunk":
            told.pop(0)
        if told:  # otherwise it was left or ended in the middle
            assert told[:2] == ["transcript", "transcript-stop"]
            del told[:2]


@pytest.fixture(scope="module", autouse=True)
def unharmed(server: Served) -> Iterator[None]:
    async def hear() -> str:
        async with server.client() as client:
            return (await transcribe(client, AUDIO)).transcript.text

    assert asyncio.run(hear()) == TEXT
    process = psutil.Process(server.process.pid)
    files, memory = process.num_fds(), process.memory_info().rss
    yield
    assert asyncio.run(hear()) == TEXT
    eventually(lambda: process.num_fds() <= files, 20)
    assert process.memory_info().rss - memory < 32 * 2**20
    usual = ("info: ", "transcribed ", "compiling ")
    assert not [line for line in server.lines if not line.startswith(usual)]
