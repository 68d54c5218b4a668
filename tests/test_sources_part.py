"""Parts of files: seeking, and cutting to the sample."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, read_audio
from encoded_audio import encode, tone

from sources._part import Part
from sources.file import FileSource
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import ConfigurationError, SourceError


def collect(
    path: Path, start_s: float = 0.0, duration_s: float | None = None
) -> tuple[list[AudioChunk], float | None]:
    async def scenario() -> tuple[list[AudioChunk], float | None]:
        async with FileSource(path, pace="fast", start_s=start_s, duration_s=duration_s) as source:
            return [chunk async for chunk in source], source.length_s

    return asyncio.run(scenario())


def read(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> Samples:
    return np.concatenate([chunk.samples for chunk in collect(path, start_s, duration_s)[0]])


def failure(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        collect(path, start_s, duration_s)
    assert str(caught.value).isprintable()
    return str(caught.value)


FORMATS = [
    ("a.wav", "pcm_s16le", 0, 0.0),
    ("a.flac", "flac", 0, 0.0),
    ("a.mp3", "libmp3lame", 0, 0.0),
    ("a.m4a", "aac", 0, 0.005),  # its decoder fills bands with noise of its own
    ("a.aac", "aac", 0, 0.005),
    ("a.ogg", "libopus", 0, 0.01),
    ("a.mkv", "flac", 16, 0.0),  # Matroska's clock ticks milliseconds
    ("b.mkv", "aac", 16, 0.005),
    ("c.mkv", "libopus", 16, 0.01),
]


@pytest.mark.parametrize("start_s", [0.3, 0.75, 5.0, 10.2])
@pytest.mark.parametrize(("name", "codec", "off", "tolerance"), FORMATS)
def test_a_part_is_what_the_whole_has_there(
    tmp_path: Path, name: str, codec: str, off: int, tolerance: float, start_s: float
) -> None:
    path = encode(tmp_path / name, codec, read_audio(JFK), SAMPLE_RATE)
    whole, part = read(path), read(path, start_s, 0.5)
    assert len(part) == SAMPLE_RATE // 2
    start = round(start_s * SAMPLE_RATE)
    edge = 320 if codec == "libopus" else 0  # resampled: what is beyond the cut is not heard
    errors = [
        float(np.abs(part - whole[start + shift :][: len(part)])[edge : len(part) - edge].max())
        for shift in range(-off, off + 1)
    ]
    assert min(errors) <= tolerance


def test_time_counts_from_the_start_of_the_part() -> None:
    chunks, length_s = collect(JFK, 2.0, 3.0)
    assert [chunk.start_sample for chunk in chunks] == list(range(0, 48_000, 1_600))
    assert length_s == 3.0


@pytest.mark.parametrize(
    ("start_s", "duration_s", "length_s"),
    [(0.0, None, 11.0), (4.0, None, 7.0), (4.0, 100.0, 7.0), (0.0, 2.5, 2.5)],
)
def test_the_length_that_a_header_declares_is_known_ahead(
    start_s: float, duration_s: float | None, length_s: float
) -> None:
    chunks, declared_s = collect(JFK, start_s, duration_s)
    assert declared_s == length_s
    assert chunks[-1].end_sample == length_s * SAMPLE_RATE


def test_a_length_that_is_not_known_is_none(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.aac", "aac", tone(2.0))
    assert collect(path)[1] is None


def test_a_file_longer_than_the_part_is_not_broken_off(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.wav", "pcm_s16le", tone(10.0, SAMPLE_RATE), SAMPLE_RATE)
    os.truncate(path, path.stat().st_size // 2)
    assert len(read(path, 1.0, 3.0)) == 3 * SAMPLE_RATE
    assert "breaks off at 5.0 s of 10.0 s" in failure(path, 1.0, 5.0)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame"), ("a.aac", "aac")]
)
@pytest.mark.parametrize("start_s", [2.5, 1000.0])
def test_a_start_beyond_the_end_is_told(
    tmp_path: Path, name: str, codec: str, start_s: float
) -> None:
    path = encode(tmp_path / name, codec, tone(2.0))
    text = failure(path, start_s)
    assert text.startswith(f"cannot start at {start_s:g} s: {path} ends at 2.")


def test_a_gap_at_the_start_of_a_part_is_cut_to_it(tmp_path: Path) -> None:
    marked = np.concatenate([tone(6.0, 48_000), np.zeros(3 * 48_000, np.float32)])
    path = encode(tmp_path / "a.mka", "libopus", marked, 48_000)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 6_000] = np.random.default_rng(2).bytes(6_000)
    path.write_bytes(content)
    chunks, _ = collect(path)
    gap = next(c for c in chunks if c.gap_reason)
    before = next(c for c in reversed(chunks) if c.end_sample < gap.start_sample)
    middle_s = (before.end_sample + gap.start_sample) / 2 / SAMPLE_RATE
    part, _ = collect(path, middle_s)
    loud = [c for c in part if np.sqrt(np.mean(c.samples**2)) > 0.1]
    assert loud[-1].end_sample / SAMPLE_RATE == pytest.approx(6.0 - middle_s, abs=0.15)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_an_impossible_part_is_refused(value: float) -> None:
    with pytest.raises(ConfigurationError, match="the start must be 0 s or later"):
        FileSource(JFK, start_s=value)
    with pytest.raises(ConfigurationError, match="the duration must be longer than 0 s"):
        FileSource(JFK, duration_s=value)
    with pytest.raises(ConfigurationError, match="longer than 0 s, not 0 s"):
        FileSource(JFK, duration_s=0.0)


def test_what_is_left_of_a_part() -> None:
    assert Part(2.0, 3.0).after(1.0) == Part(3.0, 2.0)
    assert Part(2.0).after(1.0) == Part(3.0)
    assert Part(2.0, 3.0).after(3.0) is None
