"""One offline pass over a whole recording, for comparison with the streaming one.

The recording is decoded with the same backend in windows as long as Whisper takes, cut
where it is quietest, without prompts. This is the best that the weights can do without
hurry; word times measured against it do not depend on how the streaming run behaved.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from .audio import AudioChunk, Samples
from .backends.pool import BackendPool
from .events import Word
from .protocols import Source, Window
from .windows import first_cut, log_mel

__all__ = ["decode_offline"]


async def decode_offline(
    source: Source, worker: BackendPool, *, language: str | None = None
) -> tuple[Word, ...]:
    """Words of a whole recording, with absolute times.

    Args:
        source: the recording, unpaced; not entered yet.
        worker: a loaded backend.
        language: None detects it in each window.
    """
    worker.start()
    backend = await worker.ready()
    words: list[Word] = []
    held = np.zeros(0, dtype=np.float32)
    at = 0

    async def decode(samples: Samples) -> None:
        mel = await asyncio.to_thread(log_mel, samples, backend.n_mels)
        window = Window(start_sample=at, mel=mel, language=language)
        decoded = await asyncio.wrap_future(worker.submit(window))
        if decoded.hypothesis.looped:
            again = worker.submit(replace(window, careful=True))
            decoded = await asyncio.wrap_future(again)
        words.extend(decoded.hypothesis.words)

    async with source:
        async for item in source:
            if not isinstance(item, AudioChunk):
                continue
            if item.start_sample != at + len(held):  # a gap: what comes after keeps its place
                await decode(held)
                held, at = held[:0], item.start_sample
            held = np.concatenate((held, item.samples))
            while (cut := first_cut(held)) is not None:
                await decode(held[:cut])
                held, at = held[cut:], at + cut
    if len(held):
        await decode(held)
    return tuple(words)
