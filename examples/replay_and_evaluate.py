"""A run is kept and heard again with other settings; then both are measured.

python examples/replay_and_evaluate.py [RECORDING TEXT_FILE]
"""

import asyncio
import sys
from contextlib import closing
from pathlib import Path

from sinks.jsonl import JsonlSink
from sources import FileSource, RecordingSource, ReplaySource
from streaming.app import Settings, make_worker, transcribe
from streaming.evaluation import evaluate, format_table, measure, read_log
from streaming.offline import decode_offline

SAID = """And so, my fellow Americans: ask not what your country can do for you,
ask what you can do for your country."""


async def main(recording: str = "examples/jfk.flac", said: str = SAID) -> None:
    with closing(make_worker(Settings())) as worker:
        kept = RecordingSource(FileSource(recording, pace="simulated"), "kept.flac")
        log = JsonlSink("kept.jsonl")
        async for _ in transcribe(kept, sinks=[log], worker=worker, pace="simulated"):
            pass
        first = read_log("kept.jsonl")
        again = ReplaySource(FileSource("kept.flac", pace="simulated"), first)
        events = transcribe(again, worker=worker, pace="simulated", chunk_s=1.0)
        second = [event async for event in events]
        offline = await decode_offline(FileSource("kept.flac", pace="fast"), worker)
    for name, run in {"as it was": first, "with chunks of 1 s": second}.items():
        print(format_table(evaluate([measure(run, offline, reference=said, name=name)])))


if __name__ == "__main__":
    texts = (Path(name).read_text("utf-8") for name in sys.argv[2:])
    asyncio.run(main(*sys.argv[1:2], *texts))
