"""The contract of a source."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import numpy as np

from ..audio import AudioChunk, Flush, Samples
from ..events import Notice
from ..options import Configure
from ..protocols import Source, SourceItem
from ._common import CANCEL_S, close, expect

__all__ = ["check_source"]

CANCEL_AFTER_S = (0.0, 0.02, 0.15)
"""Moments at which iteration is cancelled: before the first chunk, early, and later."""
ENDLESS_CHUNKS = 20
"""Chunks that are looked at where a source does not end."""


async def check_source(
    make: Callable[[], Source], *, ends: bool = True, timeout_s: float = 30.0
) -> None:
    """Check a source's life and the audio it yields; flushes and notices may stand between.

    Five fresh ones are entered, one after another.

    Args:
        make: makes a source that is not entered yet and has some audio.
        ends: False for one that goes on for ever, such as a microphone; the first chunks are
            then looked at.
        timeout_s: within this time it must come to its end, or yield those.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    source = make()
    expect(isinstance(source, Source), f"{type(source).__name__} lacks a member of Source")
    expect(isinstance(source.live, bool), f"live must be True or False, not {source.live!r}")
    await _check_leaving(make)
    for after_s in CANCEL_AFTER_S:
        await _check_cancellation(make(), after_s)
    try:
        async with asyncio.timeout(timeout_s):
            await _check_audio(make(), ends)
    except TimeoutError:
        due = "end" if ends else f"yield {ENDLESS_CHUNKS} chunks"
        raise AssertionError(f"the source did not {due} within {timeout_s:g} s") from None


async def _check_leaving(make: Callable[[], Source]) -> None:
    source = make()
    await source.__aenter__()
    await close(source, ValueError("an error inside `async with`"))  # not iterated
    await close(source)  # twice


async def _check_cancellation(source: Source, after_s: float) -> None:
    await source.__aenter__()
    task = asyncio.create_task(_consume(aiter(source)))
    await asyncio.wait({task}, timeout=after_s)
    if not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_S)
        expect(task.done(), f"a cancelled wait for a chunk goes on after {CANCEL_S:g} s")
        expect(task.cancelled(), "a cancelled wait for a chunk swallows the cancellation")
    elif (error := task.exception()) is not None:
        raise error
    await close(source)


async def _consume(items: AsyncIterator[SourceItem]) -> None:
    async for _ in items:
        pass


async def _check_audio(source: Source, ends: bool) -> None:
    await source.__aenter__()
    items = aiter(source)
    end_sample = count = 0
    kept: tuple[AudioChunk, Samples] | None = None
    while ends or count < ENDLESS_CHUNKS:
        try:
            item = await anext(items)
        except StopAsyncIteration:
            break
        if kept is not None:
            chunk, copy = kept
            expect(np.array_equal(chunk.samples, copy), "a chunk changed after it was yielded")
        if isinstance(item, Flush | Configure | Notice):
            continue
        expect(isinstance(item, AudioChunk), f"yields a {type(item).__name__}, not an AudioChunk")
        _check_chunk(item, end_sample)
        kept = item, item.samples.copy()
        end_sample = item.end_sample
        count += 1
    expect(count, "the source yields no audio")
    if ends:
        try:
            await anext(items)
        except StopAsyncIteration:
            pass
        else:
            raise AssertionError("iteration goes on after its end")
    else:
        expect(count == ENDLESS_CHUNKS, "the source ended, though it was said not to")
    await close(source)


def _check_chunk(chunk: AudioChunk, end_sample: int) -> None:
    where = f"the chunk at sample {chunk.start_sample}"
    samples = chunk.samples
    expect(isinstance(samples, np.ndarray), f"{where} holds a {type(samples).__name__}, no array")
    expect(samples.dtype == np.float32, f"{where} is {samples.dtype}, not float32")
    expect(samples.ndim == 1, f"{where} has shape {samples.shape}, not (n,)")
    expect(len(samples), f"{where} is empty")
    expect(samples.flags.c_contiguous, f"{where} is not contiguous in memory")
    expect(np.isfinite(samples).all(), f"{where} holds a sample that is not finite")
    peak = float(np.abs(samples).max())
    expect(peak <= 1.0, f"{where} reaches {peak:g}; samples lie in [-1, 1]")
    start = chunk.start_sample
    expect(isinstance(start, int), f"start_sample is a {type(start).__name__}, not an int")
    expect(start >= end_sample, f"{where} goes back: the one before it ended at {end_sample}")
    if chunk.gap_reason:
        expect(start > end_sample, f"{where} gives a gap_reason, but there is no gap")
    else:
        what = "ended at" if end_sample else "the stream starts at"
        expect(
            start == end_sample,
            f"{where} leaves a gap without a gap_reason: {what} {end_sample}",
        )
