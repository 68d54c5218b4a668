from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import pytest
from encoded_audio import wav_header
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.pcm_stdin import PcmStdinSource
from streaming.audio import SAMPLE_RATE, AudioChunk
from streaming.errors import SourceError


async def collect(source: PcmStdinSource) -> list[AudioChunk]:
    async with source:
        return [chunk async for chunk in source]


def read(data: bytes) -> list[AudioChunk]:
    return asyncio.run(collect(PcmStdinSource(io.BytesIO(data))))


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "wb", buffering=0) as writer:
        yield reader, writer


def test_every_sample_comes_through_at_full_scale_and_in_place() -> None:
    pcm = np.random.default_rng(0).integers(-32768, 32768, 50_000).astype("<i2")
    chunks = read(pcm.tobytes())
    position = 0
    for chunk in chunks:
        assert chunk.start_sample == position
        position = chunk.end_sample
    samples = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(samples, pcm / np.float32(32768))
    assert samples.dtype == np.float32


@given(st.lists(st.integers(1, 700), min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_writes_of_any_odd_sizes_give_the_same_samples(sizes: list[int]) -> None:
    class Dribble(io.BytesIO):
        writes = iter(sizes)

        def read(self, size: int | None = -1) -> bytes:
            return super().read(next(self.writes, 0))

    pcm = np.arange(sum(sizes), dtype="<i2")
    chunks = asyncio.run(collect(PcmStdinSource(Dribble(pcm.tobytes()))))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(samples * 32768, pcm[: sum(sizes) // 2])


def test_half_a_sample_at_the_end_is_left_out() -> None:
    chunks = read(b"\x00\x40" * 1_000 + b"\x7f")
    assert chunks[-1].end_sample == 1_000


def test_audio_comes_through_while_the_writer_goes_on(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe

    async def scenario() -> None:
        async with PcmStdinSource(reader) as source:
            for _ in range(3):
                writer.write(bytes(3_200))
                received = 0
                while received < 1_600:
                    chunk = await asyncio.wait_for(anext(source), 2)
                    received += len(chunk.samples)
            assert received == 1_600
            writer.close()
            with pytest.raises(StopAsyncIteration):
                await anext(source)

    asyncio.run(scenario())


def test_a_silent_writer_does_not_hold_up_cancellation(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, writer = pipe

    async def scenario() -> float:
        task = asyncio.create_task(collect(PcmStdinSource(reader)))
        await asyncio.sleep(0.1)
        start = time.monotonic()
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        return time.monotonic() - start

    assert asyncio.run(scenario()) < 0.1
    writer.close()
    for thread in threading.enumerate():
        if thread.name == "pcm source":
            thread.join(2)


def test_a_silent_writer_does_not_hold_up_the_end_of_the_program() -> None:
    program = """
import asyncio
from sources.pcm_stdin import PcmStdinSource

async def main():
    async with PcmStdinSource() as source:
        try:
            await asyncio.wait_for(anext(source), 0.2)
        except TimeoutError:
            print("gave up")

asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.wait(20) == 0
        assert process.stdout.read().strip() == b"gave up"
        assert process.stderr.read() == b""


def test_a_writer_is_made_to_wait_when_nobody_takes_the_audio(
    pipe: tuple[BinaryIO, BinaryIO],
) -> None:
    reader, writer = pipe
    os.set_blocking(writer.fileno(), False)

    async def scenario() -> int:
        written = 0
        async with PcmStdinSource(reader) as source:
            await asyncio.sleep(0.05)
            for _ in range(200):
                written += writer.write(bytes(32_000)) or 0
                await asyncio.sleep(0.001)
            writer.close()
            received = sum([len(chunk.samples) async for chunk in source])
        assert received == written // 2
        return written

    assert asyncio.run(scenario()) < 400_000  # of the 6,400,000 offered


def failure(stream: BinaryIO | None) -> str:
    with pytest.raises(SourceError) as caught:
        asyncio.run(collect(PcmStdinSource(stream)))
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\x01"])
def test_no_audio_at_all_is_an_error(data: bytes) -> None:
    assert failure(io.BytesIO(data)).startswith("no audio came on standard input")


def test_a_media_file_is_not_taken_for_raw_audio() -> None:
    message = failure(io.BytesIO(wav_header(3_200) + bytes(3_200)))
    assert "carries a wav file, not raw s16le 16 kHz mono audio; convert it: ffmpeg" in message


def test_a_closed_stream_is_told() -> None:
    stream = io.BytesIO()
    stream.close()
    assert "is closed" in failure(stream)


def test_a_missing_standard_input_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "is closed" in failure(None)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_is_not_waited_for() -> None:
    master, slave = os.openpty()
    with os.fdopen(master, "rb"), os.fdopen(slave, "rb") as terminal:
        assert "is a terminal; pipe" in failure(terminal)


@pytest.mark.skipif(sys.platform == "win32", reason="needs non-blocking pipes")
def test_a_non_blocking_pipe_is_told(pipe: tuple[BinaryIO, BinaryIO]) -> None:
    reader, _ = pipe
    os.set_blocking(reader.fileno(), False)
    assert "does not block" in failure(reader)


def test_a_stream_that_fails_ends_in_one_line_after_what_it_gave() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            if not data:
                raise OSError(5, "Input/output error")
            return data

    async def scenario() -> None:
        async with PcmStdinSource(Failing(bytes(6_400))) as source:
            assert (await anext(source)).end_sample == SAMPLE_RATE // 10
            assert (await anext(source)).end_sample == SAMPLE_RATE // 5
            with pytest.raises(SourceError, match=r"cannot be read: .*Input/output error"):
                await anext(source)

    asyncio.run(scenario())


def test_the_program_says_whether_the_writer_is_live() -> None:
    assert not PcmStdinSource().live
    assert PcmStdinSource(live=True).live


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"ID3\x04", "mp3"), (b"\0\0\0\x20ftypisom", "mp4"), (b"\x1aE\xdf\xa3", "webm")],
)
def test_compressed_audio_is_told_from_raw_audio(head: bytes, kind: str) -> None:
    with pytest.raises(SourceError, match=f"a {kind}.* file, not raw"):
        asyncio.run(collect(PcmStdinSource(io.BytesIO(head + bytes(4000)))))
