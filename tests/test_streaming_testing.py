from __future__ import annotations

import asyncio
import contextlib
import io
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest
from audio_files import JFK

import sources
from policies.endpointing import TrailingSilence
from policies.local_agreement import LocalAgreement
from policies.trimming import TrimAtWord
from sinks.callback import CallbackSink
from sinks.discard import DiscardSink
from sinks.jsonl import JsonlSink
from sinks.notices import NoticesSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink
from sources.file import FileSource
from sources.pcm_stdin import PcmStdinSource
from sources.push import PushSource
from sources.synthetic import Silence, SyntheticSource, Tone
from streaming.audio import AudioChunk, Flush, Samples
from streaming.errors import SinkError, SourceError
from streaming.events import Committed, Event, FinalReason, Notice, Partial, Word
from streaming.protocols import Activity, Commit, Hypothesis, Sink, Source, SourceItem, Window
from streaming.testing import (
    check_backend,
    check_commit_policy,
    check_endpoint_policy,
    check_sink,
    check_source,
    check_trim_policy,
)

# Sources


def pushed() -> PushSource:
    source = PushSource(sample_rate=48_000)
    source.push(np.full(96_000, 0.1, np.float32))
    source.flush()
    source.push(np.full(48_000, 0.1, np.float32))
    source.end()
    return source


def overflown() -> PushSource:
    source = PushSource(capacity_s=0.5)
    source.push(np.zeros(32_000, np.float32))
    source.end()
    return source


@pytest.mark.parametrize(
    "make",
    [
        lambda: FileSource(JFK, pace="fast"),
        lambda: SyntheticSource([Tone(0.4), Silence(0.33)]),
        lambda: SyntheticSource([Tone(20.0)], pace="simulated", chunk_s=0.02),
        lambda: PcmStdinSource(io.BytesIO(bytes(50_001))),
        pushed,
        overflown,
    ],
)
def test_the_sources_keep_the_contract(make: Callable[[], Source]) -> None:
    asyncio.run(check_source(make))


def test_an_endless_source_keeps_the_contract() -> None:
    def microphone() -> Source:
        return SyntheticSource([Tone(1e6)], chunk_s=0.01)

    asyncio.run(check_source(microphone, ends=False))


def test_the_example_in_the_docstring_is_a_source() -> None:
    assert sources.__doc__ is not None
    example = sources.__doc__.split("::\n", 1)[1].split("\n`AudioChunk` and", 1)[0]
    names: dict[str, Any] = {"np": np, "AudioChunk": AudioChunk, "Source": Source}
    exec(textwrap.dedent(example), names)
    asyncio.run(check_source(names["Beep"]))


class GoodSource:
    """Half a second, paced; the broken ones below change one thing."""

    live: bool = False

    def __init__(self) -> None:
        self._start = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def __aiter__(self) -> AsyncIterator[AudioChunk | Flush]:
        return self

    async def __anext__(self) -> AudioChunk | Flush:
        await asyncio.sleep(0.005)
        if self._start >= 8_000:
            raise StopAsyncIteration
        chunk = AudioChunk(np.full(160, 0.1, np.float32), self._start)
        self._start += 160
        return self.changed(chunk)

    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return chunk


def with_samples(samples: Samples) -> type[GoodSource]:
    class Changed(GoodSource):
        def changed(self, chunk: AudioChunk) -> AudioChunk:
            return AudioChunk(samples, chunk.start_sample)

    return Changed


class Talks(GoodSource):
    """Says something between chunks, and with ``forever`` nothing else."""

    forever = False

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0

    async def __anext__(self) -> SourceItem:  # type: ignore[override]
        self._turn += 1
        if self.forever or (self._turn % 3 and self._start < 8_000):
            await asyncio.sleep(0)
            return Flush() if self._turn % 2 else Notice(code="muted", message="muted?")
        return await super().__anext__()


class OnlyTalks(Talks):
    forever = True


class NotASource:
    pass


class LiveIsUnclear(GoodSource):
    live = None  # type: ignore[assignment]


class StartsLate(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return replace(chunk, start_sample=chunk.start_sample + 160)


class LosesInSilence(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return replace(chunk, start_sample=chunk.start_sample * 2)


class GivesNeedlessReasons(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return replace(chunk, gap_reason="overflow")


class GoesBack(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return replace(chunk, start_sample=chunk.start_sample // 2)


class CountsInFloats(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return replace(chunk, start_sample=float(chunk.start_sample))  # type: ignore[arg-type]


class ReusesItsBuffer(GoodSource):
    buffer = np.zeros(160, np.float32)

    def changed(self, chunk: AudioChunk) -> AudioChunk:
        self.buffer += np.float32(1e-4)
        return AudioChunk(self.buffer, chunk.start_sample)


class YieldsArrays(GoodSource):
    def changed(self, chunk: AudioChunk) -> AudioChunk:
        return chunk.samples  # type: ignore[return-value]


class SaysNothing(GoodSource):
    def __init__(self) -> None:
        self._start = 8_000


class NeverEnds(GoodSource):
    async def __anext__(self) -> AudioChunk | Flush:
        if self._start >= 8_000:
            self._start -= 160
            await asyncio.sleep(3600)
        return await super().__anext__()


class GoesOnAfterItsEnd(GoodSource):
    async def __anext__(self) -> AudioChunk | Flush:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            self._start = 0
            raise


class SwallowsCancellation(GoodSource):
    async def __anext__(self) -> AudioChunk | Flush:
        try:
            return await super().__anext__()
        except asyncio.CancelledError:
            raise StopAsyncIteration from None


class IgnoresCancellation(GoodSource):
    async def __anext__(self) -> AudioChunk | Flush:
        with contextlib.suppress(asyncio.CancelledError):
            return await super().__anext__()
        await asyncio.sleep(0.3)
        raise StopAsyncIteration


class HidesErrors(GoodSource):
    async def __aexit__(self, *exc_info: object) -> bool:  # type: ignore[override]
        return True


class LeavesForEver(GoodSource):
    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.sleep(3600)


def test_flushes_and_notices_may_stand_between_chunks() -> None:
    asyncio.run(check_source(Talks))
    asyncio.run(check_source(Talks, ends=False))


def test_an_endless_source_without_audio_is_told() -> None:
    with pytest.raises(AssertionError, match=r"did not yield 20 chunks within 0\.2 s"):
        asyncio.run(check_source(OnlyTalks, ends=False, timeout_s=0.2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NotASource, "lacks a member of Source"),
        (LiveIsUnclear, "live must be True or False"),
        (with_samples(np.zeros(160)), "float64, not float32"),  # type: ignore[arg-type]
        (with_samples(np.zeros((160, 1), np.float32)), "not \\(n,\\)"),
        (with_samples(np.zeros(0, np.float32)), "is empty"),
        (with_samples(np.zeros(320, np.float32)[::2]), "not contiguous"),
        (with_samples(np.full(160, np.nan, np.float32)), "not finite"),
        (with_samples(np.full(160, 32767, np.float32)), "reaches 32767"),
        (with_samples([0.0] * 160), "holds a list, no array"),  # type: ignore[arg-type]
        (StartsLate, "leaves a gap without a gap_reason: the stream starts at 0"),
        (LosesInSilence, "leaves a gap without a gap_reason: ended at 160"),
        (GivesNeedlessReasons, "but there is no gap"),
        (GoesBack, "goes back: the one before it ended at 160"),
        (CountsInFloats, "start_sample is a float"),
        (ReusesItsBuffer, "changed after it was yielded"),
        (YieldsArrays, "yields a ndarray"),
        (SaysNothing, "yields no audio"),
        (NeverEnds, "did not end within"),
        (GoesOnAfterItsEnd, "goes on after its end"),
        (SwallowsCancellation, "swallows the cancellation"),
        (IgnoresCancellation, "goes on after 0.1 s"),
        (HidesErrors, "hides errors"),
        (LeavesForEver, "__aexit__ takes longer"),
    ],
)
def test_a_broken_source_is_found_out(
    make: Callable[[], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.testing._common.CLOSE_S", 0.2)
    with pytest.raises(AssertionError, match=message):
        asyncio.run(check_source(make, timeout_s=1.0))


def test_the_source_the_broken_ones_are_made_of_is_good() -> None:
    asyncio.run(check_source(GoodSource))


def test_a_source_that_ends_though_it_should_not_is_found_out() -> None:
    with pytest.raises(AssertionError, match="ended, though it was said not to"):
        asyncio.run(check_source(lambda: SyntheticSource([Tone(0.3)]), ends=False))


def test_a_source_s_own_error_comes_through() -> None:
    with pytest.raises(SourceError, match="no such file"):
        asyncio.run(check_source(lambda: FileSource("no.wav")))


# Sinks


@pytest.mark.parametrize("kind", [JsonlSink, SrtSink, WebVttSink, TextSink])
def test_the_writing_sinks_keep_the_contract(
    tmp_path: Path, kind: Callable[[str | Path | io.StringIO], Sink]
) -> None:
    asyncio.run(check_sink(lambda: kind(tmp_path / "out")))
    asyncio.run(check_sink(lambda: kind(io.StringIO())))


@pytest.mark.parametrize(
    "make",
    [
        DiscardSink,
        lambda: CallbackSink(lambda event: None),
        lambda: TerminalSink(io.StringIO(), notices=io.StringIO()),
        lambda: NoticesSink(io.StringIO()),
    ],
)
def test_the_other_sinks_keep_the_contract(make: Callable[[], Sink]) -> None:
    asyncio.run(check_sink(make))


class GoodSink:
    entered = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return None

    async def write(self, event: Event) -> None:
        pass


class UsableOnce(GoodSink):
    used = False

    async def __aenter__(self) -> Self:
        if self.used:
            raise SinkError("a sink is used once; make a new one")
        self.used = True
        return self


class KnowsItsEventsOnly(GoodSink):
    async def write(self, event: Event) -> None:
        known = {cls.type for cls in Event.__subclasses__() if cls.__module__ == "streaming.events"}
        if event.type not in known:
            raise KeyError(event.type)


class NeedsWords(GoodSink):
    async def write(self, event: Event) -> None:
        if isinstance(event, Partial | Committed):
            assert event.words[0].text.isascii()


class SwallowsTheEnd(GoodSink):
    async def __aexit__(self, *exc_info: object) -> bool:
        return exc_info[0] is asyncio.CancelledError


class NeedsAWrite(GoodSink):
    lines: list[Event]

    async def write(self, event: Event) -> None:
        self.lines = [event]

    async def __aexit__(self, *exc_info: object) -> None:
        self.lines.clear()


class BreaksOnReuse(UsableOnce):
    async def __aenter__(self) -> Self:
        if self.used:
            raise RuntimeError("threads can only be started once")
        return await super().__aenter__()


class IsStuck(GoodSink):
    async def write(self, event: Event) -> None:
        if event.seq == 0 and event.session == "":
            await asyncio.sleep(3600)


class WritesWhenLeft(GoodSink):
    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.sleep(3600)


@pytest.mark.parametrize("make", [GoodSink, UsableOnce])
def test_a_good_sink_of_another_author_passes(make: Callable[[], Sink]) -> None:
    asyncio.run(check_sink(make))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (NotASource, AssertionError, "lacks a member of Sink"),
        (KnowsItsEventsOnly, AssertionError, "write\\(_FromTheFuture\\) raises KeyError"),
        (NeedsWords, AssertionError, "write\\(Partial\\) raises AssertionError"),
        (SwallowsTheEnd, AssertionError, "swallows the cancellation"),
        (HidesErrors, AssertionError, "lacks a member"),
        (NeedsAWrite, AttributeError, "lines"),
        (BreaksOnReuse, AssertionError, "a second time raises RuntimeError"),
        (IsStuck, AssertionError, "writing five events takes longer"),
        (WritesWhenLeft, AssertionError, "__aexit__ takes longer"),
    ],
)
def test_a_broken_sink_is_found_out(
    make: Callable[[], Any],
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streaming.testing._common.CLOSE_S", 0.2)
    monkeypatch.setattr("streaming.testing.sinks.CLOSE_S", 0.2)
    with pytest.raises(error, match=message):
        asyncio.run(check_sink(make))


# Policies


@pytest.mark.parametrize("n", [1, 2, 3])
def test_local_agreement_keeps_the_contract(n: int) -> None:
    check_commit_policy(lambda: LocalAgreement(n))


def test_the_trim_and_endpoint_policies_keep_the_contract() -> None:
    check_trim_policy(TrimAtWord)
    check_endpoint_policy(TrailingSilence)


Words = Sequence[Word]


class CommitAll:
    history = 2

    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Commit:
        return Commit(tuple(history[-1]), ())


class SeesNoHistory(CommitAll):
    history = 0


class CommitsTheOldest(CommitAll):
    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Commit:
        return Commit(tuple(history[0]), ())


class LosesAWord(CommitAll):
    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Commit:
        newest = tuple(history[-1])
        return Commit(newest[:1], newest[2:])


class Remembers(CommitAll):
    calls = 0

    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Commit:
        self.calls += 1
        newest = tuple(history[-1])
        return Commit(newest, ()) if self.calls % 2 else Commit((), newest)


class EmptiesItsInput(CommitAll):
    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Commit:
        commit = super().update(history, committed, audio_end_s)
        history[-1].clear()  # type: ignore[attr-defined]
        return commit


class ReturnsAPair(CommitAll):
    def update(self, history: Sequence[Words], committed: Words, audio_end_s: float) -> Any:
        return tuple(history[-1]), ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (SeesNoHistory, "history must be an int of at least 1, not 0"),
        (CommitsTheOldest, "must be the newest hypothesis"),
        (LosesAWord, "must be the newest hypothesis"),
        (Remembers, "not pure"),
        (EmptiesItsInput, "changes what it was given"),
        (ReturnsAPair, "returns a tuple, no Commit"),
    ],
)
def test_a_broken_commit_policy_is_found_out(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_commit_policy(make)


class CountingCalls:
    """Answers by how often it was asked, not by what."""

    calls = 0

    def trim(self, start_s: float, end_s: float, committed: Words) -> float | None:
        self.calls += 1
        return end_s if self.calls == 300 else None

    def endpoint(self, activity: Activity) -> str | None:
        self.calls += 1
        return "silence" if self.calls == 300 else None


class TrimTo:
    """Cuts where a function of the arguments says."""

    def __init__(self, cut: Callable[[float, float, Words], float | None]) -> None:
        self._cut = cut

    def trim(self, start_s: float, end_s: float, committed: Words) -> float | None:
        return self._cut(start_s, end_s, committed)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda start_s, end_s, committed: start_s, "frees nothing"),
        (lambda start_s, end_s, committed: None if committed else end_s, "nothing is committed"),
        (lambda start_s, end_s, committed: end_s if committed else None, "what follows is lost"),
        (lambda start_s, end_s, committed: float("inf"), "returns inf"),
        (CountingCalls().trim, "not pure"),
    ],
)
def test_a_broken_trim_policy_is_found_out(cut: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_trim_policy(lambda: TrimTo(cut))


class EndpointBy:
    """Closes where a function of the activity says."""

    def __init__(self, reason: Callable[[Activity], Any]) -> None:
        self._reason = reason

    def update(self, activity: Activity) -> FinalReason | None:
        reason: FinalReason | None = self._reason(activity)
        return reason


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (lambda activity: "bored", "'bored', which is no reason"),
        (lambda activity: "silence", "closes an utterance that has no audio yet"),
        (CountingCalls().endpoint, "not pure"),
    ],
)
def test_a_broken_endpoint_policy_is_found_out(reason: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_endpoint_policy(lambda: EndpointBy(reason))


# Backends


class GoodBackend:
    """Hears a word in every half second that is not silent."""

    name = "scripted"
    model = "none"
    n_mels = 80
    multilingual = False
    forces_prefix = True
    closed = False

    def decode(self, window: Window) -> Hypothesis:
        words = list(window.prefix)
        for frame in range(50 * len(words), window.n_frames - 49, 50):
            if window.mel[:, frame : frame + 50].max() > 0.0:
                start_s = window.start_sample / 16_000 + frame / 100
                words.append(Word(f" w{frame}", start_s, start_s + 0.4, 0.9))
        return self.changed(Hypothesis(words=tuple(words)))

    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return hypothesis

    def abort(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class HearsNothing(GoodBackend):
    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, words=())


class CountsFromTheWindow(GoodBackend):
    def decode(self, window: Window) -> Hypothesis:
        return super().decode(replace(window, start_sample=0))


class RunsPastTheEnd(GoodBackend):
    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, words=tuple(replace(w, end_s=99.0) for w in hypothesis.words))


class GoesBackwards(GoodBackend):
    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, words=hypothesis.words[::-1])


class IsTooSure(GoodBackend):
    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(
            hypothesis, words=tuple(replace(w, probability=1.2) for w in hypothesis.words)
        )


class KeepsState(GoodBackend):
    passes = 0

    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        self.passes += 1
        return replace(hypothesis, language_probability=1 / (1 + self.passes))


class StaysAborted(GoodBackend):
    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def changed(self, hypothesis: Hypothesis) -> Hypothesis:
        return replace(hypothesis, words=()) if self.aborted else hypothesis


class ForgetsThePrefix(GoodBackend):
    def decode(self, window: Window) -> Hypothesis:
        hypothesis = super().decode(window)
        return replace(hypothesis, words=hypothesis.words[len(window.prefix) :])


class ScalesTheMel(GoodBackend):
    def decode(self, window: Window) -> Hypothesis:
        hypothesis = super().decode(window)
        window.mel[:] *= 0.5
        return hypothesis


class ChokesOnShortWindows(GoodBackend):
    def decode(self, window: Window) -> Hypothesis:
        if window.n_frames < 3:
            raise IndexError("frame out of range")
        return super().decode(window)


class HasNoName(GoodBackend):
    name = ""


class WantsOtherMel(GoodBackend):
    n_mels = 128


MEL = np.random.default_rng(0).uniform(-0.5, 1.0, (80, 320)).astype(np.float32)


def test_a_good_backend_passes_and_is_closed() -> None:
    made: list[GoodBackend] = []

    def make() -> GoodBackend:
        made.append(GoodBackend())
        return made[-1]

    check_backend(make, MEL)
    assert [backend.closed for backend in made] == [True]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (HearsNothing, AssertionError, "nothing is heard"),
        (CountsFromTheWindow, AssertionError, "is not in order after 10.000 s"),
        (RunsPastTheEnd, AssertionError, "goes past the end, 3.200 s"),
        (GoesBackwards, AssertionError, "is not in order"),
        (IsTooSure, AssertionError, "has probability 1.2"),
        (KeepsState, AssertionError, "decode keeps state"),
        (StaysAborted, AssertionError, "decode keeps state"),
        (ForgetsThePrefix, AssertionError, "the forced prefix ' w0 w50 w100' is not where"),
        (ScalesTheMel, AssertionError, "changes the mel"),
        (ChokesOnShortWindows, IndexError, "out of range"),
        (HasNoName, AssertionError, "name must say something"),
        (WantsOtherMel, AssertionError, "wants 128 mel bands, the test gave 80"),
    ],
)
def test_a_broken_backend_is_found_out(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_backend(make, MEL.copy())
