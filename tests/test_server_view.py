"""The captions of a server's session, as viewers get them."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import cli_plugin
import pytest
import uvicorn
from caption_reader import Reader, Speech
from captions_browser import browser, eventually
from server_process import Served, serving
from starlette.applications import Starlette
from starlette.routing import Mount
from system_parts import needs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_now

from sinks.publisher import Publisher
from streaming.app.server.view import routes
from streaming.events import Event, Notice, SessionEnded, event_to_json

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

    from streaming.app.server.service import Service

KNOWN = "5c0e"


class Viewed:
    """A server with captions of one session, in a thread; its loop is the session's too."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        self.publisher = Publisher(**options)
        self.sessions: dict[str, Publisher] = {KNOWN: self.publisher}
        self.refused: list[str] = []
        service = SimpleNamespace(
            sessions=SimpleNamespace(captions_of=self.sessions.get),
            metrics=SimpleNamespace(refused=self.refused.append),
        )
        paths = routes(cast("Service", service))
        # As if a proxy had a prefix that it does not strip.
        app = Starlette(routes=[*paths, Mount("/a/prefix", routes=paths)])
        config = uvicorn.Config(
            app,
            ws="websockets-sansio",
            ws_per_message_deflate=False,
            lifespan="off",
            log_level="warning",
            access_log=False,
        )
        self._server = uvicorn.Server(config)
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        async def main() -> None:
            self._loop.set_result(asyncio.get_running_loop())
            await self._server.serve([self._socket])

        asyncio.run(main())

    def __enter__(self) -> Viewed:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def write(self, *events: Event) -> None:
        """Write them all at once."""

        async def write() -> None:
            for event in events:
                await self.publisher.write(event)

        self.do(write())

    def end(self) -> None:
        async def end() -> None:
            self.publisher.end()

        self.do(end())

    def do(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop.result(10)).result(10)

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
        """Status, headers and body of an answer."""
        return get(self.port, path, method)

    def view(self, session: str = KNOWN, **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}/view/{session}/ws", **options)


def get(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read().decode()
    connection.close()
    return answer.status, headers, body


@pytest.fixture
def server() -> Iterator[Viewed]:
    with Viewed(clear_after_s=0) as made:
        yield made


async def read_all(viewer: Any) -> Reader:
    """Read to the close."""
    reader = Reader()
    async for data in viewer:
        reader.take(data)
    return reader


async def gone(server: Viewed) -> None:
    async with asyncio.timeout(5):
        while server.publisher.n_viewers:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# -- the page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"/view/{KNOWN}", f"/view/{KNOWN}/", f"/view/{KNOWN}?size=30"])
def test_the_page_may_speak_to_its_own_host_and_load_nothing(server: Viewed, path: str) -> None:
    status, headers, body = server.get(path)
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert f"connect-src ws://127.0.0.1:{server.port} wss://127.0.0.1:{server.port};" in policy
    assert "<title>Live captions</title>" in body
    assert server.get(path, "HEAD")[0::2] == (200, "")


def test_the_page_of_a_session_that_is_not_known_says_so(server: Viewed) -> None:
    status, headers, body = server.get("/view/0000")
    assert status == 404
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert body == (
        "this session is not known here: it ended some time ago, or the server was restarted; "
        "ask for a new link\n"
    )


def test_a_host_that_is_none_gets_no_page(server: Viewed) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        request = f"GET /view/{KNOWN} HTTP/1.1\r\nHost: a;script-src *\r\nConnection: close\r\n\r\n"
        raw.sendall(request.encode())
        assert raw.makefile("rb").read().startswith(b"HTTP/1.1 400")


# -- what viewers get ----------------------------------------------------------------------------


def test_a_viewer_gets_a_snapshot_then_every_event_once_and_the_end(server: Viewed) -> None:
    speech = Speech()
    before: list[Event] = [speech.start("me"), speech.commit(" And so")]
    after: list[Event] = [speech.partial(" my"), speech.commit(" my fellow"), speech.final()]
    after.append(SessionEnded(session="a", seq=5))

    async def main() -> None:
        await asyncio.to_thread(server.write, *before)
        async with server.view() as viewer:
            reader = Reader().take(await viewer.recv())
            assert reader.text("a") == " And so"
            await asyncio.to_thread(server.write, *after)
            await asyncio.to_thread(server.end)
            async for data in viewer:
                reader.take(data)
        assert viewer.close_code == 1000
        assert reader.events == [json.loads(event_to_json(event)) for event in after]
        assert reader.text("a") == " And so my fellow"
        # Who comes after the end sees what there was.
        async with server.view() as late:
            assert (await read_all(late)).text("a") == " And so my fellow"
        assert late.close_code == 1000
        await gone(server)

    asyncio.run(main())


def test_a_viewer_of_a_session_that_is_not_known_is_told_in_a_frame(server: Viewed) -> None:
    async def main() -> None:
        async with server.view("0000") as viewer:
            told = json.loads(await viewer.recv())
            assert (told["type"], told["code"]) == ("error", "unknown_session")
            assert "ask for a new link" in told["message"]
            with pytest.raises(ConnectionClosed):
                await viewer.recv()
        assert viewer.close_code == 1008
        assert server.refused == ["unknown_session"]

    asyncio.run(main())


def test_one_viewer_too_many_is_turned_away_and_told() -> None:
    async def main(server: Viewed) -> None:
        async with server.view() as first, server.view() as second:
            await first.recv()
            await second.recv()
            async with server.view() as third:
                told = json.loads(await third.recv())
                assert told["code"] == "too_many_viewers"
                assert told["message"] == "there are 2 viewers already"
                with pytest.raises(ConnectionClosed):
                    await third.recv()
            assert third.close_code == 1013
        await gone(server)
        async with server.view() as fourth:
            assert json.loads(await fourth.recv())["type"] == "snapshot"

    with Viewed(max_viewers=2) as server:
        asyncio.run(main(server))


def test_a_slow_viewer_is_skipped_ahead_and_told(server: Viewed) -> None:
    async def main() -> None:
        async with server.view(sock=small_socket(server), max_queue=1) as slow:
            # More than all buffers on the way hold.
            seqs = iter(range(100_000))
            for _ in range(40):
                block = (Notice(session="a", seq=seq, message="x" * 2000) for seq in seqs)
                await asyncio.to_thread(server.write, *(next(block) for _ in range(100)))
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.write, Speech().commit(" the newest words"))
            await asyncio.to_thread(server.end)
            reader = await read_all(slow)
        assert reader.skipped > 200
        assert reader.skipped + len(reader.events) == 4001
        assert reader.text("a") == " the newest words"

    asyncio.run(main())


def test_a_viewer_that_takes_nothing_any_more_is_given_up() -> None:
    async def main(server: Viewed) -> None:
        stopped = await server.view(sock=small_socket(server), max_queue=1)
        big = [Notice(session="a", seq=seq, message="x" * 100_000) for seq in range(200)]
        await asyncio.to_thread(server.write, *big)
        assert server.publisher.n_viewers == 1
        await gone(server)
        stopped.transport.abort()

    with Viewed(stall_limit_s=0.2) as server:
        asyncio.run(main(server))


def small_socket(server: Viewed) -> socket.socket:
    """A connection with as little room as the system allows."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", server.port))
    made.setblocking(False)
    return made


# -- what viewers send ---------------------------------------------------------------------------


def test_what_viewers_send_is_ignored(server: Viewed) -> None:
    async def main() -> None:
        async with server.view() as viewer:
            await viewer.recv()
            await viewer.send('{"type": "finish"}')
            await viewer.send(b"\x00\xff")
            await asyncio.to_thread(server.write, Notice(message="x"))
            assert json.loads(await viewer.recv())["message"] == "x"

    asyncio.run(main())


def test_a_viewer_that_sends_much_is_slowed_down_and_served(server: Viewed) -> None:
    async def main() -> None:
        sent = 0
        async with server.view() as viewer:
            await viewer.recv()

            async def flood() -> None:
                nonlocal sent
                while True:
                    await viewer.send("x" * 1000)
                    sent += 1

            flooding = asyncio.create_task(flood())
            before = -1
            async with asyncio.timeout(30):
                while not sent or sent != before:  # until whatever is on the way is full
                    before = sent
                    await asyncio.sleep(0.5)
            await asyncio.to_thread(server.write, Notice(message="x"))
            assert json.loads(await viewer.recv())["message"] == "x"
            flooding.cancel()
            viewer.transport.abort()
            while server.publisher.n_viewers:  # who writes learns that there is nobody
                await asyncio.to_thread(server.write, Notice(message="x"))

    asyncio.run(main())


def test_a_viewer_that_sends_a_long_message_is_closed(server: Viewed) -> None:
    async def main() -> None:
        async with server.view() as viewer:
            await viewer.recv()
            await viewer.send("x" * 5000)
            assert json.loads(await viewer.recv())["code"] == "too_long"
            with pytest.raises(ConnectionClosed):
                await viewer.recv()
        assert viewer.close_code == 1009
        await gone(server)

    asyncio.run(main())


def test_viewers_that_come_and_go_leave_nothing(
    server: Viewed, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def come_and_go(n: int) -> None:
            viewer = await server.view(max_queue=None)
            await viewer.recv()
            await asyncio.to_thread(server.write, Notice(session="a", message="x"))
            if n % 2:
                viewer.transport.abort()
            await viewer.close()

        await asyncio.gather(*map(come_and_go, range(30)))
        await gone(server)

    async def tasks() -> None:
        left.append(len(asyncio.all_tasks()))

    left: list[int] = []
    server.do(tasks())
    asyncio.run(main())
    until_s = time.monotonic() + 5
    while left[-1] > left[0] and time.monotonic() < until_s:
        server.do(tasks())
    assert left[-1] == left[0]
    assert not caplog.records


# -- in a browser --------------------------------------------------------------------------------


def shown(driver: WebDriver) -> str:
    return driver.find_element("id", "captions").text


def status(driver: WebDriver) -> str:
    return driver.find_element("id", "link").text


@needs("chromedriver", package="chromium-driver")
def test_the_page_follows_the_session_and_tells_of_its_end_and_of_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with browser(tmp_path_factory.mktemp("profile")) as driver:

        def run(script: str) -> Any:
            return driver.execute_script(script)

        with Viewed(clear_after_s=0) as server:
            speech = Speech()
            server.write(speech.commit(" One."))
            driver.get(f"http://127.0.0.1:{server.port}/a/prefix/view/{KNOWN}?size=30")
            eventually(lambda: shown(driver), "One.")
            address = f"ws://127.0.0.1:{server.port}/a/prefix/view/{KNOWN}/ws"
            assert run("return socket.url") == address
            server.write(speech.commit(" Two."))
            eventually(lambda: shown(driver), "One. Two.")
        eventually(lambda: status(driver), "Connection lost. Trying again")
        with Viewed(server.port) as restarted:
            restarted.sessions.clear()
            eventually(lambda: status(driver).startswith("this session is not known here"), True)
            assert shown(driver) == "One. Two."
            log: list[dict[str, str]] = driver.get_log("browser")  # type: ignore[no-untyped-call]
            assert not [entry for entry in log if "ecurity" in entry["message"]]

        with Viewed(clear_after_s=0) as server:
            speech = Speech()
            server.write(speech.commit(" Bye."))
            driver.get(f"http://127.0.0.1:{server.port}/view/{KNOWN}/")
            eventually(lambda: shown(driver), "Bye.")
            run("window.asked = 0; window.again = connect; connect = () => { asked++; again(); }")
            server.write(speech.final(), SessionEnded(session="a", seq=9))
            server.sessions.clear()
            server.end()
            eventually(lambda: status(driver), "The session has ended")
            eventually(lambda: run("return asked"), 1)
            time.sleep(2.5)  # longer than it would wait to ask again
            assert run("return asked") == 1
            assert status(driver) == "The session has ended"


# -- the real server -----------------------------------------------------------------------------


@contextmanager
def speaking(served: Served) -> Iterator[str]:
    """A client that has said much, but not that it is done; gives its session."""
    eventually(lambda: get(served.port, "/readyz")[0], 200, within_s=30)
    with connect_now(served.stream, max_queue=None) as stream:
        session: str = json.loads(stream.recv())["session"]
        stream.send((cli_plugin.SAID.audio() * 32767).astype("<i2").tobytes()[:200_000])
        yield session


@needs("chromedriver", package="chromium-driver")
def test_the_page_of_the_real_server_follows_keeps_its_text_and_tells_of_a_restart(
    tmp_path: Path,
) -> None:
    options = ("--vad", "loud", "--max-rate", "0")
    with browser(tmp_path / "profile") as driver:
        with serving(tmp_path, *options) as served, speaking(served) as session:
            driver.get(f"{served.url}view/{session}?clear=0&lines=12")
            eventually(lambda: len(shown(driver).split()) > 5, True)
            served.process.kill()
            eventually(lambda: status(driver), "Connection lost. Trying again")
            before = shown(driver)
        with serving(tmp_path, *options, port=served.port) as served:
            eventually(lambda: status(driver).startswith("this session is not known here"), True)
            assert shown(driver) == before
            with speaking(served) as session:
                driver.get(f"{served.url}view/{session}?clear=0&lines=12")
                eventually(lambda: len(shown(driver).split()) > 5, True)
                assert status(driver) == ""
                assert served.stop() == 143  # it finishes what it heard
            eventually(lambda: status(driver), "The session has ended")
            assert not driver.find_elements("css selector", ".tentative:not(:empty)")
            heard = shown(driver).split()
            assert heard == [word.text.strip() for word in cli_plugin.SAID.words][: len(heard)]
