from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from command_talk import words

from sinks.commands import CommandSink
from streaming.commands import BargeIn, CommandHeard, CommandSpotter, Spotted
from streaming.errors import ConfigurationError
from streaming.events import Committed, Event, Final, Notice, text_of
from streaming.protocols import Lingering, Reporting, Sink
from streaming.testing import check_sink

PHRASES = {"lights": "turn the lights {on|off}", "stop": "stop"}


def spotter() -> CommandSpotter:
    return CommandSpotter(PHRASES, barge_in="words")


def utterance(text: str, at_s: float = 0.0) -> list[Event]:
    said = words(text, at_s)
    whole = text_of(list(said))
    end_s = said[-1].end_s
    return [
        Committed(session="s", clock_s=end_s, text=whole, words=said),
        Final(session="s", clock_s=end_s, text=whole, words=said, start_s=at_s, end_s=end_s),
    ]


def run(sink: CommandSink[Spotted], events: Sequence[Event]) -> list[Notice]:
    told: list[Notice] = []
    sink.report = told.append

    async def main() -> None:
        async with sink:
            for event in events:
                await sink.write(event)

    asyncio.run(main())
    return told


def test_it_is_a_sink_that_reports() -> None:
    sink = CommandSink(spotter(), print)
    assert isinstance(sink, Sink)
    assert isinstance(sink, Reporting)


@pytest.mark.parametrize("kind", ["plain", "async", "failing"])
def test_it_keeps_the_contract(kind: str) -> None:
    async def answer(heard: Spotted) -> None:
        await asyncio.sleep(0)

    def fail(heard: Spotted) -> None:
        raise ValueError("no such lamp")

    handler = {"plain": lambda heard: None, "async": answer, "failing": fail}[kind]
    phrases = {"greeting": "Grüße", "world": "世界"}  # what the check says
    asyncio.run(check_sink(lambda: CommandSink(CommandSpotter(phrases), handler)))


@pytest.mark.parametrize("choice", [{"most_running": 0}, {"drain_s": -1.0}])
def test_limits_that_cannot_work_are_refused(choice: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        CommandSink(spotter(), print, **choice)  # type: ignore[arg-type]


def test_plain_functions_and_coroutines_get_every_command_in_order() -> None:
    async def later(heard: Spotted) -> None:
        await asyncio.sleep(0)
        got.append(heard)

    handlers: list[Callable[[Spotted], object]] = [lambda heard: got.append(heard), later]
    for handler in handlers:
        got: list[Spotted] = []
        events = [*utterance("turn the lights on"), *utterance("stop", 5.0)]
        assert run(CommandSink(spotter(), handler), events) == []
        assert [e.name for e in got if isinstance(e, CommandHeard)] == ["lights", "stop"]


def test_a_slow_answer_holds_up_neither_the_session_nor_the_next_command() -> None:
    got: list[str] = []
    bot = spotter()
    stopped = asyncio.Event()

    async def speak(heard: Spotted) -> None:
        if isinstance(heard, CommandHeard) and heard.name == "lights":
            bot.speaking = True
            await stopped.wait()  # it would speak for ever
            got.append("stopped")
        else:
            got.append(type(heard).__name__)
            stopped.set()

    async def main() -> None:
        async with CommandSink(bot, speak) as sink:
            for event in utterance("turn the lights on"):
                await sink.write(event)
            await asyncio.sleep(0)  # the bot begins to speak
            for event in utterance("wait", 5.0):
                await sink.write(event)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert got == [BargeIn.__name__, "stopped"]


def test_a_handler_that_fails_is_told_and_called_again() -> None:
    calls: list[Spotted] = []

    def plain(heard: Spotted) -> None:
        calls.append(heard)
        raise ValueError("no such\nlamp")

    async def later(heard: Spotted) -> None:
        plain(heard)

    handlers: list[Callable[[Spotted], object]] = [plain, later]
    for handler in handlers:
        told = run(CommandSink(spotter(), handler), [*utterance("stop"), *utterance("stop", 5.0)])
        name = getattr(handler, "__name__", "")
        assert [(notice.code, notice.message) for notice in told] == 2 * [
            ("command_failed", f"commands: {name} failed: ValueError: no such lamp")
        ]
    assert len(calls) == 4


def test_commands_beyond_the_limit_are_left_out_and_told() -> None:
    async def hang(heard: Spotted) -> None:
        await asyncio.Event().wait()

    events = [event for number in range(3) for event in utterance("stop", 5.0 * number)]
    told = run(CommandSink(spotter(), hang, most_running=2, drain_s=0.0), events)
    assert [notice.code for notice in told] == ["command_dropped"] * 2
    assert "name='stop'" in told[0].message
    assert "was not done with 2 calls" in told[1].message


def test_leaving_waits_for_answers_and_not_for_ever() -> None:
    done: list[bool] = []

    async def answer(heard: Spotted) -> None:
        try:
            await asyncio.sleep(0.05)
            done.append(True)
        except asyncio.CancelledError:
            done.append(False)
            raise

    assert run(CommandSink(spotter(), answer), utterance("stop")) == []
    told = run(CommandSink(spotter(), answer, drain_s=0.0), utterance("stop"))
    assert done == [True, False]
    assert [notice.code for notice in told] == ["command_dropped"]


def test_an_error_ends_answers_at_once() -> None:
    ended: list[str] = []

    async def hang(heard: Spotted) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")

    async def main() -> None:
        async with CommandSink(spotter(), hang) as sink:
            for event in utterance("stop"):
                await sink.write(event)
            await asyncio.sleep(0)
            raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        asyncio.run(asyncio.wait_for(main(), 20))
    assert ended == ["hang"]


def test_whoever_leaves_it_waits_for_as_long_as_it_drains() -> None:
    sink = CommandSink(spotter(), print, drain_s=30.0)
    assert isinstance(sink, Lingering)
    assert sink.leave_limit_s > 30.0
