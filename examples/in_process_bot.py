"""A bot in your own process: it hears what is said, and answers once somebody has finished.

python examples/in_process_bot.py [RECORDING|--mic]
"""

import asyncio
import sys
from contextlib import suppress

from sources import MicrophoneSource
from streaming import Final
from streaming.app import transcribe

ANSWERS = {"for your country": "Vote, to begin with.", "fellow americans": "Good morning!"}


async def answer(said: str) -> None:
    """Whatever takes time goes here: ask a language model, speak, switch the lights on."""
    print(f"  you: {said}")
    for words, reply in ANSWERS.items():
        if words in said.lower():
            await asyncio.sleep(0.1)
            print(f"  bot: {reply}")


async def main(name: str) -> None:
    source = MicrophoneSource() if name == "--mic" else name
    async with asyncio.TaskGroup() as answers:  # beside the listening, which goes on meanwhile
        async for event in transcribe(source, endpoint_silence_s=0.5):
            if isinstance(event, Final) and (said := event.text.strip()):
                answers.create_task(answer(said))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "examples/jfk.flac"))
