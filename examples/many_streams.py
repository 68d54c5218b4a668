"""Several streams at once over one pool: their passes take turns on the models it has loaded.

python examples/many_streams.py [RECORDING ...]
"""

import asyncio
import sys
from contextlib import closing

from streaming import BackendPool, Final
from streaming.app import Settings, make_worker, transcribe


async def follow(label: str, path: str, pool: BackendPool) -> None:
    async for event in transcribe(path, worker=pool, label=label):
        if isinstance(event, Final):
            print(f"{label}: {event.text.strip()}")


async def main(paths: list[str]) -> None:
    with closing(make_worker(Settings(workers=2))) as pool:
        streams = [follow(f"stream {i}", path, pool) for i, path in enumerate(paths, start=1)]
        await asyncio.gather(*streams)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["examples/jfk.flac"] * 3))
