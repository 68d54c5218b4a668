"""Connections that break while the real model listens cost no event and no word."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from broken_stream import Streamed, stream
from cutting_proxy import Cut
from server_process import serving

from sources.file import FileSource
from streaming.evaluation.text import count_errors

pytestmark = [pytest.mark.needs_model, pytest.mark.realtime, pytest.mark.needs_recordings]

CLIP = "bush_radio_127s"
PART_S = 40.0
CUTS = (Cut(up=320_007), Cut(up=250_000, how="freeze"), Cut(down=20_000))


def test_three_cuts_cost_no_event_and_no_word(tmp_path: Path, recordings: Path) -> None:
    async def both(port: int) -> tuple[Streamed, Streamed]:
        whole, cut = (
            stream(port, FileSource(recordings / f"{CLIP}.flac", duration_s=PART_S), cuts, dead_s=2)
            for cuts in ((), CUTS)
        )
        return await asyncio.gather(whole, cut)

    with serving(tmp_path, backend="auto") as server:
        server.until_ready()
        whole, cut = asyncio.run(both(server.port))
    assert (whole.n_connections, cut.n_broken, cut.n_connections) == (1, 3, 4)
    for done in (whole, cut):
        assert done.faults() == []
        assert done.of_type("audio_dropped") == []
        assert done.seen[-1]["audio_s"] == PART_S
    # Both leave out the same rest of the reference.
    reference = (recordings / f"{CLIP}.txt").read_text("utf-8")
    errors, fewest = (count_errors(reference, done.text, "en").errors for done in (cut, whole))
    assert len(whole.text.split()) > 80
    assert abs(errors - fewest) <= 0.02 * len(whole.text.split())
