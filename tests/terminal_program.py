"""Shows two sessions on the terminal it runs on, until it is told to end by a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from functools import partial

from sinks.terminal import TerminalSink
from streaming.events import Committed, Final, Partial, SessionStarted
from streaming.protocols import Status

WORDS = tuple("ask not what your country can do for you but rather this together".split())  # noqa: SIM905


async def main(sessions: list[str], n_utterances: int) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGINT, task.cancel)
    async with TerminalSink() as sink:
        for number, label in enumerate(sessions):
            status = Status(audio_s=62.0, level_db=-20.0 - 10 * number, speaking=True)
            sink.follow(partial(replace, status), label=label)
            await sink.write(SessionStarted(session=label, label=label, model="m", backend="b"))
        for utterance in range(n_utterances):
            for place, word in enumerate(WORDS):
                for label in sessions:
                    text = f" {label}{utterance}{word}"
                    await sink.write(Committed(session=label, utterance=utterance, text=text))
                    await sink.write(
                        Partial(
                            session=label,
                            utterance=utterance,
                            tentative="".join(f" {later}?" for later in WORDS[place + 1 :]),
                        )
                    )
                await asyncio.sleep(0.005)
            for label in sessions:
                if utterance + 1 < n_utterances:
                    await sink.write(Final(session=label, utterance=utterance))
        await asyncio.sleep(60)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[2:], int(sys.argv[1])))
    except asyncio.CancelledError:
        sys.exit(130)
