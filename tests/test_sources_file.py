from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO
from zlib import compressobj, crc32

import av
import numpy as np
import psutil
import pytest
from audio_files import JFK, read_audio
from encoded_audio import RATE, encode, tone, wav_header, write_float_wav
from virtual_time import run_virtual

from sources._pace import Pace
from sources.file import FileSource
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import ConfigurationError, SourceError

fast = partial(FileSource, pace="fast")


def collect(source: FileSource) -> tuple[list[AudioChunk], SourceError | None]:
    """All chunks, and the error that ended them."""

    async def scenario() -> tuple[list[AudioChunk], SourceError | None]:
        chunks: list[AudioChunk] = []
        try:
            async with source:
                async for chunk in source:
                    chunks.append(chunk)  # noqa: PERF401 - kept when an error follows
        except SourceError as error:
            return chunks, error
        return chunks, None

    return asyncio.run(scenario())


def read(path: Path | BinaryIO) -> Samples:
    chunks, error = collect(fast(path))
    assert error is None
    return np.concatenate([chunk.samples for chunk in chunks])


def failure(path: Path | str | BinaryIO) -> str:
    """The one line that says why nothing of it could be read."""
    chunks, error = collect(fast(path))
    assert not chunks
    assert error is not None
    assert error.exit_code == 2
    assert str(error).isprintable()
    return str(error)


def unlinked(data: bytes) -> BinaryIO:
    """Written, and not closed: only this handle is left of it."""
    file = TemporaryFile()  # noqa: SIM115 - whoever asks for it closes it
    file.write(data)
    return file


FORMATS = [
    ("s16.wav", "pcm_s16le", 44_100, "stereo"),
    ("s24.wav", "pcm_s24le", 96_000, "mono"),
    ("u8.wav", "pcm_u8", 8_000, "mono"),
    ("telephone.wav", "pcm_mulaw", 8_000, "mono"),
    ("f32.wav", "pcm_f32le", 44_100, "stereo"),
    ("f64.wav", "pcm_f64le", 22_050, "mono"),
    ("six.wav", "pcm_s16le", 48_000, "5.1"),
    ("plain.flac", "flac", 11_025, "mono"),
    ("plain.mp3", "libmp3lame", 44_100, "stereo"),
    ("six.ogg", "libopus", 48_000, "5.1"),
    ("plain.m4a", "aac", 44_100, "stereo"),
    ("plain.mka", "libopus", 48_000, "mono"),
    ("plain.aiff", "pcm_s16be", 44_100, "mono"),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout"), FORMATS)
def test_any_format_rate_and_channel_count_becomes_16_khz_mono(
    tmp_path: Path, name: str, codec: str, rate: int, layout: str
) -> None:
    samples = read(encode(tmp_path / name, codec, tone(2.0, rate), rate, layout))
    assert abs(len(samples) - 2 * SAMPLE_RATE) < 0.05 * SAMPLE_RATE
    inner = samples[4_000:28_000]
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(
        0.3 / np.sqrt(2), rel=0.06
    )  # LAME turns down by 5 %
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
    assert spectrum.argmax() * SAMPLE_RATE / len(inner) == pytest.approx(440, abs=1)


def test_16_khz_mono_comes_through_untouched_and_contiguous() -> None:
    chunks, error = collect(fast(JFK))
    assert error is None
    assert [chunk.start_sample for chunk in chunks] == list(range(0, 176_000, 1_600))
    np.testing.assert_array_equal(np.concatenate([c.samples for c in chunks]), read_audio(JFK))


@pytest.mark.parametrize("wrap", [BytesIO, unlinked])
def test_an_open_file_is_read_like_its_path_and_stays_open(
    wrap: Callable[[bytes], BinaryIO],
) -> None:
    with wrap(JFK.read_bytes()) as file:
        file.seek(1000)
        assert np.array_equal(read(file), read(JFK))
        assert not file.closed
        [chunk, *_], error = collect(fast(file, start_s=5.0, duration_s=0.1))
        assert error is None
        assert np.array_equal(chunk.samples, read(JFK)[80_000:81_600])


def test_an_open_file_is_not_read_any_more_once_its_source_is_left() -> None:
    class Slow(BytesIO):
        n_begun = n_ended = 0
        begun = threading.Event()

        def read(self, size: int | None = -1, /) -> bytes:
            self.n_begun += 1
            self.begun.set()
            time.sleep(0.2)
            self.n_ended += 1
            return super().read(size)

    async def scenario() -> None:
        file = Slow(JFK.read_bytes())
        entering = asyncio.create_task(fast(file).__aenter__())
        await asyncio.to_thread(file.begun.wait)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        assert (file.n_begun, file.n_ended) == (1, 1)
        for thread in threading.enumerate():
            if thread.name == "media source":
                thread.join(5)
        assert file.n_begun == 1

    asyncio.run(scenario())


def test_an_open_file_tells_its_faults_like_a_path(tmp_path: Path) -> None:
    assert failure(BytesIO()) == "the file is empty (0 bytes); record or copy it again"
    assert "the file is not audio that FFmpeg can read" in failure(BytesIO(b"rubbish" * 500))
    whole = encode(tmp_path / "a.wav", "pcm_s16le", tone(2.0)).read_bytes()
    chunks, error = collect(fast(BytesIO(whole[: len(whole) // 2])))
    assert chunks
    assert "the file breaks off at 1.0 s of 2.0 s" in str(error)
    whole = encode(tmp_path / "a.mp3", "mp3", tone(4.0)).read_bytes()
    _, error = collect(fast(BytesIO(whole[: len(whole) // 2])))
    assert "the file breaks off at" in str(error)


def test_an_open_file_cannot_name_others() -> None:
    """A path may: whoever runs this names it."""
    script = f"ffconcat version 1.0\nfile {JFK.resolve()}\n".encode()
    assert "not audio" in failure(BytesIO(script))


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(1.0)
    opposed = np.stack([left, -left], axis=1)
    assert np.abs(read(encode(tmp_path / "a.wav", "pcm_s16le", opposed, RATE, "stereo"))).max() == 0


def test_a_rate_that_changes_on_the_way_is_followed(tmp_path: Path) -> None:
    first = encode(tmp_path / "1.mp3", "libmp3lame", tone(2.0, 44_100), 44_100).read_bytes()
    second = encode(tmp_path / "2.mp3", "libmp3lame", tone(2.0, 48_000), 48_000).read_bytes()
    (tmp_path / "both.mp3").write_bytes(first + second)
    chunks, _ = collect(fast(tmp_path / "both.mp3"))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    assert len(samples) == pytest.approx(4 * SAMPLE_RATE, rel=0.05)
    later = samples[40_000:60_000]
    spectrum = np.abs(np.fft.rfft(later * np.hanning(len(later))))
    assert spectrum.argmax() * SAMPLE_RATE / len(later) == pytest.approx(440, abs=1)


def test_a_recording_hotter_than_full_scale_is_clipped(tmp_path: Path) -> None:
    samples = read(write_float_wav(tmp_path / "hot.wav", 5 * tone(1.0)))
    assert np.abs(samples).max() == 1.0


@pytest.mark.parametrize("chunk_s", [0.02, 0.5])
def test_chunks_have_the_length_asked_for_but_for_the_last(chunk_s: float) -> None:
    chunks, _ = collect(FileSource(JFK, pace="fast", chunk_s=chunk_s))
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {round(chunk_s * SAMPLE_RATE)}


def test_realtime_pace_hands_out_each_chunk_when_its_end_is_due() -> None:
    async def scenario() -> list[float]:
        clock = asyncio.get_running_loop().time
        async with FileSource(JFK) as source:
            start = clock()
            return [clock() - start - chunk.end_sample / SAMPLE_RATE async for chunk in source]

    lateness = run_virtual(scenario())
    assert len(lateness) == 110
    assert max(map(abs, lateness)) < 1e-6


def test_at_realtime_pace_a_slow_consumer_gets_what_it_missed_at_once() -> None:
    async def scenario() -> list[float]:
        loop, times = asyncio.get_running_loop(), []
        async with FileSource(JFK) as source:
            start = loop.time()
            async for chunk in source:
                times.append(round(loop.time() - start, 6))
                if chunk.start_sample == 0:
                    await asyncio.sleep(0.45)
                if len(times) == 8:
                    break
        return times

    assert run_virtual(scenario()) == [0.1, 0.55, 0.55, 0.55, 0.55, 0.6, 0.7, 0.8]


@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_the_other_paces_do_not_wait_for_the_clock(pace: Pace) -> None:
    async def scenario() -> float:
        async with FileSource(JFK, pace=pace) as source:
            async for _ in source:
                pass
        return asyncio.get_running_loop().time()

    assert run_virtual(scenario()) == 0.0


def test_cancelling_a_wait_loses_no_chunk() -> None:
    async def scenario() -> list[int]:
        starts = []
        async with FileSource(JFK) as source:
            while True:
                try:
                    async with asyncio.timeout(0.03):
                        starts.append((await anext(source)).start_sample)
                except TimeoutError:
                    pass
                except StopAsyncIteration:
                    return starts

    assert run_virtual(scenario()) == list(range(0, 176_000, 1_600))


def test_tags_in_an_old_encoding_do_not_matter(tmp_path: Path) -> None:
    title = b"INFOINAM\x04\x00\x00\x00\xe9t\xe9\x00"
    samples = bytes(2 * RATE)
    header = wav_header(len(samples))
    tag = b"LIST" + len(title).to_bytes(4, "little") + title
    (tmp_path / "a.wav").write_bytes(header[:36] + tag + header[36:] + samples)
    assert len(read(tmp_path / "a.wav")) == SAMPLE_RATE


# Input that cannot be read.


def with_cover(side: int) -> bytes:
    """An ID3 tag with a picture of that width and height: a PNG of one colour."""

    def block(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    packer = compressobj(1)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    png = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    png += block(b"IDAT", rows) + block(b"IEND", b"")
    frame = b"\x00image/png\x00\x03\x00" + png
    frame = b"APIC" + struct.pack(">IH", len(frame), 0) + frame
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame


_PEAK_BYTES = """
import asyncio, sys
import psutil
from sources.file import FileSource

async def read(file):
    n_samples = 0
    async with FileSource(file, pace="fast") as source:
        async for chunk in source:
            n_samples += len(chunk.samples)
    return n_samples

asyncio.run(read(sys.argv[1]))
before = psutil.Process().memory_info().rss
for location in (sys.argv[2], open(sys.argv[2], "rb")):
    assert asyncio.run(read(location)) > 30_000
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) * 1024 - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is in /proc")
def test_a_cover_that_is_a_huge_picture_takes_no_memory(tmp_path: Path) -> None:
    plain = encode(tmp_path / "plain.mp3", "mp3", tone(2))
    covered = tmp_path / "covered.mp3"
    covered.write_bytes(with_cover(12_000) + plain.read_bytes())
    command = [sys.executable, "-c", _PEAK_BYTES, str(plain), str(covered)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30e6  # the picture has 144 MB


def test_the_sound_of_a_film_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(20):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            data = tone(0.1)[None]
            frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
        container.mux([*video.encode(None), *audio.encode(None)])
    assert len(read(path)) == pytest.approx(2 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert failure(tmp_path / "no.wav") == f"{tmp_path / 'no.wav'}: no such file; check the path"


def test_a_directory_is_not_a_file(tmp_path: Path) -> None:
    assert "is a directory; name an audio file in it" in failure(tmp_path)


def test_an_empty_file_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "empty.wav"
    path.touch()
    assert "is empty (0 bytes)" in failure(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.wav", b"hello " * 100),
        ("random.bin", np.random.default_rng(1).bytes(50_000)),
        ("zeros.wav", bytes(10_000)),
        ("no_rate.wav", wav_header(1_000, rate=0) + bytes(1_000)),
    ],
)
def test_what_is_no_audio_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    assert "convert it" in failure(tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_text_with_a_text_s_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello " * 100)
    assert "no audio" in failure(tmp_path / "notes.txt")


def test_zero_channels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_header(1_000, channels=0) + bytes(1_000))
    assert "no audio track" in failure(tmp_path / "a.wav")


def test_audio_of_no_length_is_refused(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flac", "flac", np.zeros(0, np.float32))
    assert "holds no audio" in failure(path)
    (tmp_path / "header.wav").write_bytes(wav_header(0))
    assert "holds no audio: its length is 0 s" in failure(tmp_path / "header.wav")


def test_an_unsupported_codec_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_header(1_000, kind=0x1234) + bytes(1_000))
    assert "cannot decode; convert it" in failure(tmp_path / "a.wav")


def test_a_rate_that_cannot_be_resampled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav_header(2_000, rate=100) + bytes(2_000))
    assert "cannot resample 100 Hz" in failure(tmp_path / "a.wav")


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no audio track" in failure(tmp_path / "a.mkv")


@pytest.mark.parametrize("name", ["nul\0byte.wav", "two\nlines.wav", "x" * 5_000])
def test_an_impossible_name_is_one_line(name: str) -> None:
    assert "wav" in failure(name) or "too long" in failure(name)


def test_an_address_is_no_file() -> None:
    with pytest.raises(ConfigurationError, match="a MediaSource reads it"):
        FileSource("http://me:secret@host/a.wav?key=secret")


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "10:30.flac").write_bytes(JFK.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(read(Path("10:30.flac"))) == 176_000


# Input that breaks on the way.


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.mka", "libopus")],
)
def test_a_truncated_file_gives_what_decodes_and_then_the_second_it_broke(
    tmp_path: Path, name: str, codec: str
) -> None:
    path = encode(tmp_path / name, codec, tone(10.0, 48_000), 48_000)
    os.truncate(path, path.stat().st_size * 2 // 5)
    chunks, error = collect(fast(path))
    end_s = chunks[-1].end_sample / SAMPLE_RATE
    assert 3.0 < end_s < 5.0
    assert f"breaks off at {end_s:.1f} s of 10.0 s" in str(error)


def test_a_whole_file_followed_by_a_tag_or_rubbish_is_no_error(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp3", "libmp3lame", tone(3.0))
    with path.open("ab") as file:
        file.write(np.random.default_rng(0).bytes(777) + b"TAG" + bytes(125))
    assert len(read(path)) == pytest.approx(3 * SAMPLE_RATE, abs=800)


def test_a_recorder_s_unknown_length_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    path.write_bytes(wav_header(0x7FFF_FFFF - 36) + bytes(2 * RATE))
    assert len(read(path)) == SAMPLE_RATE


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mka", "libopus")])
def test_damage_inside_is_a_gap_and_what_follows_keeps_its_place(
    tmp_path: Path, name: str, codec: str
) -> None:
    marked = np.concatenate([tone(6.0, 48_000), np.zeros(3 * 48_000, np.float32)])
    path = encode(tmp_path / name, codec, marked, 48_000)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 2_500] = np.random.default_rng(2).bytes(2_500)
    path.write_bytes(content)
    chunks, error = collect(fast(path))
    assert error is None
    gaps = [b for a, b in pairwise(chunks) if b.start_sample != a.end_sample]
    assert gaps
    assert {chunk.gap_reason for chunk in gaps} == {"damaged"}
    loud = [c for c in chunks if np.sqrt(np.mean(c.samples**2)) > 0.1]
    assert loud[-1].end_sample / SAMPLE_RATE == pytest.approx(6.0, abs=0.15)
    assert chunks[-1].end_sample / SAMPLE_RATE == pytest.approx(9.0, abs=0.15)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_ends_the_audio_with_its_second(
    tmp_path: Path, value: float
) -> None:
    samples = tone(3.0)
    samples[round(1.5 * RATE)] = value
    chunks, error = collect(fast(write_float_wav(tmp_path / "a.wav", samples)))
    assert chunks[-1].end_sample == pytest.approx(1.5 * SAMPLE_RATE, abs=1)
    assert "not a number (NaN or infinite) at 1.5 s" in str(error)
    np.testing.assert_allclose(chunks[5].samples, tone(3.0, SAMPLE_RATE)[8_000:9_600], atol=1e-3)


# Long files, resources, cancellation.


@pytest.fixture
def three_hours(tmp_path: Path) -> Path:
    path = tmp_path / "long.wav"
    size = 3 * 3600 * SAMPLE_RATE * 2
    path.write_bytes(wav_header(size, rate=SAMPLE_RATE))
    os.truncate(path, 44 + size)  # sparse: takes no room on the disk
    return path


def test_a_three_hour_file_starts_at_once_and_takes_no_more_memory(three_hours: Path) -> None:
    async def scenario() -> tuple[float, float]:
        process = psutil.Process()
        start = time.monotonic()
        async with fast(three_hours) as source:
            await anext(source)
            started_s = time.monotonic() - start
            before = process.memory_info().rss
            async for chunk in source:
                if chunk.start_sample > 600 * SAMPLE_RATE:
                    break
            await asyncio.sleep(0.3)  # what is read ahead stays bounded, too
            return started_s, (process.memory_info().rss - before) / 1e6

    started_s, grown_mb = asyncio.run(scenario())
    assert started_s < 2.0
    assert grown_mb < 16.0  # ten minutes are 38 MB


def is_open(path: Path) -> bool:
    return str(path) in {file.path for file in psutil.Process().open_files()}


@pytest.mark.parametrize("how", ["left early", "not iterated", "cancelled", "failed"])
def test_the_file_is_closed_however_the_source_is_left(three_hours: Path, how: str) -> None:
    async def use() -> None:
        async with fast(three_hours) as source:
            assert is_open(three_hours)
            if how == "not iterated":
                return
            await anext(source)
            if how == "left early":
                return
            if how == "failed":
                raise ValueError
            await asyncio.sleep(60)

    async def scenario() -> None:
        task = asyncio.create_task(use())
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait({task})
        for _ in range(20):
            if not is_open(three_hours):
                return
            await asyncio.sleep(0.05)
        pytest.fail("still open")

    asyncio.run(scenario())


def test_a_source_can_be_left_twice_and_without_entering() -> None:
    async def scenario() -> None:
        source = fast(JFK)
        await source.__aexit__(None, None, None)
        async with source:
            pass
        await source.__aexit__(None, None, None)

    asyncio.run(scenario())


def test_iterating_outside_the_context_is_an_error() -> None:
    async def scenario() -> None:
        with pytest.raises(SourceError, match="async with"):
            await anext(aiter(fast(JFK)))

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_cancelling_while_a_pipe_says_nothing_returns_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def scenario() -> float:
        entering = asyncio.create_task(fast(pipe).__aenter__())
        await asyncio.sleep(0.1)
        start = time.monotonic()
        entering.cancel()
        await asyncio.wait({entering}, timeout=5)
        assert entering.cancelled()
        return time.monotonic() - start

    assert asyncio.run(scenario()) < 0.3
    os.close(os.open(pipe, os.O_WRONLY))  # lets the thread go


def test_an_unknown_pace_and_an_impossible_chunk_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown pace 'slow'; choose one of realtime"):
        FileSource(JFK, pace="slow")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="chunk_s must lie between"):
        FileSource(JFK, chunk_s=float("nan"))
