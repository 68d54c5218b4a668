"""Both channels of a file as sources of their own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from audio_files import JFK, read_audio
from encoded_audio import encode
from virtual_time import run_virtual

from sources._pace import Pace
from sources.split import split
from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import ConfigurationError, SourceError
from streaming.protocols import Source
from streaming.testing import check_source


@pytest.fixture
def stereo() -> Samples:
    """JFK on the left, and backwards on the right, shape ``(n, 2)``."""
    speech = read_audio(JFK)[: 2 * SAMPLE_RATE]
    return np.stack([speech, speech[::-1]], axis=1)


@pytest.fixture
def path(tmp_path: Path, stereo: Samples) -> Path:
    return encode(tmp_path / "call.flac", "flac", stereo, SAMPLE_RATE, "stereo")


async def hear(source: Source) -> tuple[Samples, list[float], float | None]:
    """Its audio, when each chunk came, and the length it told."""
    async with source:
        clock = asyncio.get_running_loop().time
        found = [(c.samples, clock()) async for c in source if isinstance(c, AudioChunk)]
    length_s = getattr(source, "length_s", None)
    return np.concatenate([s for s, _ in found]), [at_s for _, at_s in found], length_s


def hear_both(path: Path, pace: Pace) -> list[tuple[Samples, list[float], float | None]]:
    async def scenario() -> list[tuple[Samples, list[float], float | None]]:
        return list(await asyncio.gather(*(hear(each) for each in split(path, pace=pace))))

    return run_virtual(scenario()) if pace == "realtime" else asyncio.run(scenario())


def test_each_channel_is_heard_whole(path: Path, stereo: Samples) -> None:
    for channel, (audio, _, length_s) in enumerate(hear_both(path, "fast")):
        np.testing.assert_allclose(audio, stereo[:, channel], atol=1e-4)
        assert length_s == 2.0


def test_both_channels_come_when_they_are_due(path: Path) -> None:
    for _, arrivals_s, _ in hear_both(path, "realtime"):
        np.testing.assert_allclose(np.diff(arrivals_s), 0.1, atol=0.01)


@pytest.mark.parametrize("channel", [0, 1])
def test_each_channel_keeps_the_contract(path: Path, channel: int) -> None:
    asyncio.run(check_source(lambda: split(path, pace="fast")[channel]))


def test_what_cannot_be_split_is_told(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is an address; channels are split in files"):
        split("http://localhost/call.flac")
    with pytest.raises(ConfigurationError, match="chunk_s must lie between"):
        split(path, chunk_s=0.0)
    with pytest.raises(ConfigurationError, match="unknown pace"):
        split(path, pace="slow")  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="has 1 channel"):
        asyncio.run(hear(split(JFK)[0]))
