from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from sinks._output import Output
from sinks.jsonl import JsonlSink
from sinks.subtitles import SrtSink
from streaming.errors import SinkError
from streaming.events import Committed, Notice, Word

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the platform has no /dev/full")


async def write(target: str | Path | TextIO, *texts: str) -> None:
    output = Output(target)
    await output.open()
    for text in texts:
        await output.write(text)
    await output.close()


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe whose writing end is a text stream as standard output is one."""
    reader, writer = os.pipe()
    stream = open(writer, "w", encoding="ascii")  # noqa: SIM115
    yield reader, stream
    with suppress(OSError):
        stream.close()
    with suppress(OSError):
        os.close(reader)


def test_text_reaches_the_file_before_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"

    async def main() -> None:
        output = Output(path)
        await output.open()
        await output.write("one\n")
        assert path.read_text() == "one\n"
        await output.close("two\n")

    asyncio.run(main())
    assert path.read_text() == "one\ntwo\n"


def test_an_output_is_busy_until_all_it_was_given_is_written(pipe: tuple[int, TextIO]) -> None:
    reader, stream = pipe

    async def main() -> None:
        output = Output(stream)
        busy = [output.busy]
        await output.open()
        writing = asyncio.create_task(output.write("x" * 1_000_000))
        await asyncio.sleep(0.05)
        busy.append(output.busy)
        left = 1_000_000
        while left:
            left -= len(await asyncio.to_thread(os.read, reader, left))
        await writing
        busy.append(output.busy)
        assert busy == [False, True, False]
        await output.close()

    asyncio.run(main())


def test_files_are_utf_8_with_line_feeds_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("a much longer text than the new one")
    asyncio.run(write(path, "été\n", "日本\n"))
    assert path.read_bytes() == "été\n日本\n".encode()


def test_a_stream_is_flushed_and_left_open() -> None:
    stream = io.StringIO()
    asyncio.run(write(stream, "text"))
    assert stream.getvalue() == "text"


def test_a_closed_stream_is_one_clear_line() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(SinkError, match=r"^cannot write the stream: I/O operation on closed file"):
        asyncio.run(write(stream, "text"))


def test_a_missing_folder_is_told_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "captions" / "a.srt"
    with pytest.raises(SinkError) as caught:
        asyncio.run(write(path))
    folder = tmp_path / "captions"
    assert str(caught.value) == (
        f"cannot write {path}: the folder {folder} does not exist; create it first"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="Is a directory"):
        asyncio.run(write(tmp_path))


@needs_full
def test_a_full_disk_is_one_clear_line() -> None:
    with pytest.raises(SinkError) as caught:
        asyncio.run(write(FULL, "text"))
    assert str(caught.value) == "cannot write /dev/full: No space left on device"


@needs_full
def test_a_sink_whose_disk_is_full_leaves_quietly_after_the_first_error() -> None:
    async def main() -> None:
        async with JsonlSink(FULL) as sink:
            await sink.write(Notice(message="x"))

    with pytest.raises(SinkError, match="No space left"):
        asyncio.run(main())


def test_a_reader_that_left_standard_output_is_a_broken_pipe(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, TextIO]
) -> None:
    reader, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        asyncio.run(write("-", "text"))


def test_a_reader_that_left_a_named_pipe_is_a_sink_error(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    async def main() -> None:
        output = Output(path)
        opening = asyncio.ensure_future(output.open())
        reader = await asyncio.to_thread(os.open, path, os.O_RDONLY)
        await opening
        os.close(reader)
        try:
            await output.write("text")
        finally:
            await output.close()

    with pytest.raises(SinkError, match="Broken pipe"):
        asyncio.run(main())


def test_standard_output_is_utf_8_whatever_its_encoding(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, TextIO]
) -> None:
    reader, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write("before ")
    asyncio.run(write("-", "日本\n"))
    assert os.read(reader, 100) == "before 日本\n".encode()
    assert not stream.closed


def test_a_closed_standard_output_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SinkError, match=r"^cannot write standard output: it is closed$"):
        asyncio.run(write("-", "text"))


def test_a_full_non_blocking_pipe_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, TextIO]
) -> None:
    reader, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)
    os.set_blocking(stream.fileno(), False)
    text = "x" * 300_000  # more than a pipe holds

    async def main() -> bytes:
        writing = asyncio.ensure_future(write("-", text))
        got = b""
        while len(got) < len(text):
            got += await asyncio.to_thread(os.read, reader, 65_536)
        await writing
        return got

    assert asyncio.run(main()).decode() == text


def test_a_reader_that_stalls_blocks_neither_the_loop_nor_cancelling_nor_closing(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, TextIO]
) -> None:
    reader, stream = pipe
    monkeypatch.setattr(sys, "stdout", stream)

    async def main() -> None:
        output = Output("-")
        await output.open()
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(output.write("x" * 300_000), 0.05)
        assert time.monotonic() - begun < 0.5
        with pytest.raises(SinkError, match="its reader takes no data"):
            await output.close("last")
        assert time.monotonic() - begun < 2.0
        # Once read, what was handed over arrives after all.
        got = b""
        while not got.endswith(b"last"):
            got += await asyncio.to_thread(os.read, reader, 65_536)
        assert len(got) == 300_004

    asyncio.run(main())


@needs_full
def test_an_error_on_its_way_is_not_hidden_by_a_failing_close() -> None:
    waiting = Committed(words=(Word(" waits", 0.0, 1.0, 1.0),))

    async def main(error: Exception | None) -> None:
        async with SrtSink(FULL) as sink:
            await sink.write(waiting)
            if error is not None:
                raise error

    with pytest.raises(SinkError, match="No space left"):
        asyncio.run(main(None))
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(main(KeyError("mine")))


def test_head_ends_a_process_cleanly_and_at_once() -> None:
    program = """
import asyncio, itertools, sys
from sinks.jsonl import JsonlSink
from streaming.events import Committed
async def main():
    async with JsonlSink("-") as sink:
        for seq in itertools.count():
            await sink.write(Committed(seq=seq, text="x" * 1000))
try:
    asyncio.run(main())
except BrokenPipeError:
    sys.exit(0)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert b'"seq": 0' in process.stdout.readline()
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=20), complaints) == (0, b"")


def test_a_process_whose_reader_stalls_still_ends() -> None:
    program = """
import asyncio
from sinks._output import Output
async def main():
    output = Output("-")
    await output.open()
    writing = asyncio.ensure_future(output.write("x" * 300_000))
    await asyncio.sleep(0.1)
    writing.cancel()
    await output.close("last", quiet=True)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    ) as process:
        assert process.wait(timeout=20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_the_events_of_a_killed_process_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    program = f"""
import asyncio, os
from sinks.jsonl import JsonlSink
from streaming.events import Committed
async def main():
    async with JsonlSink({str(path)!r}) as sink:
        await sink.write(Committed(text=" spoken"))
        os._exit(9)
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent.parent, check=False)
    assert Committed(text=" spoken").text in path.read_text()
