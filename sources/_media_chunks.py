"""Audio of files and streams at 16 kHz, in chunks; one chunk per channel."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from streaming.audio import SAMPLE_RATE, AudioChunk, Samples
from streaming.errors import SourceError
from streaming.events import Notice

from ._chunker import Chunker
from ._part import WHOLE, Part
from ._resample import Resampler

if TYPE_CHECKING:
    from ._decode import Block
    from ._open import Header, Location

__all__ = ["chunks", "cut"]

N = TypeVar("N", bound=Notice)


def chunks(
    location: Location,
    *chunkers: Chunker,
    part: Part = WHOLE,
    opened: Callable[[Header], None] = lambda header: None,
) -> Generator[tuple[AudioChunk, ...], None, None]:
    """Decode, resample and cut a file; blocking. An error comes after all the audio before it.

    Args:
        location: a path or an open file.
        chunkers: one mixes all channels; two take the left and the right one of a stereo
            recording, and the chunks of each yielded pair have the same place and length.
        part: what of it; time counts from its start.
        opened: called on this thread, before the first chunk, with what the header says.

    Raises:
        SourceError: it cannot be opened or read, or does not have the two channels.
    """
    from ._decode import decode  # FFmpeg is loaded on use, and here: off the event loop

    split = len(chunkers) > 1
    with closing(decode(location, part, split=split, opened=opened)) as blocks:
        yield from cut(blocks, *chunkers)


def cut(
    blocks: Generator[Block | N, None, None], *chunkers: Chunker
) -> Generator[tuple[AudioChunk, ...] | N, None, None]:
    """Resample and cut decoded audio, as many channels as there are chunkers.

    Audio that is missing before a block is a gap in all channels. Notices pass through.

    Raises:
        SourceError: of ``blocks``, after all the audio before it.
    """
    resamplers: list[Resampler] = []
    rate = 0
    failure: SourceError | None = None
    try:
        for block in blocks:
            if isinstance(block, Notice):
                yield block
                continue
            missing = round(block.lost_s * SAMPLE_RATE)
            if resamplers and (missing or block.rate != rate):
                yield from _pushed(chunkers, [each.flush() for each in resamplers])
            if missing:
                yield from _flushed(chunkers)
                for chunker in chunkers:
                    chunker.skip(missing, block.lost_reason)
            if block.rate != rate:
                rate = block.rate
                resamplers = [Resampler(rate) for _ in chunkers]
            channels = [np.ascontiguousarray(channel) for channel in block.samples.T]
            yield from _pushed(
                chunkers, [r.push(c) for r, c in zip(resamplers, channels, strict=True)]
            )
    except SourceError as error:
        failure = error
    yield from _pushed(chunkers, [each.flush() for each in resamplers])
    yield from _flushed(chunkers)
    if failure is not None:
        raise failure


def _pushed(
    chunkers: tuple[Chunker, ...], pieces: list[Samples]
) -> Iterator[tuple[AudioChunk, ...]]:
    # Without a resampler yet there is no audio either.
    return zip(*(c.push(p) for c, p in zip(chunkers, pieces, strict=False)), strict=True)


def _flushed(chunkers: tuple[Chunker, ...]) -> Iterator[tuple[AudioChunk, ...]]:
    return zip(*(chunker.flush() for chunker in chunkers), strict=True)
