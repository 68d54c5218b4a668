"""Both ends of a call: who said what, on the screen and in subtitles with voices.

    python examples/meeting.py [STEREO_RECORDING]

Without a recording the microphone is "me", and what the machine plays is "them".
"""

import asyncio
import sys
from contextlib import closing, suppress

from sinks.subtitles import WebVttSink
from sources import LoopbackSource, MicrophoneSource
from sources.duplex import duplex
from sources.split import split
from streaming import Final, SessionStarted
from streaming.app import Settings, make_run, make_worker


async def main(recording: str | None = None) -> None:
    if recording is None:
        settings, ends = Settings(), duplex(MicrophoneSource(), LoopbackSource())
    else:
        settings, ends = Settings(pace="fast"), split(recording, pace="fast")
    sources = dict(zip(("me", "them"), ends, strict=True))
    names = {}
    with closing(make_worker(settings)) as worker:  # one model for both
        run = make_run(sources, settings, sinks=[WebVttSink("meeting.vtt")], worker=worker)
        async with run:
            async for event in run.events():
                if isinstance(event, SessionStarted):
                    names[event.session] = event.label
                elif isinstance(event, Final) and event.text:
                    print(f"{event.start_s:7.1f} s {names[event.session]:>5}:{event.text}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
