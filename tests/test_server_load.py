from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cli_plugin
import httpx
import pytest
from fakes import HangingBackend, ScriptedBackend, say, worker_for
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from server_process import Served, serving
from websockets.asyncio.client import connect

from streaming.app.server import calibration
from streaming.app.server.calibration import calibrate
from streaming.app.server.load import Load
from streaming.app.server.refusal import TRY_LATER, Refusal
from streaming.app.settings import Settings
from streaming.errors import BackendError
from streaming.protocols import Hypothesis, Window

COST = 0.22
"""Of a speaking session; two workers take eight of them."""


@dataclass
class Session:
    took_s: float = 0.0
    rate: float = 0.0
    """Compute seconds per second from now on."""
    speaking: bool = False


@dataclass
class Server:
    """A machine on a clock of its own, and the sessions that it serves."""

    workers: int = 2
    cost: float = COST
    now_s: float = 1000.0
    waits_s: list[float] = field(default_factory=list)
    loop_rate: float = 0.0
    sessions: dict[str, Session] = field(default_factory=dict)
    came: int = 0

    def __post_init__(self) -> None:
        self._loop_s = 0.0
        self.load = Load(
            workers=self.workers,
            waits_s=lambda: self.waits_s,
            loop_s=lambda: self._loop_s,
            clock=lambda: self.now_s,
        )
        self.load.calibrated(self.cost)
        self.load.sample()

    def connect(self, rate: float = 0.0, *, speaking: bool = False) -> Session | None:
        """None if the load says no."""
        try:
            self.load.admit()
        except Refusal:
            return None
        session = Session(rate=rate, speaking=speaking)
        name = f"{self.came}"
        self.came += 1
        self.sessions[name] = session
        self.load.enter(name, lambda: session.took_s, lambda: session.speaking)
        return session

    def fill(self, rate: float, *, speaking: bool = False) -> int:
        """Connect until there is no room, and tell how many there are then."""
        while self.connect(rate, speaking=speaking) is not None:
            assert len(self.sessions) < 200, "there is always room"
        return len(self.sessions)

    def leave(self) -> None:
        name = next(iter(self.sessions))
        del self.sessions[name]
        self.load.leave(name)

    def run(self, for_s: int) -> None:
        for _ in range(for_s):
            self.now_s += 1
            self._loop_s += self.loop_rate
            for session in self.sessions.values():
                session.took_s += session.rate
            self.load.sample()

    def all_take(self, rate: float) -> None:
        for session in self.sessions.values():
            session.rate = rate

    def refusal(self) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.load.admit()
        return caught.value


# -- how many -------------------------------------------------------------------------------------


def test_of_a_burst_only_as_many_get_in_as_could_all_speak() -> None:
    server = Server()
    assert [server.connect() is not None for _ in range(20)] == [True] * 8 + [False] * 12


def test_those_who_were_admitted_and_have_not_begun_count_already() -> None:
    server = Server()
    for _ in range(8):
        server.load.admit()
    server.refusal()


def test_a_place_that_nobody_took_is_free_after_ten_seconds() -> None:
    server = Server()
    for _ in range(8):
        server.load.admit()
    server.run(9)
    server.refusal()
    server.run(1)
    assert server.fill(0.0) == 8


def test_the_first_is_admitted_however_slow_and_busy_the_machine_is() -> None:
    server = Server(workers=1, cost=7.0, waits_s=[9.0], loop_rate=1.0)
    server.run(20)
    assert server.connect() is not None
    assert server.connect() is None


def test_a_machine_that_was_not_measured_is_not_trusted_with_more_than_it_has_workers() -> None:
    load = Load(workers=4)
    load.admit()
    load.admit()
    load.admit()
    with pytest.raises(Refusal):
        load.admit()


def test_as_long_as_all_speak_there_is_no_room() -> None:
    server = Server()
    assert server.fill(COST) == 8
    for _ in range(100):
        server.run(1)
        assert server.connect(COST) is None


def test_those_who_only_listen_make_room_but_stay_charged_for_what_they_may_say() -> None:
    server = Server()
    server.fill(0.0)
    for _ in range(20):
        server.run(10)
        server.fill(0.0)
    most = 1 + (1.8 - COST) / (0.4 * COST)
    assert len(server.sessions) == int(most)


def test_a_moment_in_which_nobody_speaks_is_no_room() -> None:
    server = Server()
    server.fill(COST)
    server.run(20)
    for _ in range(10):
        server.all_take(0.0)
        server.run(4)
        assert server.connect() is None
        server.all_take(COST)
        server.run(12)


def test_who_leaves_makes_room_for_one_at_once() -> None:
    server = Server()
    server.fill(COST)
    server.run(30)
    server.leave()
    assert server.connect(COST) is not None
    assert server.connect(COST) is None


def test_leaving_twice_or_without_having_entered_changes_nothing() -> None:
    server = Server()
    server.fill(COST)
    server.load.leave("nobody")
    assert server.connect() is None


def test_sessions_that_take_more_than_was_expected_leave_less_room() -> None:
    server = Server()
    for _ in range(4):
        server.connect(2 * COST)
    server.run(10)
    assert server.load.charged == pytest.approx(8 * COST)
    assert server.connect() is None


def test_a_session_that_is_over_and_tells_nothing_more_is_charged_like_a_silent_one() -> None:
    server = Server()
    session = server.connect(COST)
    assert session is not None
    server.run(20)
    session.took_s, session.rate = 0.0, 0.0
    server.run(100)
    assert server.load.charged == pytest.approx(0.4 * COST)


def test_a_session_is_never_charged_for_more_than_one_pass_at_a_time() -> None:
    server = Server()
    session = server.connect()
    assert session is not None
    session.took_s = 5000.0
    server.run(1)
    assert server.load.charged == 1.0


# -- what a refusal says --------------------------------------------------------------------------


def test_a_refusal_says_that_the_server_is_busy_and_when_to_come_again() -> None:
    server = Server()
    server.fill(COST)
    refusal = server.refusal()
    assert (refusal.code, refusal.status, refusal.close_code) == ("busy", 503, TRY_LATER)
    assert "(live sessions: 8)" in refusal.message
    assert f"try again in {refusal.retry_after_s} s" in refusal.message


def test_whoever_comes_again_when_told_gets_in_if_nobody_spoke_meanwhile() -> None:
    server = Server()
    server.fill(0.0)
    for _ in range(3):
        told_s = server.refusal().retry_after_s
        assert told_s is not None
        server.run(told_s)
        assert server.connect() is not None
        server.fill(0.0)


def test_as_long_as_all_speak_nobody_is_told_to_come_again_soon() -> None:
    server = Server()
    server.fill(COST)
    server.run(30)
    assert server.refusal().retry_after_s == 30


# -- other signs of load --------------------------------------------------------------------------


def test_while_passes_wait_too_long_for_each_other_nobody_is_admitted() -> None:
    server = Server()
    server.connect()
    server.waits_s = [0.1] * 90 + [0.6] * 10
    server.run(1)
    assert "wait for one another" in server.refusal().message
    server.waits_s = [0.1] * 90 + [0.4] * 10
    server.run(1)
    server.refusal()  # not short enough yet
    server.waits_s = [0.1] * 90 + [0.2] * 10
    server.run(1)
    assert server.connect() is not None
    server.waits_s = [0.1] * 90 + [0.4] * 10
    server.run(1)
    assert server.connect() is not None  # nor long enough again


def test_an_event_loop_with_much_to_do_admits_nobody_however_many_workers_there_are() -> None:
    server = Server(workers=64)
    n_burst = server.fill(0.01)
    assert 20 <= n_burst <= 27
    server.loop_rate = 0.025 * n_burst
    server.run(20)
    assert server.fill(0.01) < 32
    server.run(20)
    server.loop_rate = 0.9
    server.run(20)
    assert "no time" in server.refusal().message


# -- the cost of speech ---------------------------------------------------------------------------


def test_the_cost_rises_at_once_to_what_those_who_speak_take() -> None:
    server = Server(cost=0.1)
    for _ in range(3):
        server.connect(0.3, speaking=True)
    server.run(10)
    assert server.load.cost == pytest.approx(0.3)
    server.fill(0.3, speaking=True)
    assert len(server.sessions) == 6


def test_a_cost_that_was_measured_on_a_busy_machine_falls_slowly_once_somebody_speaks() -> None:
    server = Server(cost=5 * COST)
    session = server.connect(0.0)
    assert session is not None
    server.run(100)
    assert server.load.cost == 5 * COST
    session.rate, session.speaking = COST, True
    server.run(10)  # the first window that is full of speech
    server.run(28)
    assert 2 * COST < server.load.cost < 3 * COST
    server.run(60)
    assert server.load.cost == pytest.approx(COST)


def test_the_cost_does_not_fall_while_sessions_do_with_fewer_passes_for_lack_of_time() -> None:
    server = Server()
    server.connect(COST / 2, speaking=True)
    server.waits_s = [1.0]
    server.run(100)
    assert server.load.cost == COST


def test_who_pauses_often_or_sends_too_fast_is_no_measure_of_the_cost() -> None:
    server = Server()
    server.connect(COST / 5)
    server.connect(5 * COST, speaking=True)
    for _ in range(2):
        server.connect(COST, speaking=True)
    server.run(60)
    assert server.load.cost == pytest.approx(COST)


# -- any course of events -------------------------------------------------------------------------


class Course(RuleBasedStateMachine):
    """Whatever happens, who is admitted fits in, by an account kept apart from the load's."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.took: dict[str, list[float]] = {}
        """Work of each session, second by second."""
        self.kept: list[float] = []
        """When a place was kept that nobody has taken yet."""
        self.came = 0
        self.load = Load(workers=2, loop_s=lambda: 0.0, clock=lambda: self.now_s)
        self.load.calibrated(COST)

    def needed(self) -> float:
        kept = [at_s for at_s in self.kept if self.now_s - at_s < 10]
        settled = sum(
            COST if len(took) < 10 else max(0.4 * COST, sum(took[-10:]) / 10)
            for took in self.took.values()
        )
        return settled + COST * len(kept)

    def read(self, name: str) -> Callable[[], float]:
        return lambda: sum(self.took.get(name, ()))

    def asked(self) -> int | None:
        """When to come again; None if one is admitted."""
        try:
            self.load.admit()
        except Refusal as refusal:
            return refusal.retry_after_s or 0
        return None

    @rule()
    def admit(self) -> None:
        needed = self.needed()
        if (retry_after_s := self.asked()) is None:
            assert needed == 0 or needed + COST <= 1.8 + 1e-9
            self.kept.append(self.now_s)
        else:
            assert needed > 0
            assert 1 <= retry_after_s <= 60

    @precondition(lambda self: any(self.now_s - at_s < 10 for at_s in self.kept))
    @rule()
    def enter(self) -> None:
        self.kept = [at_s for at_s in self.kept if self.now_s - at_s < 10][1:]
        name = f"{self.came}"
        self.came += 1
        self.took[name] = []
        self.load.enter(name, self.read(name))

    @rule(which=st.integers(0, 30))
    def leave(self, which: int) -> None:
        if self.took:
            name = sorted(self.took)[which % len(self.took)]
            del self.took[name]
            self.load.leave(name)

    @rule(for_s=st.integers(1, 15), rates=st.lists(st.sampled_from((0.0, COST, 0.3)), min_size=1))
    def time_passes(self, for_s: int, rates: list[float]) -> None:
        for _ in range(for_s):
            self.now_s += 1
            for number, took in enumerate(self.took.values()):
                took.append(rates[number % len(rates)])
            self.load.sample()

    @rule()
    def all_leave_and_one_comes(self) -> None:
        for name in self.took:
            self.load.leave(name)
        self.took.clear()
        self.now_s += 10
        self.load.sample()
        self.kept.clear()
        self.admit()
        assert self.kept

    @invariant()
    def the_charge_covers_what_is_needed(self) -> None:
        assert self.load.charged >= self.needed() - 1e-9


Course.TestCase.settings = hypothesis_settings(max_examples=60, deadline=None)
test_whatever_happens_nobody_is_admitted_who_does_not_fit_in = Course.TestCase


# -- calibration ----------------------------------------------------------------------------------


class Takes(ScriptedBackend):
    """Takes its time, and knows how many are at it."""

    pass_s = 0.03
    took_s = 0.0
    together = 0
    most = 0
    lock = threading.Lock()

    def decode(self, window: Window) -> Hypothesis:
        with self.lock:
            Takes.together += 1
            Takes.most = max(Takes.most, Takes.together)
        began_s = time.perf_counter()
        time.sleep(self.pass_s)
        heard = super().decode(window)
        self.took_s += time.perf_counter() - began_s
        with self.lock:
            Takes.together -= 1
        return heard


def test_the_cost_of_speech_is_measured_with_all_workers_at_work() -> None:
    backends = [Takes(say(25)), Takes(say(25))]
    with worker_for(*backends) as pool:
        cost = asyncio.run(calibrate(pool, Settings(workers=2)))
    assert Takes.most == 2
    passes = sum(backend.passes for backend in backends) / 2
    assert passes > 15  # one for each chunk of 11 s: there were no pauses
    # Not what was asked for: on a busy machine a sleep takes far longer.
    assert 0.9 < cost / (sum(backend.took_s for backend in backends) / 2 / 11) < 1.9


def test_what_cannot_be_measured_in_time_is_far_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_LIMIT_S", 0.5)
    backend = HangingBackend(say(25))
    with worker_for(backend) as pool:
        began = time.perf_counter()
        cost = asyncio.run(calibrate(pool, Settings()))
        assert time.perf_counter() - began < 5
        assert cost > 0.2  # 0.5 s have been spent on the first 2.5 s at most
        backend.release.set()


def test_a_model_that_fails_cannot_be_measured() -> None:
    with (
        worker_for(ScriptedBackend(say(25), fails_from=3)) as pool,
        pytest.raises(BackendError, match="this pass fails"),
    ):
        asyncio.run(calibrate(pool, Settings()))


@pytest.mark.parametrize(
    ("model", "language", "heard_as"),
    [("tiny.en", None, "en"), ("base", None, None), ("base", "de", "en"), ("base", "de,fr", None)],
)
def test_the_sample_is_heard_as_english_or_its_language_is_detected(
    model: str, language: str | None, heard_as: str | None
) -> None:
    backend = ScriptedBackend(say(25))
    with worker_for(backend) as pool:
        asyncio.run(calibrate(pool, Settings(model=model, language=language)))
    assert {window.language for window in backend.windows} == {heard_as}
    assert {window.candidates for window in backend.windows} == {()}


# -- the real server ------------------------------------------------------------------------------


def test_a_server_takes_so_many_clients_and_tells_the_others_when_to_come_again(
    tmp_path: Path,
) -> None:
    # Passes of 0.1 s, twice a second: four sessions and a half, where nothing else runs.
    options = ("--vad", "loud", "--workers", "1")
    with serving(tmp_path, *options, backend="scripted:pass_s=0.1") as served:
        asyncio.run(_crowd(served))


async def _crowd(served: Served) -> None:
    async with (
        asyncio.timeout(30),
        httpx.AsyncClient(base_url=served.url) as http,
        AsyncExitStack() as stack,
    ):
        assert (await http.get("healthz")).json() == {"ok": True}
        while (await http.get("readyz")).status_code == 503:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        sockets = [await stack.enter_async_context(connect(served.stream)) for _ in range(8)]
        told = [json.loads(await socket.recv()) for socket in sockets]
        n_taken = [body["type"] for body in told].count("session")
        assert 1 <= n_taken <= 4
        for socket, body in zip(sockets[n_taken:], told[n_taken:], strict=True):
            assert (body["type"], body["code"]) == ("error", "busy")
            assert body["retry_after_s"] >= 5
            await socket.wait_closed()
            assert socket.close_code == TRY_LATER
        text = (await http.get("metrics")).text
        assert f"\nstream_transcribe_sessions {n_taken}.0\n" in text
        assert f'refusals_total{{code="busy"}} {8 - n_taken}.0\n' in text
        # And those who are in can say something.
        pcm = (cli_plugin.SAID.audio() * 32767).astype("<i2").tobytes()
        await sockets[0].send(pcm[:128_000])
        await sockets[0].send('{"type": "finish"}')
        events = [json.loads(text) async for text in sockets[0]]
        assert "committed" in {event["type"] for event in events}
        assert events[-1]["type"] == "session_ended"
        text = (await http.get("metrics")).text
        assert 'sessions_ended_total{reason="end_of_stream"} 1.0\n' in text
        assert 'audio_seconds_total{work="live"} 4.0\n' in text
