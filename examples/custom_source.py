"""A source of your own: several recordings, one after the other, as one stream.

python examples/custom_source.py [RECORDING ...]
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from sources import FileSource
from streaming import AudioChunk, Final, Flush, Source, SourceItem
from streaming.app import transcribe


class Playlist(Source):
    """What is said at the end of one recording is not joined to the next."""

    live = False  # it can wait

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        at = 0  # samples count from the start of the stream
        for path in self.paths:
            async with FileSource(path, pace="fast") as recording:
                async for chunk in recording:
                    yield AudioChunk(chunk.samples, at)
                    at += len(chunk.samples)
            yield Flush()


async def main(paths: list[str]) -> None:
    async for event in transcribe(Playlist(paths), pace="fast"):
        if isinstance(event, Final):
            print(f"{event.start_s:7.2f} s {event.text}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["examples/jfk.flac"] * 2))
