"""The shortest program: a recording, streamed as if it were live, as events.

python examples/transcribe_file.py [RECORDING]
"""

import asyncio
import sys

from streaming import Committed, Final
from streaming.app import transcribe


async def main(path: str) -> None:
    async for event in transcribe(path, model="tiny.en", pace="fast"):
        if isinstance(event, Committed):
            print(event.text, end="", flush=True)
        elif isinstance(event, Final):
            print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/jfk.flac"))
