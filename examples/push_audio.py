"""A program that already holds the audio pushes it in, from whatever thread it has it on.

python examples/push_audio.py [RECORDING]
"""

import asyncio
import sys

import av
import numpy as np
from numpy.typing import NDArray

from sources import PushSource
from streaming import Final
from streaming.app import transcribe


def blocks(path: str) -> list[NDArray[np.float32]]:
    """Mono float32 blocks at the rate of a sound card, as one would deliver them."""
    with av.open(path) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=44_100)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return [frame.to_ndarray()[0] for frame in frames]


async def main(path: str) -> None:
    source = PushSource(sample_rate=44_100, live=False, capacity_s=60)
    for block in blocks(path):
        source.push(block)
    source.end()
    async for event in transcribe(source, pace="fast"):
        if isinstance(event, Final):
            print(f"{event.start_s:6.2f} s {event.text}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/jfk.flac"))
