from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from fakes import (
    LoudnessVad,
    Script,
    ScriptedBackend,
    ScriptedSource,
    chunks_of,
    make_parts,
    say,
    until,
    worker_for,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sources._audio_writer import AudioWriter, Pcm
from sources.file import FileSource
from sources.record import RecordingSource
from sources.replay import ReplaySource
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, Samples, samples_from_seconds
from streaming.errors import ConfigurationError, SinkError, SourceError
from streaming.evaluation import check_events
from streaming.events import (
    AudioDropped,
    Event,
    Flushed,
    Notice,
    event_from_json,
    event_to_json,
)
from streaming.pipeline import Pipeline
from streaming.protocols import Source, SourceItem
from streaming.testing import check_source

FORMATS = pytest.mark.parametrize("extension", [".wav", ".flac", ".FLAC"])


def noise(n: int, level: float = 0.5) -> Samples:
    return np.random.default_rng(n).uniform(-level, level, n).astype(np.float32)


async def drain(source: Source) -> list[SourceItem]:
    async with source:
        return [item async for item in source]


def record(items: Iterable[AudioChunk | Flush], path: Path) -> list[SourceItem]:
    return asyncio.run(drain(RecordingSource(ScriptedSource(items), path)))


def audio(items: Iterable[SourceItem]) -> Samples:
    pieces = [item.samples for item in items if isinstance(item, AudioChunk)]
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def read(path: Path) -> Samples:
    return audio(asyncio.run(drain(FileSource(path, pace="fast"))))


# -- the file -----------------------------------------------------------------------------------


@FORMATS
def test_the_file_holds_what_is_passed_on_bit_for_bit(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"talk{extension}"
    samples = np.concatenate([noise(20_001), [1.0, -1.0, 0.0, 1e-6]]).astype(np.float32)
    passed = record(chunks_of(samples, [1600, 7, 4000]), path)
    assert np.array_equal(read(path), audio(passed))
    assert np.abs(audio(passed) - samples).max() <= 1 / 32768
    assert np.sqrt(np.mean((audio(passed)[:20_001] - samples[:20_001]) ** 2)) < 10 ** (-98 / 20)


@FORMATS
def test_audio_of_16_bits_is_passed_on_as_it_is(extension: str, tmp_path: Path) -> None:
    samples = np.arange(-32_768, 32_768).astype(np.float32) / np.float32(32_768)
    passed = record(chunks_of(samples), tmp_path / f"talk{extension}")
    assert np.array_equal(audio(passed), samples)
    assert np.array_equal(read(tmp_path / f"talk{extension}"), samples)


@FORMATS
def test_lost_audio_is_silence_so_that_times_are_those_of_the_stream(
    extension: str, tmp_path: Path
) -> None:
    path = tmp_path / f"talk{extension}"
    samples = noise(3200)
    items: list[AudioChunk | Flush] = [
        AudioChunk(samples[:1600], 700, "late"),
        Flush(),
        AudioChunk(samples[1600:], 100_000, "overflow"),
    ]
    passed = record(items, path)
    heard = read(path)
    assert len(heard) == 101_600
    first, flush, second = passed
    assert flush == Flush()
    for item, reason in ((first, "late"), (second, "overflow")):
        assert isinstance(item, AudioChunk)
        assert item.gap_reason == reason
        start = item.start_sample
        assert np.array_equal(heard[start : item.end_sample], item.samples)
        heard[start : item.end_sample] = 0
    assert not heard.any()


def test_several_channels_are_one_file(tmp_path: Path) -> None:
    import av

    rng = np.random.default_rng(0)
    for channels in (2, 3, 8):
        for extension in (".wav", ".flac"):
            path = tmp_path / f"talk{channels}{extension}"
            pcm = rng.integers(-9000, 9000, (20_000, channels)).astype(np.int16)

            async def write(path: Path, pcm: Pcm) -> None:
                writer = AudioWriter(path, channels=pcm.shape[1])
                await writer.open()
                await writer.begin()
                writer.write(pcm[:17])
                writer.skip(5)
                writer.write(pcm[17:])
                await writer.close(5.0)

            asyncio.run(write(path, pcm))
            with av.open(str(path)) as container:
                frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            heard = np.concatenate([f.reshape(-1, channels) for f in frames])
            assert np.array_equal(heard[:17], pcm[:17])
            assert not heard[17:22].any()
            assert np.array_equal(heard[22:], pcm[17:])


@pytest.mark.parametrize("name", ["talk.mp3", "talk", "talk.wav.bak"])
def test_another_extension_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"extension must be \.wav, \.flac"):
        RecordingSource(ScriptedSource([]), name)


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none" / "talk.wav", f"the folder {tmp_path}/none does not exist; create it"),
        (tmp_path / "full.wav", "No space left"),
        (tmp_path / "full.flac", "No space left"),
    ):
        if path.parent == tmp_path:
            path.symlink_to("/dev/full")
        source = ScriptedSource(chunks_of(noise(1600)))
        with pytest.raises(SinkError, match=reason) as error:
            asyncio.run(drain(RecordingSource(source, path)))
        assert "\n" not in str(error.value)
        assert not source.is_open


def test_input_that_fails_does_not_cost_the_file_of_the_run_before(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_text("old")
    with pytest.raises(SourceError):
        asyncio.run(drain(RecordingSource(FileSource(tmp_path / "none.wav"), path)))
    assert path.read_text() == "old"
    record(chunks_of(noise(1600)), path)
    assert len(read(path)) == 1600


def test_a_run_that_cannot_begin_does_not_cost_the_file_of_the_run_before(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_text("old")

    async def enter() -> None:
        async with RecordingSource(ScriptedSource(chunks_of(noise(1600))), path):
            pass

    asyncio.run(enter())
    assert path.read_text() == "old"


def test_whether_it_is_live_may_be_known_only_once_it_is_open(tmp_path: Path) -> None:
    class Stream(ScriptedSource):
        async def __aenter__(self) -> Self:
            self.live = True
            return await super().__aenter__()

    async def main() -> None:
        recording = RecordingSource(Stream([]), tmp_path / "talk.wav")
        assert not recording.live
        async with recording:
            assert recording.live

    asyncio.run(main())


def failing_after(monkeypatch: pytest.MonkeyPatch, n_writes: int) -> None:
    """Let the disk be full after so many pieces."""
    pieces = AudioWriter._pieces
    left = [n_writes]

    def fail(self: AudioWriter, job: Pcm | int) -> Iterable[Pcm]:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return pieces(self, job)

    monkeypatch.setattr(AudioWriter, "_pieces", fail)


@FORMATS
def test_a_disk_that_is_full_ends_the_recording_and_nothing_else(
    extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"talk{extension}"
    failing_after(monkeypatch, 3)
    items = record(chunks_of(noise(200_000)), path)
    (notice,) = [item for item in items if isinstance(item, Notice)]
    assert (notice.level, notice.code) == ("error", "recording_failed")
    assert notice.message == (
        f"cannot write {path}: No space left on device; the recording stops, the transcript goes on"
    )
    assert len(audio(items)) == 200_000
    kept = read(path)
    assert len(kept) >= 4608  # a frame of FLAC; the rest of it is still in the encoder
    assert np.array_equal(kept, audio(items)[: len(kept)])


def test_a_recording_that_fails_at_its_end_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_after(monkeypatch, 0)
    items = record(chunks_of(noise(10)), tmp_path / "talk.wav")
    assert [type(item) for item in items][-1] is Notice or isinstance(items[0], Notice)

    stalled = Stalled(monkeypatch)

    async def stop_in_the_middle() -> None:
        source = RecordingSource(ScriptedSource(chunks_of(noise(9000))), tmp_path / "talk.wav")
        async with source:
            await anext(aiter(source))
            stalled.release.set()

    with pytest.raises(SinkError, match="No space left"):
        asyncio.run(stop_in_the_middle())


class Stalled:
    """A disk that takes nothing until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        pieces = AudioWriter._pieces

        def stall(writer: AudioWriter, job: Pcm | int) -> Iterable[Pcm]:
            self.release.wait(20)
            return pieces(writer, job)

        monkeypatch.setattr(AudioWriter, "_pieces", stall)


def test_a_live_source_does_not_wait_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = Stalled(monkeypatch)

    async def run() -> list[SourceItem]:
        source = ScriptedSource(chunks_of(noise(40 * SAMPLE_RATE)), live=True)
        async with RecordingSource(source, tmp_path / "talk.wav") as recording:
            items = [item async for item in recording]
            stalled.release.set()
            return items

    monkeypatch.setattr("sources.record._CLOSE_LIMIT_S", 0.05)
    items = asyncio.run(run())
    (notice,) = [item for item in items if isinstance(item, Notice)]
    assert "the disk does not keep up" in notice.message
    assert len(audio(items)) == 40 * SAMPLE_RATE


def test_another_source_waits_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = Stalled(monkeypatch)
    samples = noise(40 * SAMPLE_RATE)

    async def run() -> list[SourceItem]:
        source = ScriptedSource(chunks_of(samples))
        recording = RecordingSource(source, tmp_path / "talk.wav")
        reading = asyncio.ensure_future(drain(recording))
        await until(lambda: source.taken >= 300)
        await asyncio.sleep(0.02)
        assert source.taken == 300  # half a minute
        stalled.release.set()
        return await reading

    items = asyncio.run(run())
    assert np.array_equal(read(tmp_path / "talk.wav"), audio(items))
    assert len(audio(items)) == len(samples)


def test_it_is_a_source(tmp_path: Path) -> None:
    numbers = iter(range(100))

    def make() -> Source:
        source = ScriptedSource(chunks_of(noise(9000, 0.9)))
        return RecordingSource(source, tmp_path / f"{next(numbers)}.flac")

    asyncio.run(check_source(make))
    with pytest.raises(SourceError, match="inside `async with`"):
        asyncio.run(anext_of(make()))


async def anext_of(source: Source) -> SourceItem:
    assert isinstance(source, AsyncIterator)
    return await anext(source)


_RECORDS_FOR_EVER = """
import asyncio, sys
import numpy as np
from sources.push import PushSource
from sources.record import RecordingSource

async def run(path):
    source = PushSource()
    async with RecordingSource(source, path) as recording:
        pcm = (np.arange(1600) * 7 % 3000).astype(np.int16)
        n = 0
        async def push():
            while True:
                source.push(pcm)
                await asyncio.sleep(0.001)
        pushing = asyncio.ensure_future(push())
        async for chunk in recording:
            n += 1
            if n == 200:
                print("go", flush=True)

asyncio.run(run(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("extension", [".wav", ".flac"])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_process_that_dies_leaves_a_file_that_can_be_read(
    extension: str, how: str, tmp_path: Path
) -> None:
    path = tmp_path / f"talk{extension}"
    command = [sys.executable, "-c", _RECORDS_FOR_EVER, str(path)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        os.kill(process.pid, getattr(signal, how))
        process.wait(10)
    heard = read(path)
    assert len(heard) > 150 * 1600  # of 200 chunks and more
    said = (np.arange(len(heard)) % 1600 * 7 % 3000).astype(np.float32) / 32768
    assert np.array_equal(heard, said)


# -- in a pipeline, and once more ---------------------------------------------------------------


def run_of(source: Source, script: Script) -> list[Event]:
    """Simulate a session with scripted hearing."""

    async def run() -> list[Event]:
        with worker_for(ScriptedBackend(script)) as worker:
            async with (
                Pipeline(
                    source, worker, make_parts(vad=LoudnessVad()), pace="simulated", pass_cost_s=0.1
                ) as pipeline,
                aclosing(pipeline.events()) as events,
            ):
                return [event async for event in events]

    return asyncio.run(run())


def lines(events: Iterable[Event]) -> list[str]:
    return [event_to_json(event) for event in events]


def log_of(events: Iterable[Event]) -> list[Event]:
    """As a file would have it."""
    return [event for line in lines(events) if (event := event_from_json(line)) is not None]


@st.composite
def inputs(draw: st.DrawFn) -> tuple[Script, list[AudioChunk | Flush]]:
    """Speech in any chunks, with flushes and with gaps short and long."""
    script = say(*draw(st.lists(st.integers(1, 8), min_size=1, max_size=3)))
    sizes = draw(
        st.lists(st.sampled_from([1, 159, 700, 1600, 8000, 30_000]), min_size=1, max_size=4)
    )
    pieces = [chunk.samples for chunk in chunks_of(script.audio(), [*sizes, 4000])]
    items: list[AudioChunk | Flush] = []
    at = draw(st.sampled_from([0, 0, 5000]))
    places = st.integers(0, len(pieces) - 1)
    gaps = draw(st.dictionaries(places, st.sampled_from([1, 777, 16_000, 16_001, 50_000])))
    flushes = draw(st.lists(places, max_size=4))
    for i, piece in enumerate(pieces):
        items += [Flush()] * flushes.count(i)
        missing = gaps.get(i, 0)
        at += missing
        items.append(AudioChunk(piece, at, "overflow" if missing or at == 5000 else ""))
        at += len(piece)
    if draw(st.booleans()):
        items.append(Flush())
    return script, items


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(run=inputs(), extension=st.sampled_from([".wav", ".flac"]))
def test_a_recording_is_heard_just_as_it_was_when_it_was_made(
    run: tuple[Script, list[AudioChunk | Flush]], extension: str, tmp_path: Path
) -> None:
    script, items = run
    path = tmp_path / f"talk{extension}"
    first = run_of(RecordingSource(ScriptedSource(items), path), script)
    assert check_events(first) == []
    replayed = ReplaySource(FileSource(path, pace="simulated"), log_of(first))
    assert lines(run_of(replayed, script)) == lines(first)
    marks = [event for event in first if isinstance(event, AudioDropped | Flushed)]
    assert replayed.n_marks == len(marks)


def test_a_log_of_several_sessions_is_not_replayed() -> None:
    log = [Flushed(session="a"), Flushed(session="b")]
    with pytest.raises(ConfigurationError, match="several sessions"):
        ReplaySource(ScriptedSource([]), log)


def test_a_log_without_samples_is_good_to_a_millisecond() -> None:
    log = [AudioDropped(start_s=0.05, end_s=0.1, reason="late")]
    source = ReplaySource(ScriptedSource(chunks_of(noise(4000), 1000)), log)
    items = asyncio.run(drain(source))
    starts = [item.start_sample for item in items if isinstance(item, AudioChunk)]
    assert starts == [0, 1600, 2000, 3000]


def test_nothing_is_recorded_while_the_pipeline_is_paused(tmp_path: Path) -> None:
    script = say(20)
    path = tmp_path / "talk.wav"
    pipeline: Pipeline | None = None

    def items() -> Iterator[AudioChunk]:
        assert pipeline is not None
        for chunk in chunks_of(script.audio()):
            if chunk.start_sample == 2 * SAMPLE_RATE:
                pipeline.pause()
            elif chunk.start_sample == 5 * SAMPLE_RATE:
                pipeline.resume()
            yield chunk

    async def run() -> list[Event]:
        nonlocal pipeline
        with worker_for(ScriptedBackend(script)) as worker:
            recording = RecordingSource(ScriptedSource(items(), live=True), path)
            pipeline = Pipeline(recording, worker, make_parts())
            async with pipeline, aclosing(pipeline.events()) as events:
                return [event async for event in events]

    events = asyncio.run(run())
    (dropped,) = [event for event in events if isinstance(event, AudioDropped)]
    assert (dropped.start_s, dropped.end_s, dropped.reason) == (2.0, 5.0, "paused")
    heard = read(path)
    assert len(heard) == samples_from_seconds(script.duration_s)
    assert not heard[dropped.start_sample : dropped.end_sample].any()
    heard[dropped.start_sample : dropped.end_sample] = script.audio()[32_000:80_000]
    assert np.abs(heard - script.audio()).max() <= 1 / 32768


def test_a_file_waits_in_a_pause_and_is_recorded_whole(tmp_path: Path) -> None:
    async def run() -> None:
        recording = RecordingSource(ScriptedSource(chunks_of(noise(9000))), tmp_path / "talk.wav")
        recording.pause()
        await drain(recording)

    asyncio.run(run())
    assert np.abs(read(tmp_path / "talk.wav") - noise(9000)).max() <= 1 / 32768


def test_a_recording_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(SinkError, match="does not exist"):
            await drain(RecordingSource(ScriptedSource([]), tmp_path / "no" / "leftover.wav"))
        await until(lambda: "write leftover.wav" not in [t.name for t in threading.enumerate()])

    asyncio.run(scenario())
