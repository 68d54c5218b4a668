"""A bot for lights and timers: python examples/voice_command_bot.py RECORDING, or --mic.

It prints what it would do and how long after the last word it knew. A recording is heard as if
it were live.
"""

import argparse
import asyncio
import sys

from sinks.commands import CommandSink
from sources.file import FileSource
from sources.microphone import MicrophoneSource
from streaming import StreamingError
from streaming.app import Settings, make_pipeline
from streaming.commands import CommandHeard, CommandSpotter, Spotted, WakeHeard

PHRASES = {
    "lights": [
        "turn [the] {room} lights {state:on|off}",
        "turn {state:on|off} [the] {room} lights",
    ],
    "timer": ["set a timer for {duration}", "set a {duration} timer"],
    "cancel": "cancel [the] timer",
    "stop": ["stop", "be quiet"],
}
ROOMS = ["kitchen", "living room", "bedroom", "bathroom"]
PROMPT = "Turn the kitchen lights on. Set a timer for five minutes. Cancel the timer. Stop."
"""Told to the model: who knows what may be said hears it better."""


class Bot:
    """Lights, a timer, and a voice that can be stopped."""

    def __init__(self) -> None:
        self.lit: set[str] = set()

    def handle(self, heard: Spotted) -> None:
        """Answer at once; a coroutine may take its time."""
        if isinstance(heard, WakeHeard):
            print(f"{heard.end_s:7.2f} s  listening")
        elif isinstance(heard, CommandHeard):
            delay_s = heard.clock_s - heard.end_s
            print(
                f"{heard.end_s:7.2f} s  {self.answer(heard)}  "
                f"(heard {heard.text!r}, {delay_s:.2f} s after the last word)"
            )

    def answer(self, heard: CommandHeard) -> str:
        match heard.name, dict(heard.slots):
            case "lights", {"room": str(room), "state": "on"}:
                self.lit.add(room)
            case "lights", {"room": str(room)}:
                self.lit.discard(room)
            case "timer", {"duration": seconds}:
                return f"timer: {seconds} seconds"
            case name, _:
                return f"{name}!"
        return f"lit: {', '.join(sorted(self.lit)) or 'nothing'}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="?", default="examples/jfk.flac")
    parser.add_argument("--mic", action="store_true", help="listen to the microphone")
    parser.add_argument("--wake", metavar="PHRASE", help='e.g. "computer"; needed before commands')
    chosen = parser.parse_args()

    spotter = CommandSpotter(PHRASES, slots={"room": ROOMS}, wake=chosen.wake)
    source = MicrophoneSource() if chosen.mic else FileSource(chosen.recording, pace="simulated")
    prompt = f"{chosen.wake.capitalize()}. {PROMPT}" if chosen.wake else PROMPT
    settings = Settings(pace="realtime" if chosen.mic else "simulated", prompt=prompt)
    print(f'Say "turn the {ROOMS[0]} lights on", "set a timer for five minutes" or "stop".')
    sink = CommandSink(spotter, Bot().handle)
    async with make_pipeline(source, settings, sinks=[sink]) as pipeline:
        await pipeline.run()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
    except StreamingError as error:
        sys.exit(str(error))
