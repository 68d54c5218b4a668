"""Who talks while the other end is heard on loudspeakers, with the real model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from audio_files import read_audio
from fakes import ScriptedSource, chunks_of
from speech import errors

from sources._echo import EchoRemover
from streaming.app import transcribe
from streaming.audio import SAMPLE_RATE, Samples
from streaming.events import Committed, Word, text_of

pytestmark = pytest.mark.needs_model

BEGINS_S = 16.0
"""When we begin to talk; they have talked since the beginning, and go on."""
STEP = SAMPLE_RATE // 20


def words(samples: Samples) -> list[Word]:
    async def run() -> list[Word]:
        events = transcribe(ScriptedSource(chunks_of(samples)), pace="fast")
        return [w async for e in events if isinstance(e, Committed) for w in e.words]

    return asyncio.run(run())


@pytest.mark.parametrize(("gain", "delay_s"), [(0.1, 0.2), (0.25, 0.08)])
def test_words_said_while_the_other_end_talks_survive_and_theirs_do_not(
    gain: float, delay_s: float, jfk: Path
) -> None:
    speech = read_audio(jfk)
    played = np.concatenate([speech, speech[3 * SAMPLE_RATE :], speech])
    spoken = np.zeros_like(played)
    begins = round(BEGINS_S * SAMPLE_RATE)
    spoken[begins : begins + len(speech)] = speech
    delay = round(delay_s * SAMPLE_RATE)
    echo = np.concatenate([np.zeros(delay, np.float32), played])[: len(played)]
    heard = np.clip(spoken + np.float32(gain) * echo, -1.0, 1.0)

    remover = EchoRemover()
    cleaned: list[Samples] = []
    for at in range(0, len(heard), STEP):
        remover.played(played[at : at + STEP], at)
        end = min(at + STEP, len(heard))
        cleaned.append(remover.remove(heard[at:end], end))
    ours = words(np.concatenate(cleaned))
    assert errors(text_of([w for w in ours if BEGINS_S <= w.start_s < BEGINS_S + 11.5])) <= 0.15
    assert not [w for w in ours if 3.0 <= w.start_s < BEGINS_S - 0.5]

    untouched = words(heard)
    assert len([w for w in untouched if 3.0 <= w.start_s < BEGINS_S - 0.5]) > 10
