from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, read_audio
from encoded_audio import encode, tone

from sources._chunker import Chunker
from sources._decode import Block
from sources._media_chunks import chunks, cut
from sources._part import WHOLE, Part
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import SourceError


def pairs(path: Path, part: Part = WHOLE, chunk_s: float = 0.1) -> list[tuple[AudioChunk, ...]]:
    return list(chunks(str(path), Chunker(chunk_s), Chunker(chunk_s), part=part))


def joined(found: list[tuple[AudioChunk, ...]], channel: int) -> Samples:
    return np.concatenate([each[channel].samples for each in found])


@pytest.fixture
def stereo() -> Samples:
    """JFK on the left, and backwards on the right, shape ``(n, 2)``."""
    speech = read_audio(JFK)
    return np.stack([speech, speech[::-1]], axis=1)


@pytest.mark.parametrize("chunk_s", [0.03, 0.1, 1.0])
def test_channels_keep_apart_in_equal_chunks(
    tmp_path: Path, stereo: Samples, chunk_s: float
) -> None:
    path = encode(tmp_path / "a.wav", "pcm_s16le", stereo, SAMPLE_RATE, "stereo")
    found = pairs(path, chunk_s=chunk_s)
    for left, right in found:
        assert left.start_sample == right.start_sample
        assert len(left.samples) == len(right.samples)
        assert left.samples.flags.c_contiguous
    assert {len(left.samples) for left, _ in found[:-1]} == {round(chunk_s * SAMPLE_RATE)}
    np.testing.assert_allclose(joined(found, 0), stereo[:, 0], atol=1e-4)
    np.testing.assert_allclose(joined(found, 1), stereo[:, 1], atol=1e-4)


def test_each_channel_is_resampled_as_it_would_be_alone(tmp_path: Path) -> None:
    low, high = tone(3.0, 44_100, 440.0), tone(3.0, 44_100, 1_000.0)
    both = encode(tmp_path / "a.flac", "flac", np.stack([low, high], axis=1), 44_100, "stereo")
    found = pairs(both)
    for channel, alone in enumerate((low, high)):
        path = encode(tmp_path / f"{channel}.flac", "flac", alone, 44_100)
        expected = np.concatenate([c.samples for (c,) in chunks(str(path), Chunker(0.1))])
        np.testing.assert_array_equal(joined(found, channel), expected)


def test_damage_is_the_same_gap_in_both_channels(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mka", "libopus", tone(9.0, 48_000), 48_000, "stereo")
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 2_500] = np.random.default_rng(2).bytes(2_500)
    path.write_bytes(content)
    found = pairs(path)
    gaps = [b for a, b in pairwise(found) if b[0].start_sample != a[0].end_sample]
    assert gaps
    for left, right in found:
        assert (left.start_sample, left.gap_reason) == (right.start_sample, right.gap_reason)
    assert {each[0].gap_reason for each in gaps} == {"damaged"}


def test_a_part_of_split_channels_is_cut_alike(tmp_path: Path, stereo: Samples) -> None:
    path = encode(tmp_path / "a.flac", "flac", stereo, SAMPLE_RATE, "stereo")
    found = pairs(path, Part(2.5, 1.25))
    whole = pairs(path)
    for channel in (0, 1):
        np.testing.assert_array_equal(joined(found, channel), joined(whole, channel)[40_000:60_000])


@pytest.mark.parametrize(
    ("layout", "many"), [("mono", "1 channel;"), ("3.0", "3 channels;"), ("5.1", "6 channels;")]
)
def test_anything_but_two_channels_is_refused(tmp_path: Path, layout: str, many: str) -> None:
    path = encode(tmp_path / "a.wav", "pcm_s16le", tone(1.0), layout=layout)
    with pytest.raises(SourceError, match=f"has {many} --channels split needs 2"):
        pairs(path)


@pytest.mark.parametrize(("lost_s", "missing"), [(0.0, 0), (1e-5, 0), (1e-4, 2), (0.5, 8000)])
def test_only_what_is_a_sample_or_more_is_a_gap(lost_s: float, missing: int) -> None:
    audio = np.zeros((1600, 1), np.float32)
    blocks = (Block(audio, SAMPLE_RATE, lost) for lost in (0.0, lost_s))
    found = [each[0] for each in cut(blocks, Chunker(0.1)) if isinstance(each, tuple)]
    assert [chunk.start_sample for chunk in found] == [0, 1600 + missing]
    assert found[1].gap_reason == ("damaged" if missing else "")
