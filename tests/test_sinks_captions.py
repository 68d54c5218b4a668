from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from caption_reader import Reader, Speech, words_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sinks._captions import viewer
from sinks._captions.board import MOST_SESSIONS, Board
from sinks._captions.lines import COLUMNS, MOST_LINES, Lines, pieces
from sinks._captions.wire import answer, message
from sinks.captions import CaptionsSink, parse_address
from streaming.errors import ConfigurationError, SinkError
from streaming.events import (
    AudioDropped,
    Committed,
    Event,
    Final,
    Notice,
    Partial,
    SessionEnded,
    SessionStarted,
    Stats,
    Word,
    event_to_json,
)
from streaming.protocols import Reporting, Sink
from streaming.testing import check_sink


@asynccontextmanager
async def opened(said: list[Notice] | None = None, **options: Any) -> AsyncIterator[CaptionsSink]:
    """A sink on a free port; ``said`` gets what it reports."""
    sink = CaptionsSink(port=0, **options)
    sink.report = ([] if said is None else said).append
    async with sink:
        yield sink


def view(sink: CaptionsSink, **options: Any) -> connect:
    return connect(sink.url.replace("http", "ws") + "ws", **options)


async def write(sink: CaptionsSink, *events: Event) -> None:
    for event in events:
        await sink.write(event)


async def read_all(socket: ClientConnection, reader: Reader | None = None) -> Reader:
    """Read to the close."""
    reader = reader or Reader()
    async for data in socket:
        reader.take(data)
    return reader


async def read_one(socket: ClientConnection) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(await socket.recv())
    return body


def address_of(sink: CaptionsSink) -> tuple[str, int]:
    host, _, port = sink.url.removeprefix("http://").rstrip("/").rpartition(":")
    return host.strip("[]"), int(port)


async def ask(sink: CaptionsSink, request: str) -> tuple[int, dict[str, str], bytes]:
    """Send a raw request; returns status, headers and body."""
    reader, writer = await asyncio.open_connection(*address_of(sink))
    writer.write(request.replace("\n", "\r\n").encode())
    data = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in rest)
    return int(first.split()[1]), headers, body


def get(host: str, path: str = "/", method: str = "GET", more: str = "") -> str:
    return f"{method} {path} HTTP/1.1\nHost: {host}\n{more}\n"


# -- the contract --------------------------------------------------------------------------------


def test_it_keeps_the_contract_of_a_sink_that_reports() -> None:
    sink = CaptionsSink()
    assert isinstance(sink, Sink)
    assert isinstance(sink, Reporting)
    asyncio.run(check_sink(lambda: CaptionsSink(port=0)))


def test_entering_says_where_the_page_is() -> None:
    async def main() -> None:
        said: list[Notice] = []
        async with opened(said) as sink:
            assert sink.url.startswith("http://127.0.0.1:")
            told = Notice(level="info", code="captions", message=f"captions at {sink.url}")
            assert said == [told]

    asyncio.run(main())


def test_whoever_opens_it_to_the_network_is_told_who_can_read() -> None:
    async def main() -> None:
        said: list[Notice] = []
        async with opened(said, host="0.0.0.0") as sink:
            port = address_of(sink)[1]
            assert said[-1].message == (
                f"captions at http://127.0.0.1:{port}/, for everybody who can reach port {port} "
                "of this machine"
            )
            status, _, _ = await ask(sink, get("captions.example"))
            assert status == 200

    asyncio.run(main())


def test_it_listens_on_ipv6_too() -> None:
    async def main() -> None:
        async with opened(host="::1") as sink:
            assert sink.url.startswith("http://[::1]:")
            async with view(sink) as socket:
                assert (await read_one(socket))["type"] == "snapshot"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8765", ("127.0.0.1", 8765)),
        ("8765", ("127.0.0.1", 8765)),
        (":0", ("127.0.0.1", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
        ("0.0.0.0:8765", ("0.0.0.0", 8765)),
    ],
)
def test_addresses_are_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "localhost", "::1:80", "a:b", "1:2:3", "http://x:80", "-1"])
def test_an_address_without_a_port_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:8765"):
        parse_address(text)


def test_a_port_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="65536"):
        parse_address("127.0.0.1:65536")


def test_a_port_in_use_is_one_line_with_the_way_out() -> None:
    async def main() -> None:
        async with opened() as first:
            with pytest.raises(SinkError, match="in use; choose another one, or 0") as caught:
                await CaptionsSink(port=address_of(first)[1]).__aenter__()
            assert "\n" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", "a..b"])
def test_a_host_that_is_not_ours_is_one_line_with_the_way_out(host: str) -> None:
    with pytest.raises(SinkError, match=r"use 127\.0\.0\.1"):
        asyncio.run(CaptionsSink(host, 0).__aenter__())


@pytest.mark.parametrize(
    "options", [{"clear_after_s": -1.0}, {"max_viewers": 0}, {"stall_limit_s": 0.0}]
)
def test_values_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        CaptionsSink(**options)


# -- HTTP ----------------------------------------------------------------------------------------


def test_the_page_is_one_file_that_may_load_nothing_else() -> None:
    async def main() -> None:
        async with opened() as sink:
            host = sink.url.removeprefix("http://").rstrip("/")
            status, headers, body = await ask(sink, get(host, "/?size=30"))
            assert status == 200
            assert headers["content-type"] == "text/html; charset=utf-8"
            assert headers["cache-control"] == "no-store"
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'sha256-")
            assert f"connect-src ws://{host} wss://{host};" in policy
            assert b"://" not in body
            status, headers, nothing = await ask(sink, get(host, method="HEAD"))
            assert (status, nothing) == (200, b"")
            assert headers["content-length"] == str(len(body))

    asyncio.run(main())


def test_other_paths_and_methods_are_refused() -> None:
    async def main() -> None:
        async with opened() as sink:
            for path, method, expected in (
                ("/etc/passwd", "GET", 404),
                ("/../page.html", "GET", 404),
                ("/", "POST", 405),
                ("/ws", "DELETE", 405),
                ("/ws", "GET", 426),  # without the headers of a WebSocket
            ):
                status, headers, _ = await ask(sink, get("localhost", path, method))
                assert status == expected, (path, method)
                assert expected != 405 or "GET" in headers["allow"].upper()

    asyncio.run(main())


def test_nonsense_instead_of_a_request_is_hung_up_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with opened() as sink:
            for nonsense in (b"\x16\x03\x01\x00", b"GET / HTTP/1.1\r\n" * 300, b"A" * 20_000):
                reader, writer = await asyncio.open_connection(*address_of(sink))
                writer.write(nonsense + b"\r\n\r\n")
                with suppress(ConnectionResetError):
                    assert not (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 2")
                writer.close()

    asyncio.run(main())
    assert not caplog.records


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"host": "localhost:9000"}, 200),  # as through a tunnel
        ({"host": "127.0.0.1"}, 200),
        ({"host": "[::1]:8765"}, 200),
        ({"host": "evil.example"}, 403),  # its name was made to point here
        ({"host": "127.0.0.1.evil.example:8765"}, 403),
        ({"host": "localhost", "origin": "http://localhost"}, 200),
        ({"host": "localhost:8765", "origin": "http://evil.example"}, 403),
        ({"host": "localhost:8765", "origin": "http://localhost:9999"}, 403),
        ({"host": "localhost", "origin": "null"}, 403),
        ({"host": "a b"}, 400),
        ({"host": "localhost;script-src *"}, 400),
        ({"host": ""}, 400),
    ],
)
def test_a_strangers_page_reads_nothing(more: dict[str, str], status: int) -> None:
    origins = [more["origin"]] if "origin" in more else []
    found = answer("GET", "/", [more["host"]], origins, ["127.0.0.1", "localhost"])
    assert found is not None
    assert found.status == status
    assert found.headers["Connection"] == "close"


def test_a_host_named_twice_is_refused() -> None:
    found = answer("GET", "/", ["localhost", "localhost"], [], [])
    assert found is not None
    assert found.status == 400


def test_a_websocket_from_a_strangers_page_is_refused() -> None:
    async def main() -> None:
        async with opened() as sink:
            with pytest.raises(InvalidStatus, match="403"):
                async with view(sink, origin="http://evil.example"):
                    pass
            own = sink.url.rstrip("/")
            async with view(sink, origin=own) as socket:
                assert (await read_one(socket))["type"] == "snapshot"

    asyncio.run(main())


# -- what viewers get ----------------------------------------------------------------------------


def a_session(n_utterances: int = 3, session: str = "a") -> list[Event]:
    """Utterances of ten words each, committed two at a time."""
    speech = Speech(session)
    events: list[Event] = [speech.start("me")]
    for n in range(n_utterances):
        for k in range(0, 10, 2):
            events.append(speech.commit(f" word{n}-{k} and{n}-{k + 1}"))
            events.append(speech.partial(f" tentative{k}"))
        events.append(speech.final())
    seq = len(events)
    events.append(Stats(session=session, seq=seq))
    events.append(SessionEnded(session=session, seq=seq + 1))
    return events


def test_a_viewer_gets_a_snapshot_and_then_every_event_once_in_order() -> None:
    async def main() -> None:
        events = a_session()
        async with opened(clear_after_s=4.0) as sink:
            async with view(sink) as socket:
                snapshot = await read_one(socket)
                assert snapshot == {
                    "type": "snapshot",
                    "clear_after_s": 4.0,
                    "truncated": False,
                    "ended": False,
                    "sessions": [],
                }
                reading = asyncio.create_task(read_all(socket))
                await write(sink, *events)
                await sink.__aexit__(None, None, None)
                reader = await reading
            assert reader.events == [json.loads(event_to_json(event)) for event in events]
            said = "".join(event.text for event in events if isinstance(event, Committed))
            assert reader.text("a") == said
            assert reader.sessions["a"].tentative == [""]

    asyncio.run(main())


def test_a_late_viewer_knows_what_an_early_one_knows() -> None:
    async def main() -> None:
        events = a_session()
        for cut in (1, 7, 20, len(events)):
            async with opened() as sink, view(sink) as early:
                first = asyncio.create_task(read_all(early))
                await write(sink, *events[:cut])
                async with view(sink) as late:
                    snapshot = await late.recv()
                    second = asyncio.create_task(read_all(late, Reader().take(snapshot)))
                    await write(sink, *events[cut:])
                    await sink.__aexit__(None, None, None)
                    reader = await second
                early_reader = await first
            assert reader.known() == early_reader.known()
            assert reader.events == early_reader.events[cut:]

    asyncio.run(main())


def test_a_snapshot_names_labels_the_running_partial_and_the_end() -> None:
    board = Board()
    speech = Speech("a")
    for event in (speech.start("me"), speech.commit(" So"), speech.partial(" far")):
        board.push(event, 1.0)
    found = board.snapshot(3.5)
    (session,) = found["sessions"]
    assert (session["label"], session["last_seq"], session["idle_s"]) == ("me", 2, 2.5)
    assert session["partial"] == {
        "utterance": 0,
        "committed": " So",
        "tentative": " far",
        "language": "en",
    }
    assert "seq" not in found
    assert "seq" not in session
    assert not found["ended"]
    board.push(SessionEnded(session="a", seq=3), 4.0)
    found = board.snapshot(4.0)
    assert found["ended"]
    assert found["sessions"][0]["partial"] is None


def test_a_snapshot_is_bounded_and_says_what_it_leaves_out() -> None:
    board = Board()
    speech = Speech()
    for n in range(3000):
        board.push(speech.commit(f" this is a long utterance number {n}"), 0.0)
        board.push(speech.final(), 0.0)
    found = board.snapshot(0.0)
    (session,) = found["sessions"]
    assert len(session["lines"]) == MOST_LINES
    assert found["truncated"]
    assert session["from"] == 3000 - MOST_LINES
    assert session["lines"][-1]["text"].endswith(" 2999")
    assert len(message(found)) < 40_000


def test_sessions_are_bounded_and_those_that_ended_go_first() -> None:
    board = Board()
    board.push(SessionStarted(session="lives", label="me"), 0.0)
    for n in range(3 * MOST_SESSIONS):
        board.push(SessionStarted(session=f"{n}"), 1.0 + n)
        board.push(SessionEnded(session=f"{n}"), 1.0 + n)
    names = [session["session"] for session in board.snapshot(100.0)["sessions"]]
    assert len(names) == MOST_SESSIONS
    assert "lives" in names
    assert names[-1] == f"{3 * MOST_SESSIONS - 1}"


def test_a_quiet_viewer_is_told_that_the_line_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "ALIVE_S", 0.02)

    async def main() -> None:
        async with opened() as sink, view(sink) as socket:
            assert (await read_one(socket))["type"] == "snapshot"
            assert await read_one(socket) == {"type": "alive"}
            assert await read_one(socket) == {"type": "alive"}

    asyncio.run(main())


# -- lines ---------------------------------------------------------------------------------------

TEXTS = st.text("ab c日本。́\u200bé-\x1b\n  ", max_size=40) | st.sampled_from(
    [" word", " " + "x" * 50, " two words", "語" * 30, "́" * 400, " שלום", ""]
)


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Whatever two sessions may say; not only what they would."""
    events: list[Event] = []
    utterance = 0
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["commit", "partial", "final", "lost", "start", "notice"]))
        text = draw(TEXTS)
        words = words_of(text) if draw(st.booleans()) else ()
        base: dict[str, Any] = {"session": draw(st.sampled_from("ab")), "seq": len(events)}
        if kind == "commit":
            words = tuple(Word(w.text, draw(st.floats(0, 9)), 9.0, 1.0) for w in words)
            events.append(Committed(utterance=utterance, text=text, words=words, **base))
        elif kind == "partial":
            events.append(Partial(utterance=utterance, tentative=text, words=words, **base))
        elif kind == "final":
            events.append(Final(utterance=utterance, **base))
            utterance += 1
        elif kind == "lost":
            events.append(AudioDropped(start_s=draw(st.floats(0, 9)), end_s=9.5, **base))
        elif kind == "start":
            events.append(SessionStarted(label=text, **base))
        else:
            events.append(Notice(message=text, **base))
    return events


@settings(max_examples=150, deadline=None)
@given(logs(), st.data())
def test_lines_never_reflow_and_a_late_viewer_sees_the_same(
    events: list[Event], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(events)))
    board, early, late = Board(), Reader(), Reader()
    early.take(message({"type": "snapshot", **board.snapshot(0.0)}))
    for n, event in enumerate(events):
        if n == cut:
            late.take(message({"type": "snapshot", **board.snapshot(0.0)}))
        changed = board.push(event, float(n))
        if changed is not None:
            for reader in (early, late) if n >= cut else (early,):
                reader.take(message(changed))
    if cut < len(events):
        assert late.known() == early.known()
    for shown in early.sessions.values():
        for line in [*shown.lines.values(), *shown.tentative[1:]]:
            assert cell_len(line.strip()) <= COLUMNS
            assert len(line) <= 4 * COLUMNS
    for session, shown in early.sessions.items():
        said = "".join(
            "".join(pieces(event.text, event.words))
            for event in events
            if isinstance(event, Committed) and event.session == session
        )
        text = [t for t in shown.lines.values() if not t.startswith("[audio lost")]
        assert "".join("".join(text).split()) == "".join(said.split())


def lines_of(*texts: str) -> list[str]:
    lines = Lines()
    for text in texts:
        lines.write(pieces(text, words_of(text)), "en")
    return [line.text.strip() for line in lines.since(0)]


def test_lines_break_at_words() -> None:
    assert lines_of(
        " And so, my fellow Americans, ask not what", " your country can do for you."
    ) == [
        "And so, my fellow Americans, ask not what",
        "your country can do for you.",
    ]


def test_wide_characters_count_two() -> None:
    text = "彼は毎日図書館で本を読んでいますそして家に帰ります"
    lines = Lines()
    lines.write(pieces(text, [Word(c, 0, 0, 1) for c in text]), "ja")
    assert [line.text for line in lines.since(0)] == [text[:21], text[21:]]


def test_a_word_longer_than_a_line_is_folded() -> None:
    assert lines_of(" a " + "x" * 50) == ["a " + "x" * 40, "x" * 10]


def test_tentative_words_take_their_place_when_they_are_committed() -> None:
    board, speech = Board(), Speech()
    board.push(speech.commit(" one two three four five six seven"), 0.0)
    found = board.push(speech.partial(" eight nine ten eleven"), 0.0)
    assert found is not None
    assert found["tentative"] == [" eight", " nine ten eleven"]
    found = board.push(speech.commit(" eight nine ten eleven"), 0.0)
    assert found is not None
    assert [line["text"] for line in found["lines"]] == [
        " one two three four five six seven eight",
        " nine ten eleven",
    ]


def test_an_utterance_begins_a_line() -> None:
    board, speech = Board(), Speech()
    for event in (speech.commit(" One."), speech.final(), speech.commit(" Two.")):
        board.push(event, 0.0)
    (session,) = board.snapshot(0.0)["sessions"]
    assert [line["text"] for line in session["lines"]] == [" One.", " Two."]


def shown_after(*events: Event) -> list[str]:
    board = Board()
    for event in events:
        board.push(event, 0.0)
    return [line["text"].strip() for line in board.snapshot(0.0)["sessions"][0]["lines"]]


def test_lost_audio_is_marked_where_it_was_lost() -> None:
    speech = Speech()
    words = [Word(" before", 1.0, 1.5, 1.0), Word(" after", 5.0, 5.5, 1.0)]
    lost = AudioDropped(session="a", start_s=2.0, end_s=4.3)
    # The word that was said before is committed later.
    assert shown_after(speech.partial(" before"), lost, speech.commit(" before after", words)) == [
        "before",
        "[audio lost 2.3 s]",
        "after",
    ]


def test_lost_audio_is_marked_at_the_end_of_the_utterance_at_the_latest() -> None:
    speech = Speech()
    lost = AudioDropped(session="a", start_s=2.0, end_s=2.4)
    assert shown_after(speech.commit(" before"), lost) == ["before"]
    speech = Speech()
    assert shown_after(speech.commit(" before"), lost, lost, speech.final(), lost) == [
        "before",
        "[audio lost 1.2 s]",
    ]


def test_lost_audio_in_silence_is_marked_at_once() -> None:
    assert shown_after(AudioDropped(session="a", start_s=2.0, end_s=4.0)) == ["[audio lost 2.0 s]"]


def test_losses_without_end_are_bounded() -> None:
    board, speech = Board(), Speech()
    board.push(speech.partial(" well"), 0.0)
    for n in range(1000):
        board.push(AudioDropped(session="a", start_s=n, end_s=n + 0.5), 0.0)
    board.push(speech.final(), 0.0)
    (session,) = board.snapshot(0.0)["sessions"]
    assert [line["text"] for line in session["lines"]] == ["[audio lost 500.0 s]"]


# -- many, slow and stopped viewers --------------------------------------------------------------


def small_socket(sink: CaptionsSink) -> socket.socket:
    """A connection with as little room as the system allows."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(address_of(sink))
    made.setblocking(False)
    return made


def big_events(n: int) -> list[Event]:
    return [Notice(session="a", seq=seq, message="x" * 2000) for seq in range(n)]


def test_a_slow_viewer_is_skipped_ahead_and_told_and_the_session_does_not_wait() -> None:
    async def main() -> None:
        speech = Speech()
        async with opened() as sink:
            async with view(sink, sock=small_socket(sink), max_queue=1) as slow, view(sink) as fast:
                fast_reading = asyncio.create_task(read_all(fast))
                for seq, event in enumerate(big_events(600)):
                    with pytest.raises(StopIteration):  # it is done without waiting once
                        sink.write(event).send(None)
                    if seq % 20 == 0:
                        await asyncio.sleep(0.005)  # the fast one keeps up
                await write(sink, speech.commit(" the newest words"))
                leaving = asyncio.create_task(sink.__aexit__(None, None, None))
                reader = await read_all(slow)
                await leaving
                fast_reader = await fast_reading
            assert fast_reader.skipped == 0
            assert len(fast_reader.events) == 601
            assert reader.skipped > 200
            assert reader.skipped + len(reader.events) == 601
            seqs = [event["seq"] for event in reader.events if event["type"] == "notice"]
            assert seqs == sorted(set(seqs))
            assert reader.known() == fast_reader.known()
            assert reader.text("a") == " the newest words"

    asyncio.run(main())


def test_a_viewer_that_reads_nothing_any_more_is_closed() -> None:
    async def main() -> None:
        async with opened(stall_limit_s=0.2) as sink:
            stopped = await view(sink, sock=small_socket(sink), max_queue=1)
            await write(sink, *big_events(200))
            assert sink._publisher.n_viewers
            async with asyncio.timeout(3):
                while sink._publisher.n_viewers or sink._connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            with pytest.raises(ConnectionClosed):
                await read_all(stopped)

    asyncio.run(main())


def test_leaving_takes_a_second_with_a_stopped_viewer_and_an_idle_stranger() -> None:
    async def main() -> None:
        sink = CaptionsSink(port=0)
        async with sink:
            _, idle = await asyncio.open_connection(*address_of(sink))
            stopped = await view(sink, sock=small_socket(sink), max_queue=1)
            await write(sink, *big_events(200))
            await asyncio.sleep(0.05)
            started = time.perf_counter()
        assert time.perf_counter() - started < 1.5
        idle.close()
        stopped.transport.abort()
        assert not sink._connections

    asyncio.run(main())


def test_who_connects_as_it_leaves_is_not_forgotten() -> None:
    async def main() -> None:
        async with opened() as sink:
            late = socket.create_connection(address_of(sink))
            await asyncio.sleep(0)  # now the server learns of it, right after what follows
        with late:
            late.settimeout(2)
            with suppress(ConnectionError):
                assert late.recv(1) == b""

    asyncio.run(main())


def test_a_run_that_ends_gives_viewers_the_last_event_and_a_clean_close() -> None:
    async def main() -> None:
        async with opened() as sink:
            socket = await view(sink)
            reading = asyncio.create_task(read_all(socket))
            await write(sink, *a_session(1))
            await sink.__aexit__(None, None, None)
            reader = await reading
            assert reader.events[-1]["type"] == "session_ended"
            assert (socket.close_code, socket.close_reason) == (1000, "the session has ended")

    asyncio.run(main())


def test_one_viewer_too_many_is_turned_away_and_told() -> None:
    async def main() -> None:
        said: list[Notice] = []
        async with opened(said, max_viewers=2) as sink:
            async with view(sink) as first, view(sink):
                await first.recv()
                for _ in range(2):
                    async with view(sink) as third:
                        with pytest.raises(ConnectionClosed):
                            await third.recv()
                    assert third.close_code == 1013
                    assert third.close_reason == "there are 2 viewers already"
                notices = [notice.message for notice in said[1:]]
                assert notices == ["there are 2 viewers of the captions; more are turned away"]
            async with asyncio.timeout(3):
                while sink._publisher.n_viewers:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            async with view(sink) as fourth:
                assert (await read_one(fourth))["type"] == "snapshot"

    asyncio.run(main())


def test_connections_that_never_ask_for_anything_are_bounded() -> None:
    async def main() -> None:
        async with opened(max_viewers=1) as sink:
            opens = [await asyncio.open_connection(*address_of(sink)) for _ in range(80)]
            await asyncio.sleep(0.1)
            assert len(sink._connections) <= 65
            for _, writer in opens:
                writer.close()

    asyncio.run(main())


def test_what_viewers_send_is_ignored() -> None:
    async def main() -> None:
        async with opened() as sink, view(sink) as socket:
            await socket.recv()
            await socket.send('{"type": "committed", "text": "I was never here"}')
            await socket.send(b"\x00\xff")
            await write(sink, Notice(message="x"))
            assert (await read_one(socket))["message"] == "x"

    asyncio.run(main())


def test_a_viewer_that_sends_much_is_slowed_down_and_served() -> None:
    async def main() -> None:
        async with opened() as sink, view(sink) as socket:
            await socket.recv()

            async def flood() -> None:
                while True:
                    await socket.send("x" * 1000)

            flooding = asyncio.create_task(flood())
            await asyncio.sleep(0.1)
            started = time.process_time()
            await asyncio.sleep(0.3)
            assert time.process_time() - started < 0.2
            await write(sink, Notice(message="x"))
            assert (await read_one(socket))["message"] == "x"
            flooding.cancel()
            socket.transport.abort()

    asyncio.run(main())


def test_a_viewer_that_sends_a_large_message_is_closed() -> None:
    async def main() -> None:
        async with opened() as sink, view(sink) as socket:
            await socket.recv()
            await socket.send("x" * 5000)
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1009

    asyncio.run(main())


def test_fifty_that_come_and_go_leave_nothing() -> None:
    async def main() -> None:
        async with opened() as sink:

            async def come_and_go(n: int) -> None:
                socket = await view(sink, max_queue=None)
                await socket.recv()
                await write(sink, Notice(session="a", message="x" * 100))
                await socket.recv()
                if n % 2:
                    socket.transport.abort()
                await socket.close()

            async def wave() -> tuple[int, int]:
                await asyncio.gather(*map(come_and_go, range(50)))
                async with asyncio.timeout(5):
                    while sink._connections:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                gc.collect()
                return len(asyncio.all_tasks()), tracemalloc.get_traced_memory()[0]

            tracemalloc.start()
            await wave()
            tasks, memory = await wave()
            tasks_later, memory_later = await wave()
            tracemalloc.stop()
            assert not sink._publisher.n_viewers
            assert tasks_later == tasks
            assert memory_later - memory < 100_000

    asyncio.run(main())
