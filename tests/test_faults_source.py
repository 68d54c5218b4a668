"""A source that stalls, jumps, repeats itself, sends what is no audio, or breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from fakes import ScriptedBackend, ScriptedSource, chunks_of, make_parts, say, worker_for
from faults import ENDS_S, Ran, run_faulty
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from streaming import input as input_module
from streaming import pipeline as pipeline_module
from streaming.audio import SAMPLE_RATE, AudioChunk, Flush, seconds
from streaming.errors import SourceError
from streaming.events import AudioDropped, Event, Final, Flushed, Notice
from streaming.input_check import InputCheck
from streaming.pipeline import Pace, Pipeline
from streaming.protocols import SourceItem

SCRIPT = say(6, 4)
SAID = [word.text for word in SCRIPT.words]
AUDIO = SCRIPT.audio()
PACES: list[Pace] = ["realtime", "fast", "simulated"]
NAN = float("nan")


def run(source: Any, pace: Pace = "simulated", **options: Any) -> Ran:
    return run_faulty(ScriptedBackend(SCRIPT), SCRIPT, source=source, pace=pace, **options)


def messages(ran: Ran, code: str) -> list[str]:
    return [notice.message for notice in ran.notices(code)]


# -- stalls ---------------------------------------------------------------------------------------


class Stalling(ScriptedSource):
    """Gives nothing for a while at some chunks, and what it has to say before that."""

    def __init__(
        self, stalls: dict[int, float], *, words: dict[int, SourceItem] | None = None
    ) -> None:
        super().__init__(chunks_of(AUDIO), live=True, paced=True)
        self.stalls = stalls
        self.words = words or {}

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        number = 0
        async for item in super().__aiter__():
            if number in self.words:
                yield self.words[number]
            await asyncio.sleep(self.stalls.get(number, 0.0))
            yield item
            number += 1


def live(source: ScriptedSource) -> Ran:
    return run(source, "realtime", runner=run_virtual)


@pytest.mark.parametrize("stall_s", [5.5, 60.0, 3600.0])
def test_a_live_source_that_stalls_closes_the_utterance_and_goes_on(stall_s: float) -> None:
    ran = live(Stalling({15: stall_s}))  # in the third word
    assert ran.error is None
    assert ran.codes == ["stalled", "flowing"]
    assert messages(ran, "stalled") == ["no audio for 5 s; waiting for it"]
    stalled = ran.notices("stalled")[0]
    first = next(e for e in ran.events if isinstance(e, Final))
    assert first.reason == "flush"
    assert stalled.clock_s == pytest.approx(1.5 + 5.0, abs=0.2)
    assert first.clock_s - stalled.clock_s < 1.0  # its words did not wait for the audio
    assert ran.text[-4:] == SAID[-4:]


def test_every_stall_is_told_once() -> None:
    ran = live(Stalling({5: 20.0, 20: 30.0}))
    assert ran.codes == ["stalled", "flowing"] * 2


def test_a_source_that_gives_nothing_at_all_is_told_and_closes_nothing() -> None:
    ran = live(Stalling({0: 12.0}))
    assert ran.codes == ["stalled", "flowing"]
    assert not [e for e in ran.events if isinstance(e, Flushed)]
    assert ran.text == SAID


def test_a_source_that_says_itself_why_it_gives_nothing_is_believed() -> None:
    notice = Notice(level="warning", code="reconnecting", message="the cable is out")
    ran = live(Stalling({20: 90.0}, words={20: notice}))
    assert ran.codes == ["reconnecting"]


@pytest.mark.parametrize("pace", ["fast", "simulated"])
def test_nobody_waits_for_audio_that_is_not_live(pace: Pace) -> None:
    class Slow(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[SourceItem]:
            for number, item in enumerate(self.items):
                await asyncio.sleep(0.2 if number == 12 else 0.0)
                yield item

    ran = run(Slow(chunks_of(AUDIO), live=True), pace, stall_s=0.05)
    assert ran.codes == []
    assert ran.text == SAID


# -- no audio -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
def test_samples_that_are_no_numbers_become_silence_and_are_told(value: float, pace: Pace) -> None:
    audio = AUDIO.copy()
    audio[::2000] = value  # within words, too
    ran = run(ScriptedSource(chunks_of(audio)), pace)
    assert ran.error is None
    assert ran.text == SAID
    told = messages(ran, "not_finite")
    assert sum(int(message.split()[0]) for message in told) == len(audio[::2000])
    assert len(told) == 2  # the first at once, the rest at the end


def test_a_source_of_nothing_else_is_told_every_ten_seconds() -> None:
    audio = np.full(35 * SAMPLE_RATE, NAN, np.float32)
    ran = run(ScriptedSource(chunks_of(audio)))
    assert ran.text == []
    assert len(ran.notices("not_finite")) == 5


@pytest.mark.parametrize("peak", [32_767.0, 2e9, 1e30, 3e38])
def test_integers_that_were_passed_as_floats_are_told_once_and_break_nothing(peak: float) -> None:
    audio = (AUDIO / 0.3 * peak).astype(np.float32)
    ran = run(ScriptedSource(chunks_of(audio)))
    assert ran.error is None
    (message,) = messages(ran, "too_loud")
    assert "integers passed as floats? Divide those of 16 bits by 32768" in message
    assert ran.text == SAID


class Yields(ScriptedSource):
    """Something else after a second."""

    def __init__(self, thing: object) -> None:
        super().__init__(chunks_of(AUDIO))
        self.thing = thing

    async def __aiter__(self) -> AsyncIterator[Any]:
        for number, item in enumerate(self.items):
            yield self.thing if number == 30 else item


THINGS: dict[str, tuple[object, str]] = {
    "bytes": (b"\0\0", "yields bytes; it has to yield AudioChunk"),
    "none": (None, "yields NoneType"),
    "integers": (AudioChunk(np.zeros(1600, np.int16), 48_000), "int16, shape (1600,)"),
    "doubles": (AudioChunk(np.zeros(1600), 48_000), "float64"),  # type: ignore[arg-type]
    "stereo": (AudioChunk(np.zeros((1600, 2), np.float32), 48_000), "shape (1600, 2)"),
    "a list": (AudioChunk([0.0] * 1600, 48_000), "samples as list"),  # type: ignore[arg-type]
    "half a sample": (AudioChunk(np.zeros(16, np.float32), 0.5), "starts at 0.5"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", THINGS)
@pytest.mark.parametrize("pace", PACES)
def test_what_is_no_audio_ends_the_input_and_what_was_heard_is_finished(
    name: str, pace: Pace
) -> None:
    thing, message = THINGS[name]
    ran = run(Yields(thing), pace)
    assert isinstance(ran.error, SourceError)
    assert message in str(ran.error)
    assert ran.text == [w.text for w in SCRIPT.words if w.end_s < 3.0]
    assert ran.reason == "source_error"
    assert ran.codes == ["source_error"]


def test_chunks_without_a_sample_are_nothing() -> None:
    chunks = chunks_of(AUDIO)
    empty = AudioChunk(np.zeros(0, np.float32), 10**9)
    ran = run(ScriptedSource([empty, *chunks[:20], empty, *chunks[20:]]))
    assert (ran.error, ran.codes, ran.text) == (None, [], SAID)


# -- jumps ----------------------------------------------------------------------------------------


def dropped(events: Sequence[Event]) -> list[tuple[int, int]]:
    return [(e.start_sample, e.end_sample) for e in events if isinstance(e, AudioDropped)]


@pytest.mark.parametrize("by_s", [0.3, 5.0, 1e6])
@pytest.mark.parametrize("pace", PACES)
def test_a_jump_forward_is_a_gap(by_s: float, pace: Pace) -> None:
    by = round(by_s * SAMPLE_RATE)
    chunks = chunks_of(AUDIO)
    after = [AudioChunk(c.samples, c.start_sample + by) for c in chunks[32:]]  # between the two
    backend = ScriptedBackend(SCRIPT)
    ran = run_faulty(backend, SCRIPT, source=ScriptedSource([*chunks[:32], *after]), pace=pace)
    assert ran.error is None
    assert dropped(ran.events) == [(51_200, 51_200 + by)]
    assert ran.text[:6] == SAID[:6]


@pytest.mark.parametrize("back", [1, 1600, 40_000, 10**9])
@pytest.mark.parametrize("pace", PACES)
def test_a_source_that_goes_back_is_cut_where_it_was_heard_and_told(back: int, pace: Pace) -> None:
    chunks = chunks_of(AUDIO)
    at = chunks[40].start_sample
    start = max(at - back, -(10**6))
    again = [
        AudioChunk(AUDIO[max(s, 0) : max(s, 0) + 1600], s) for s in range(start, at, 1600)[:60]
    ]
    rest = chunks_of(AUDIO[at:], start_sample=at)
    ran = run(ScriptedSource([*chunks[:40], *again, *rest]), pace)
    assert ran.error is None
    assert ran.text == SAID
    assert set(ran.codes) == {"went_back"}
    assert f"went back by {seconds(at - start):.2f} s" in messages(ran, "went_back")[0]
    assert dropped(ran.events) == []


# -- breaks ---------------------------------------------------------------------------------------


class Breaks(ScriptedSource):
    """Raises after three seconds."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(chunks_of(AUDIO))
        self.failure = error

    async def __aiter__(self) -> AsyncIterator[SourceItem]:
        for item in list(self.items)[:30]:
            yield item
        raise self.failure


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("no"), OSError(5, "I/O"), MemoryError(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("pace", PACES)
def test_whatever_a_source_raises_is_a_source_error_and_the_rest_is_finished(
    error: BaseException, pace: Pace
) -> None:
    ran = run(Breaks(error), pace)
    assert isinstance(ran.error, SourceError)
    assert str(ran.error).startswith("Breaks failed: ")
    assert ran.error.__cause__ is not None
    assert ran.text == [w.text for w in SCRIPT.words if w.end_s < 3.0]
    assert (ran.reason, ran.codes) == ("source_error", ["source_error"])


def test_a_source_that_cannot_be_iterated_ends_the_same() -> None:
    class Wrong(ScriptedSource):
        def __aiter__(self) -> Any:
            raise ZeroDivisionError("no")

    ran = run(Wrong([]))
    assert isinstance(ran.error, SourceError)
    assert ran.reason == "source_error"


def test_a_source_that_does_not_let_go_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(input_module, "_LEAVE_S", 0.2)
    monkeypatch.setattr(pipeline_module, "_LEAVE_S", 0.2)
    released = asyncio.Event()

    class Clings(ScriptedSource):
        async def __aiter__(self) -> AsyncIterator[SourceItem]:
            yield chunks_of(AUDIO)[0]
            while not released.is_set():
                with suppress(asyncio.CancelledError):
                    await released.wait()

        async def __aexit__(self, *exc_info: Any) -> None:
            await asyncio.Event().wait()

    async def scenario() -> None:
        with worker_for(ScriptedBackend(SCRIPT)) as worker:
            try:
                async with (
                    asyncio.timeout(ENDS_S),
                    Pipeline(Clings([]), worker, make_parts()) as pipeline,
                ):
                    asyncio.get_running_loop().call_later(0.2, pipeline.stop)
                    await pipeline.run()
            finally:
                released.set()
                await asyncio.sleep(0)

    with pytest.raises(SourceError, match=r"did not close within 0\.2 s and was left behind"):
        asyncio.run(scenario())
    assert "Clings does not let go" in caplog.text


# -- the check itself -----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.integers(-3000, 3000),
            st.integers(0, 2000),
            st.sampled_from([0.1, NAN, np.inf, 1e9, -1e30]),
        ),
        max_size=30,
    )
)
def test_what_comes_out_is_sound_and_in_order_whatever_goes_in(
    steps: list[tuple[int, int, float]],
) -> None:
    check, at, end, out = InputCheck(), 0, 0, 0
    for step, n, value in steps:
        at = max(at + step, -100)
        samples = np.full(n, 0.25, np.float32)
        samples[: n // 3] = value
        for item in check.push(AudioChunk(samples, at)):
            if isinstance(item, AudioChunk):
                assert len(item.samples)
                assert item.start_sample >= end
                assert np.isfinite(item.samples).all()
                assert np.abs(item.samples).max() <= 1e5
                end = item.end_sample
                out += len(item.samples)
        at += n
    assert out <= sum(n for _, n, _ in steps)
    codes = [item.code for item in check.finish() if isinstance(item, Notice)]
    assert len(codes) == len(set(codes))


def test_sound_audio_is_passed_on_as_it_is() -> None:
    check, chunk = InputCheck(), chunks_of(AUDIO)[0]
    assert check.push(chunk) == [chunk]
    assert check.push(Flush()) == [Flush()]
    assert check.finish() == []
