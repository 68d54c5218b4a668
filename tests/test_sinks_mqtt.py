from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiomqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mosquitto import Broker, free_port, self_signed
from system_parts import needs
from tcp_gate import Gate

from sinks._mqtt_address import MqttAddress, topic_level
from sinks.mqtt import MqttSink
from streaming.errors import ConfigurationError, SinkError
from streaming.events import (
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    Refined,
    SessionEnded,
    SessionStarted,
    SpeechStarted,
    Stats,
    event_from_json,
)
from streaming.protocols import Reporting, Sink
from streaming.testing import check_sink

needs_mosquitto = needs("mosquitto", package="mosquitto")
needs_openssl = needs("openssl", package="openssl")
EVENTS = "stream-transcribe/events"
TEXT = "stream-transcribe/text"
PARTIAL = "stream-transcribe/partial"
STATUS = "stream-transcribe/status"
PASSWORD = "b3:@/ #?%geheim"


class Reader:
    """A subscriber that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[aiomqtt.Message] = []
        self._changed = asyncio.Event()

    async def read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self.messages.append(message)
            self._changed.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not enough():
                self._changed.clear()
                await self._changed.wait()

    def payloads(self, topic: str) -> list[str]:
        return [text_of(m) for m in self.messages if str(m.topic) == topic]

    def seqs(self) -> list[int]:
        return [json.loads(line)["seq"] for line in self.payloads(EVENTS)]


def text_of(message: aiomqtt.Message) -> str:
    assert isinstance(message.payload, bytes)
    return message.payload.decode()


@contextlib.asynccontextmanager
async def reader(
    port: int, topic: str = "stream-transcribe/#", *, name: str | None = None
) -> AsyncIterator[Reader]:
    """One that has subscribed; with a name, the broker keeps messages for it."""
    got = Reader()
    client = aiomqtt.Client("127.0.0.1", port, identifier=name, clean_session=name is None)
    async with client:
        # Tests kill its broker, too, while nobody asks for what it gets any more.
        client._disconnected.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await client.subscribe(topic, qos=1)
        reading = asyncio.create_task(got.read(client))
        try:
            yield got
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def local(port: int, rest: str = "") -> str:
    return f"mqtt://127.0.0.1:{port}{rest}"


async def until_told(told: list[Notice], n: int) -> None:
    async with asyncio.timeout(10):
        while len(told) < n:  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.005)


def collect() -> None:
    """Have what paho left open collected here, not in another test."""
    while any(thread.name.startswith("MQTT") for thread in threading.enumerate()):
        time.sleep(0.01)
    gc.collect()


def in_order(seqs: list[int]) -> list[int]:
    """What a reader has who drops the events it knows."""
    known: list[int] = []
    for seq in seqs:
        if not known or seq > known[-1]:
            known.append(seq)
    return known


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between attempts that suit a test."""
    monkeypatch.setattr("sinks._mqtt_link._SOONEST_S", 0.05)
    monkeypatch.setattr("sinks._mqtt_link._LATEST_S", 0.2)


# -- what is published --------------------------------------------------------------------------


@needs_mosquitto
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_event_is_published_in_order(tmp_path: Path, qos: int) -> None:
    events: list[Event] = [SessionStarted(session="s", seq=0)]
    for n in range(100):
        events.append(Partial(session="s", seq=3 * n + 1, committed=" so", tentative=f" {n}"))
        events.append(Committed(session="s", seq=3 * n + 2, text=f" größer {n}"))
        events.append(Final(session="s", seq=3 * n + 3, text=f" größer {n}"))
    events.append(SessionEnded(session="s", seq=301))

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got:
                async with MqttSink(local(broker.port, f"?qos={qos}"), drain_s=20) as sink:
                    assert isinstance(sink, Sink)
                    assert isinstance(sink, Reporting)
                    for event in events:
                        await sink.write(event)
                await got.until(lambda: len(got.payloads(STATUS)) == 2)
            assert [event_from_json(line) for line in got.payloads(EVENTS)] == events
            assert got.payloads(TEXT) == [f"größer {n}" for n in range(100)]
            assert got.payloads(STATUS) == ["online", "offline"]

    asyncio.run(main())


@needs_mosquitto
def test_running_text_is_cleared_when_its_utterance_ends(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got:
                async with MqttSink(local(broker.port)) as sink:
                    await sink.write(Partial(committed=" And so", tentative=" my"))
                    await sink.write(Final(text=" And so my"))
                    await sink.write(Partial(tentative=" uh"))
                    await sink.write(Final(text=""))
                await got.until(lambda: len(got.payloads(STATUS)) == 2)
            assert got.payloads(PARTIAL) == ["And so my", "", "uh", ""]
            assert got.payloads(TEXT) == ["And so my"], "an empty final is no text"

    asyncio.run(main())


@needs_mosquitto
def test_who_comes_late_gets_the_last_text_and_no_running_text(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with MqttSink(local(broker.port)) as sink:
                await sink.write(Final(text=" first"))
                await sink.write(Final(text=" second"))
                await sink.write(Refined(text=" a second"))
                await sink.write(Partial(tentative=" third"))
            async with reader(broker.port) as late:
                await late.until(lambda: len(late.messages) == 2)
                await asyncio.sleep(0.05)
            assert {str(m.topic): text_of(m) for m in late.messages} == {
                TEXT: "second",
                STATUS: "offline",
            }
            assert all(m.retain for m in late.messages)

    asyncio.run(main())


@needs_mosquitto
def test_more_can_be_published_on_the_way(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with MqttSink(local(broker.port, "/home/desk")) as sink:
                sink.publish(f"{sink.prefix}/about", "größer", retain=True)
                sink.publish("gone", "nobody listened yet")
                with pytest.raises(ConfigurationError, match="no \\+"):
                    sink.publish("homeassistant/+/config", "{}")
            async with reader(broker.port, "#") as late:
                await late.until(lambda: len(late.messages) == 2)
            assert late.payloads("home/desk/about") == ["größer"]
            assert late.payloads("gone") == []

    asyncio.run(main())


@needs_mosquitto
def test_labelled_sessions_have_topics_of_their_own(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port, "home/#") as got:
                async with MqttSink(local(broker.port, "/home/desk/")) as sink:
                    await sink.write(SessionStarted(session="1", label="me"))
                    await sink.write(SessionStarted(session="2", label="a/+\udcff"))
                    await sink.write(Final(session="1", text=" hello"))
                    await sink.write(Final(session="2", text=" hi"))
                    await sink.write(SessionEnded(session="1"))
                await got.until(lambda: len(got.payloads("home/desk/status")) == 2)
            assert got.payloads("home/desk/me/text") == ["hello"]
            assert got.payloads("home/desk/a---/text") == ["hi"]
            types = [json.loads(line)["type"] for line in got.payloads("home/desk/me/events")]
            assert types == ["session_started", "final", "session_ended"]

    asyncio.run(main())


@given(st.text())
def test_any_label_becomes_one_level_of_a_topic(label: str) -> None:
    level = topic_level(label)
    assert len(level) <= 64
    assert not set(level) & set("+#/\x00\n")
    assert level.encode().decode() == level


def publishing_child(port: int, then: str) -> subprocess.Popen[bytes]:
    program = f"""
import asyncio
from sinks.mqtt import MqttSink
from streaming.events import Final

async def main():
    async with MqttSink("mqtt://127.0.0.1:{port}", keepalive_s=1, drain_s=0.1) as sink:
        await sink.write(Final(text=" there"))
        {then}

asyncio.run(main())
"""
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)


@needs_mosquitto
def test_a_killed_process_is_offline_by_its_last_will(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got:
                child = publishing_child(broker.port, "await asyncio.sleep(60)")
                try:
                    await got.until(lambda: got.payloads(TEXT) == ["there"])
                    assert got.payloads(STATUS) == ["online"]
                finally:
                    child.kill()
                    child.communicate()
                await got.until(lambda: got.payloads(STATUS) == ["online", "offline"])

    asyncio.run(main())


@needs_mosquitto
def test_a_broker_that_hangs_keeps_no_process_from_exiting(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got, Gate(broker.port) as gate:
                child = publishing_child(gate.port, "await asyncio.sleep(0.3)")
                await got.until(lambda: got.payloads(TEXT) == ["there"])
                gate.hold()
                began_s = time.monotonic()
                _, errors = await asyncio.to_thread(child.communicate)
                assert child.returncode == 0, errors.decode()
                assert time.monotonic() - began_s < 5

    asyncio.run(main())


# -- absences -----------------------------------------------------------------------------------


@needs_mosquitto
def test_nothing_is_lost_when_connections_break_and_order_is_kept(
    tmp_path: Path, impatient: None
) -> None:
    told: list[Notice] = []

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got, Gate(broker.port) as gate:
                sink = MqttSink(local(gate.port))
                sink.report = told.append
                async with sink:
                    for n in range(400):
                        await sink.write(Committed(session="s", seq=n, text=f" {n}"))
                        if n % 100 == 50:
                            await until_told(told, 2 * (n // 100))
                            gate.hold()  # it gets messages and cannot say so
                        elif n % 100 == 80:
                            await asyncio.sleep(0.02)
                            gate.cut()
                            gate.release()
                        if n % 10 == 0:
                            await asyncio.sleep(0.01)
                    await got.until(lambda: 399 in got.seqs())
                await got.until(lambda: got.payloads(STATUS)[-1] == "offline")
                seqs = got.seqs()
            assert in_order(seqs) == list(range(400))
            assert len(seqs) > 400, "what was not acknowledged comes again"
            assert gate.n_connections == 5

    asyncio.run(main())
    assert [n.code for n in told] == ["mqtt_disconnected", "mqtt_connected"] * 4


@needs_mosquitto
def test_events_outlive_a_broker_that_restarts_with_its_memory(
    tmp_path: Path, impatient: None
) -> None:
    async def main() -> None:
        with Broker(tmp_path, persistent=True) as broker:
            async with reader(broker.port, name="reader") as before:
                pass  # from now on the broker keeps messages for this one
            async with MqttSink(local(broker.port)) as sink:
                for n in range(100):
                    await sink.write(Committed(session="s", seq=n, text=f" {n}"))
                    if n == 30:
                        broker.terminate()
                    if n == 60:
                        await asyncio.sleep(0.5)
                        broker.start()
                    await asyncio.sleep(0.001)
            async with reader(broker.port, name="reader") as got:
                await got.until(lambda: 99 in before.seqs() + got.seqs())
            assert in_order(before.seqs() + got.seqs()) == list(range(100))

    asyncio.run(main())


@needs_mosquitto
def test_events_outlive_a_broker_that_is_killed_and_forgets(
    tmp_path: Path, impatient: None
) -> None:
    told: list[Notice] = []

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with Gate(broker.port) as gate:
                sink = MqttSink(local(gate.port))
                sink.report = told.append
                async with sink:
                    async with reader(broker.port) as before:
                        for n in range(50):
                            await sink.write(Final(session="s", seq=n, text=f" {n}"))
                        await before.until(lambda: 49 in before.seqs())
                        await gate.close()
                        broker.kill()
                    for n in range(50, 100):
                        await sink.write(Final(session="s", seq=n, text=f" {n}"))
                    await asyncio.sleep(0.5)
                    broker.start()
                    async with reader(broker.port) as after:
                        await gate.open()
                        await after.until(lambda: after.payloads(TEXT)[-1:] == ["99"])
                        assert in_order(before.seqs() + after.seqs()) == list(range(100))
                        assert after.payloads(STATUS) == ["online"]

    asyncio.run(main())
    assert [n.code for n in told] == ["mqtt_disconnected", "mqtt_connected"], "once each"
    waited = re.search(r"is back; (\d+) messages waited", told[1].message)
    assert waited
    assert int(waited[1]) >= 150


@needs_mosquitto
def test_a_full_buffer_drops_partial_text_first_and_says_so(
    tmp_path: Path, impatient: None
) -> None:
    told: list[Notice] = []

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got, Gate(broker.port) as gate:
                sink = MqttSink(local(gate.port), most_messages=60)
                sink.report = told.append
                async with sink:
                    await gate.close()
                    for n in range(0, 150, 3):
                        await sink.write(Partial(session="s", seq=n, tentative=" x"))
                        await sink.write(Stats(session="s", seq=n + 1))
                        await sink.write(Committed(session="s", seq=n + 2, text=" x"))
                    await asyncio.sleep(0.1)
                    await gate.open()
                    await got.until(lambda: 149 in got.seqs())
                    await asyncio.sleep(0.05)
                lasting = list(range(2, 150, 3))
                assert [seq for seq in got.seqs() if seq % 3 == 2] == lasting
                assert max(set(got.seqs()) - set(lasting)) == 148, "the newest partials are kept"
                assert len(got.seqs()) + len(got.payloads(PARTIAL)) == 60

    asyncio.run(main())
    codes = [n.code for n in told]
    assert codes == ["mqtt_disconnected", "mqtt_dropped", "mqtt_connected", "mqtt_dropped"]
    assert "partial text first" in told[1].message
    assert "140 messages, 0 of them committed text" in told[3].message


@needs_mosquitto
def test_committed_text_that_is_dropped_is_counted(tmp_path: Path, impatient: None) -> None:
    told: list[Notice] = []

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with Gate(broker.port) as gate:
                sink = MqttSink(local(gate.port), most_bytes=4000, drain_s=0.1)
                sink.report = told.append
                async with sink:
                    await gate.close()
                    await asyncio.sleep(0.05)
                    for n in range(50):
                        await sink.write(Committed(session="s", seq=n, text=" word" * 20))
                        await sink.write(SpeechStarted(session="s", seq=n))

    asyncio.run(main())
    assert [n.code for n in told] == ["mqtt_disconnected", "mqtt_dropped", "mqtt_dropped"]
    assert "100 messages, 50 of them committed text" in told[-1].message


@needs_mosquitto
def test_a_slow_link_has_several_messages_under_way(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got, Gate(broker.port) as gate:
                gate.delay_s = 0.05
                async with MqttSink(local(gate.port), drain_s=20) as sink:
                    began_s = time.monotonic()
                    for n in range(100):
                        await sink.write(Committed(session="s", seq=n))
                    assert time.monotonic() - began_s < 1, "writing does not wait"
                await got.until(lambda: got.payloads(STATUS) == ["online", "offline"])
                assert time.monotonic() - began_s < 4, "100 answers, 0.05 s each"
                assert got.seqs() == list(range(100))

    asyncio.run(main())


@needs_mosquitto
def test_a_broker_that_stops_answering_is_taken_as_lost(
    tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks._mqtt_link._ACKNOWLEDGED_S", 0.2)
    monkeypatch.setattr("sinks._mqtt_link._ANSWER_S", 0.2)
    told: list[Notice] = []

    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with reader(broker.port) as got, Gate(broker.port) as gate:
                sink = MqttSink(local(gate.port))
                sink.report = told.append
                async with sink:
                    gate.hold()
                    await sink.write(Committed(session="s", seq=0))
                    await asyncio.sleep(1)
                    gate.release()
                    await sink.write(Committed(session="s", seq=1))
                    await got.until(lambda: 1 in got.seqs())
                assert in_order(got.seqs()) == [0, 1]

    asyncio.run(main())
    assert [n.code for n in told] == ["mqtt_disconnected", "mqtt_connected"]


# -- leaving ------------------------------------------------------------------------------------


@needs_mosquitto
def test_leaving_without_the_broker_is_quick_and_tells_what_did_not_arrive(
    tmp_path: Path,
) -> None:
    told: list[Notice] = []

    async def main() -> float:
        with Broker(tmp_path) as broker:
            sink = MqttSink(local(broker.port), drain_s=30)
            sink.report = told.append
            async with sink:
                broker.kill()
                await sink.write(Committed(text=" lost"))
                await sink.write(Final(text=" lost"))
                await asyncio.sleep(0.1)
                began_s = time.monotonic()
            return time.monotonic() - began_s

    assert asyncio.run(main()) < 10
    assert [n.code for n in told] == ["mqtt_disconnected", "mqtt_dropped"]
    assert "4 messages, 3 of them committed text" in told[1].message


@needs_mosquitto
def test_what_was_told_as_lost_does_not_come_in_the_next_session(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            sink = MqttSink(local(broker.port), drain_s=0.1)
            sink.report = lambda notice: None
            async with sink:
                broker.kill()
                await asyncio.sleep(0.1)
                await sink.write(Committed(seq=1, text=" lost"))
            broker.start()
            async with reader(broker.port) as got:
                async with sink:
                    await sink.write(Committed(seq=2, text=" new"))
                await got.until(lambda: 2 in got.seqs())
                assert got.seqs() == [2]

    asyncio.run(main())


@needs_mosquitto
def test_leaving_sends_what_waits_once_the_broker_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks._mqtt_link._SOONEST_S", 30)

    async def main() -> None:
        with Broker(tmp_path, persistent=True) as broker:
            async with MqttSink(local(broker.port), drain_s=20) as sink:
                broker.terminate()
                await asyncio.sleep(0.1)
                await sink.write(Final(text=" kept"))
                broker.start()  # and the next attempt would be far away
                began_s = time.monotonic()
            assert time.monotonic() - began_s < 15
            async with reader(broker.port) as late:
                await late.until(lambda: late.payloads(TEXT) == ["kept"])

    asyncio.run(main())


@needs_mosquitto
def test_it_keeps_the_contract_of_sinks(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        asyncio.run(check_sink(lambda: MqttSink(local(broker.port))))


@needs_mosquitto
def test_after_an_error_leaving_a_broker_that_hangs_takes_about_a_second(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with Gate(broker.port) as gate, MqttSink(local(gate.port), drain_s=30) as sink:
                gate.hold()
                await sink.write(Committed(text=" x"))
                raise ValueError("elsewhere")

    began_s = time.monotonic()
    with pytest.raises(ValueError, match="elsewhere"):
        asyncio.run(main())
    assert time.monotonic() - began_s < 5


@needs_mosquitto
def test_cancellation_does_not_wait_for_a_broker_that_hangs(tmp_path: Path) -> None:
    async def main() -> None:
        with Broker(tmp_path) as broker:
            async with Gate(broker.port) as gate:
                entered = asyncio.Event()

                async def run() -> None:
                    async with MqttSink(local(gate.port), drain_s=30) as sink:
                        gate.hold()
                        await sink.write(Committed(text=" x"))
                        entered.set()
                        await asyncio.sleep(60)

                task = asyncio.create_task(run())
                await entered.wait()
                task.cancel()
                began_s = time.monotonic()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert time.monotonic() - began_s < 5

    asyncio.run(main())


# -- what cannot work ---------------------------------------------------------------------------


def refusal(sink: MqttSink) -> str:
    async def main() -> None:
        async with sink:
            pass

    with pytest.raises(SinkError) as caught:
        asyncio.run(main())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_broker_that_is_not_there_is_told_at_once() -> None:
    assert "Connection refused; check host and port" in refusal(MqttSink(local(free_port())))
    assert "nowhere.invalid:1883" in refusal(MqttSink("mqtt://nowhere.invalid"))


def test_a_broker_that_accepts_and_hangs_up_is_told_once_and_nothing_else_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collect()  # what other tests left
    caplog.clear()
    caplog.set_level(logging.WARNING)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1024)
                client.sendall(b"\x20\x02\x00\x00")  # CONNACK: accepted

        serving = threading.Thread(target=serve)
        serving.start()
        message = refusal(MqttSink(local(server.getsockname()[1])))
        serving.join()
    collect()
    assert "it accepts the login and hangs up; check host and port" in message
    assert not caplog.records


@needs_mosquitto
def test_a_login_that_is_refused_is_told_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Broker(tmp_path, users={"me": "right"}) as broker:
        sink = MqttSink(f"mqtt://me@127.0.0.1:{broker.port}", password=PASSWORD)
        message = refusal(sink)
        assert "Not authorized; check user and password" in message
        assert "Not authorized" in refusal(MqttSink(local(broker.port)))
    assert PASSWORD not in message + caplog.text + repr(sink) + repr(vars(sink))


@needs_mosquitto
@pytest.mark.parametrize("where", ["url", "argument", "file"])
def test_the_password_may_come_from_three_places(tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD + "\n")

    async def main() -> None:
        with Broker(tmp_path, users={"me": PASSWORD}) as broker:
            address = f"127.0.0.1:{broker.port}"
            if where == "url":
                sink = MqttSink(f"mqtt://me:b3%3A%40%2F%20%23%3F%25geheim@{address}")
            elif where == "argument":
                sink = MqttSink(f"mqtt://me:wrong@{address}", password=PASSWORD)
            else:
                sink = MqttSink(f"mqtt://me@{address}", password_file=secret)
            async with sink:
                await sink.write(Final(text=" x"))

    asyncio.run(main())


@needs_mosquitto
@needs_openssl
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of paho, when a handshake fails
def test_tls_checks_who_the_broker_is(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "broker")
    other, _ = self_signed(tmp_path, "other")

    async def main(port: int) -> None:
        async with MqttSink(f"mqtts://localhost:{port}", ca_file=certificate) as sink:
            await sink.write(Final(text=" x"))

    with Broker(tmp_path, tls=(certificate, key)) as broker:
        asyncio.run(main(broker.port))
        url = f"mqtts://localhost:{broker.port}"
        assert "--mqtt-ca names a file" in refusal(MqttSink(url, ca_file=other))
        assert "certificate verify failed: self-signed" in refusal(MqttSink(url))
    collect()


@needs_mosquitto
@needs_openssl
def test_a_broker_may_ask_for_our_certificate(tmp_path: Path) -> None:
    broker_pair, (ours, key) = self_signed(tmp_path, "broker"), self_signed(tmp_path, "ours")

    async def main(url: str) -> None:
        async with MqttSink(url, ca_file=broker_pair[0], cert_file=ours, key_file=key) as sink:
            await sink.write(Final(text=" x"))

    with Broker(tmp_path, tls=broker_pair, clients=ours) as broker:
        asyncio.run(main(f"mqtts://localhost:{broker.port}"))


@needs_mosquitto
@needs_openssl
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of paho, when a handshake fails
def test_a_tls_port_without_tls_and_the_other_way_round_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks._mqtt_link._ANSWER_S", 0.3)
    pair = self_signed(tmp_path, "broker")
    with Broker(tmp_path, tls=pair) as broker:
        assert "mqtts:// is for TLS" in refusal(MqttSink(local(broker.port)))
    with Broker(tmp_path) as broker:
        url = f"mqtts://localhost:{broker.port}"
        assert "check host and port" in refusal(MqttSink(url, ca_file=pair[0]))
    collect()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost", "is named as"),
        ("http://localhost", "is named as"),
        ("mqtt://", "names no host"),
        ("mqtt://:1883", "names no host"),
        ("mqtt://h:99999", "cannot read"),
        ("mqtt://me:geheim/x@h", "cannot read"),
        ("mqtt://me:geheim#x@h", "%23"),
        ("mqtt://[::1", "cannot read"),
        ("mqtt://h?qos=3", "quality of service"),
        ("mqtt://h?retain=1", 'only "qos"'),
        ("mqtt://h/a/%23", "no +, #"),
        ("mqtt://h/$SYS", "belong to the broker"),
        ("mqtt://:geheim@h", "needs a user"),
        (f"mqtt://{'a' * 64}.b", "names no host"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_secrets(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MqttSink(url)
    assert message in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text())
def test_any_text_is_an_address_or_a_configuration_error(url: str) -> None:
    for text in (url, f"mqtt://{url}"):
        with contextlib.suppress(ConfigurationError):
            assert MqttAddress.from_url(text).host


def test_an_address_is_read() -> None:
    address = MqttAddress.from_url("mqtts://a%40b:c%2Fd@[::1]:99/home%20x/y/?qos=2")
    assert (address.host, address.port, address.tls) == ("::1", 99, True)
    assert (address.user, address.password) == ("a@b", "c/d")
    assert (address.prefix, address.qos) == ("home x/y", 2)
    assert str(address) == "[::1]:99"
    assert "c/d" not in repr(address)
    plain = MqttAddress.from_url("mqtt://host")
    assert (plain.port, plain.user, plain.prefix, plain.qos) == (1883, None, None, None)


def test_options_that_do_not_fit_are_told(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(ConfigurationError, match="certificates need TLS: write mqtts://"):
        MqttSink("mqtt://h", ca_file=missing)
    with pytest.raises(ConfigurationError, match=f"cannot read certificates .* from {missing}"):
        MqttSink("mqtts://h", ca_file=missing)
    with pytest.raises(ConfigurationError, match=f"a certificate and its key .* from {empty}"):
        MqttSink("mqtts://h", cert_file=empty)
    with pytest.raises(ConfigurationError, match="an MQTT key needs its certificate"):
        MqttSink("mqtts://h", key_file=missing)
    with pytest.raises(ConfigurationError, match=f"cannot read the MQTT password in {missing}"):
        MqttSink("mqtt://me@h", password_file=missing)
    with pytest.raises(ConfigurationError, match="is no MQTT password"):
        MqttSink("mqtt://me@h", password_file=empty)
    with pytest.raises(ConfigurationError, match="keepalive"):
        MqttSink("mqtt://h", keepalive_s=0)
    with pytest.raises(ConfigurationError, match="at least one message"):
        MqttSink("mqtt://h", most_messages=0)
    with pytest.raises(ConfigurationError, match="quality of service"):
        MqttSink("mqtt://h", qos=3)
    with pytest.raises(ConfigurationError, match="prefix"):
        MqttSink("mqtt://h", prefix="a/#")
