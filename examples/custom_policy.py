"""A policy of your own, one pure method: it commits words that ended a second before the audio.

python examples/custom_policy.py [RECORDING]
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace

from streaming import Committed, Word
from streaming.app import Settings, make_parts, make_pipeline
from streaming.protocols import Commit


class HoldBack:
    """Where a pass ends, it hears worst."""

    history = 1  # hypotheses that it wants to see

    def update(
        self, history: Sequence[Sequence[Word]], committed: Sequence[Word], audio_end_s: float
    ) -> Commit:
        newest, safe_s = tuple(history[-1]), audio_end_s - 1.0
        n = next((i for i, word in enumerate(newest) if word.end_s > safe_s), len(newest))
        return Commit(newest[:n], newest[n:])


async def main(path: str) -> None:
    settings = Settings(pace="fast")
    parts = replace(make_parts(settings), commit_policy=HoldBack())
    async with make_pipeline(path, settings, parts=parts) as pipeline:
        async for event in pipeline.events():
            if isinstance(event, Committed):
                print(event.text, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/jfk.flac"))
