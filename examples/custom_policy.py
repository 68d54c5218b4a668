"""A policy of your own: one class with one pure method.

This one commits the words that end more than a second before the audio does.
"""

import asyncio
import dataclasses
import sys
from collections.abc import Sequence

from sources.file import FileSource
from streaming import Committed, Pipeline, Word
from streaming.app import Settings, make_parts, make_worker
from streaming.protocols import Commit


class HoldBack:
    """Commits words once a second of audio has come after them."""

    history = 1

    def update(
        self, history: Sequence[Sequence[Word]], committed: Sequence[Word], audio_end_s: float
    ) -> Commit:
        newest = tuple(history[-1])
        safe_s = audio_end_s - 1.0
        n = next((i for i, word in enumerate(newest) if word.end_s > safe_s), len(newest))
        return Commit(newest[:n], newest[n:])


async def main(path: str) -> None:
    settings = Settings(pace="fast")
    parts = dataclasses.replace(make_parts(settings), commit_policy=HoldBack())
    worker = make_worker(settings)
    source = FileSource(path, pace="fast")
    async with Pipeline(source, worker, parts, pace="fast", owns_worker=True) as pipeline:
        async for event in pipeline.events():
            if isinstance(event, Committed):
                print(event.text, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/jfk.flac"))
