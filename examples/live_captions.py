"""Live captions on a page, for a browser or as a source in OBS.

python examples/live_captions.py [RECORDING|--mic [PORT]]
"""

import asyncio
import sys
from contextlib import suppress

from sinks.captions import CaptionsSink
from sources import MicrophoneSource
from streaming.app import Settings, make_pipeline


async def main(name: str, port: int = 8765) -> None:
    source = MicrophoneSource() if name == "--mic" else name
    captions = CaptionsSink("127.0.0.1", port)
    async with make_pipeline(source, Settings(), sinks=[captions]) as pipeline:
        print(f"open {captions.url}?lines=3&size=48", flush=True)
        await pipeline.run()


if __name__ == "__main__":
    name, *port = sys.argv[1:] or ["examples/jfk.flac"]
    with suppress(KeyboardInterrupt):
        asyncio.run(main(name, *map(int, port)))
