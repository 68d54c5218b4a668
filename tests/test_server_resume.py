"""A session whose connections break loses nothing: a real server, and clients cut off it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cli_plugin
import pytest
from broken_stream import Streamed, stream
from cutting_proxy import Cut, CuttingProxy, How
from server_process import Served, serving
from stream_client import JSON, Hurried, StreamClient, events_of, pcm, resume, whole_log

from streaming.audio import SAMPLE_RATE, Samples

UTTERANCES = 16
SCRIPT = cli_plugin.talk(UTTERANCES)
WORDS = "".join(word.text for word in SCRIPT.words)
AUDIO = SCRIPT.audio()
SPEED = 8.0
"""Times as fast as speech, so that a test takes seconds."""
QUICK = {"retry_s": 0.02, "dead_s": 1.0}
"""How soon the client looks for its server again."""
BACKEND = f"scripted:utterances={UTTERANCES}"
OPTIONS = ("--vad", "loud", "--max-rate", "0")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server"), *OPTIONS, backend=BACKEND) as served:
        served.until_ready()
        yield served


def address(port: int) -> str:
    return f"ws://127.0.0.1:{port}/v1/stream"


def test_ten_cuts_in_a_stream_lose_nothing(server: Served) -> None:
    cuts = [
        Cut(up=50_000),
        Cut(down=1_200),
        Cut(up=30_001),
        Cut(up=40_000, how="freeze"),
        Cut(down=933),
        Cut(up=50_000),
        Cut(down=700),
        Cut(up=20_011),
        Cut(down=1_000, how="freeze"),
        Cut(up=40_000),
    ]
    done = asyncio.run(stream(server.port, Hurried(AUDIO, SPEED), cuts, **QUICK))
    assert done.n_broken == 10
    assert done.n_connections >= 11
    assert done.faults() == []
    assert done.text == WORDS
    assert done.seen[-1]["audio_s"] == pytest.approx(len(AUDIO) / SAMPLE_RATE, abs=1e-3)
    assert done.of_type("audio_dropped") == []


@pytest.mark.parametrize(
    "cuts",
    [
        # While the first connection is made: the session that nobody heard of is not missed.
        [Cut(up=1), Cut(up=150), Cut(down=1), Cut(down=100), Cut(down=300)],
        # While a resume is asked for.
        [Cut(up=60_000), Cut(up=1), Cut(up=200), Cut(up=300), Cut(up=360), Cut(up=380)],
        # Before and in the answer.
        [Cut(up=60_000), Cut(down=1), Cut(down=100), Cut(down=140), Cut(down=180), Cut(down=220)],
        # While events are replayed.
        [Cut(up=90_000, down=2_000), Cut(down=300), Cut(down=400), Cut(down=900), Cut(down=950)],
        # The same without a sign, as when a phone leaves the network.
        [Cut(down=d, how="freeze") for d in (1_000, 1, 200, 700)],
    ],
    ids=["hello", "resume", "resumed", "replay", "frozen"],
)
def test_cuts_in_a_row_at_any_step_lose_nothing(server: Served, cuts: list[Cut]) -> None:
    source = Hurried(AUDIO[: 6 * SAMPLE_RATE], SPEED)
    done = asyncio.run(stream(server.port, source, cuts, **QUICK))
    assert done.n_broken == len(cuts)
    assert done.faults() == []
    assert done.text
    assert WORDS.startswith(done.text)
    assert done.seen[-1]["audio_s"] == 6.0


def check_log(seen: list[JSON], server_log: list[JSON]) -> None:
    """The client's log is the server's, each event once and in order."""
    assert Streamed(seen, server_log, 0, 0).faults() == []


def text_of(seen: list[JSON]) -> str:
    return Streamed(seen, seen, 0, 0).text


async def speak(client: StreamClient, audio: Samples) -> None:
    """Send all of it at once."""
    data = pcm(audio)
    await client.send(*(data[at : at + 64_000] for at in range(0, len(data), 64_000)))


async def go_on(
    server: Served, hello: JSON, before: StreamClient, audio: Samples = AUDIO
) -> tuple[list[JSON], StreamClient]:
    """All events of a session that is resumed once, as its two connections had them."""
    seen = events_of(before.said)
    async with StreamClient(f"{server.stream}?session={hello['session']}") as again:
        await again.send(resume(hello, seen[-1]["seq"] if seen else -1, len(audio)))
        resumed = await again.until(type="resumed")
        assert again.said == [resumed]  # before anything else
        await speak(again, audio[resumed["position"] :])
        await again.send({"type": "finish"})
        return seen + events_of(await again.to_the_end()), again


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("away_s", [0.0, 1.5])
def test_a_cut_right_after_finish_loses_nothing(
    server: Served, arrives: bool, away_s: float
) -> None:
    async def run() -> None:
        async with CuttingProxy(server.port) as proxy:
            async with StreamClient(address(proxy.port)) as client:
                hello = await client.until(type="session")
                await speak(client, AUDIO)
                await client.until(type="final")
                if not arrives:
                    proxy.break_all("freeze")
                await client.send({"type": "finish"})
                if arrives:
                    await asyncio.sleep(0.05)
                    proxy.break_all()
            await asyncio.sleep(away_s)
            seen, again = await go_on(server, hello, client)
        assert again.close_code == 1000
        check_log(seen, await whole_log(server.stream, hello))
        assert text_of(seen) == WORDS

    asyncio.run(run())


@pytest.mark.parametrize("how", ["freeze", None])
def test_a_session_is_taken_over_from_a_connection_that_still_has_it(
    server: Served, how: How | None
) -> None:
    async def run() -> None:
        async with (
            CuttingProxy(server.port) as proxy,
            StreamClient(address(proxy.port)) as client,
        ):
            hello = await client.until(type="session")
            await speak(client, AUDIO[: 8 * SAMPLE_RATE])
            await client.until(type="final")
            if how is not None:
                proxy.break_all(how)
            seen, _ = await go_on(server, hello, client)
            if how is None:
                refusal = (await client.to_the_end())[-1]
                assert (refusal["code"], client.close_code) == ("taken_over", 1008)
        check_log(seen, await whole_log(server.stream, hello))
        assert text_of(seen) == WORDS

    asyncio.run(run())


@pytest.mark.parametrize(
    ("claim", "code", "close_code"),
    [
        ({"secret": "guessed"}, "wrong_secret", 1008),
        ({"secret": "\ud800"}, "wrong_secret", 1008),
        ({"last_seq": 100_000}, "bad_position", 1008),
        ({"last_seq": -2}, "bad_message", 1007),
        ({"last_seq": "all"}, "bad_message", 1007),
        ({"secret": None}, "bad_message", 1007),
        ({"sent": -1}, "bad_message", 1007),
        ({"type": "keepalive"}, "bad_message", 1007),
    ],
)
def test_a_resume_that_is_wrong_is_refused_and_disturbs_nobody(
    server: Served, claim: JSON, code: str, close_code: int
) -> None:
    async def run() -> None:
        async with StreamClient(server.stream) as client:
            hello = await client.until(type="session")
            await speak(client, AUDIO[: 3 * SAMPLE_RATE])
            async with StreamClient(f"{server.stream}?session={hello['session']}") as other:
                await other.send(resume(hello, 0, 2**30) | claim)
                (refusal,) = await other.to_the_end()
            assert (refusal["type"], refusal["code"]) == ("error", code)
            assert other.close_code == close_code
            assert hello["secret"] not in refusal["message"]
            await client.send({"type": "finish"})
            check_log(events_of(await client.to_the_end()), await whole_log(server.stream, hello))

    asyncio.run(run())


def test_audio_that_the_server_has_and_the_client_never_sent_is_refused(server: Served) -> None:
    async def run() -> None:
        async with StreamClient(server.stream) as client:
            hello = await client.until(type="session")
            await speak(client, AUDIO[: 3 * SAMPLE_RATE])
            await client.until(type="final")
        async with StreamClient(f"{server.stream}?session={hello['session']}") as other:
            await other.send(resume(hello, 0, 2 * SAMPLE_RATE))
            (refusal,) = await other.to_the_end()
        assert refusal["code"] == "bad_position"
        await go_on(server, hello, client)  # it can still be had

    asyncio.run(run())


def test_a_session_that_never_was_is_unknown(server: Served) -> None:
    async def run() -> None:
        async with StreamClient(server.stream + "?session=1234") as client:
            await client.send(resume({"secret": "guessed"}, -1))
            (refusal,) = await client.to_the_end()
        assert (refusal["code"], client.close_code) == ("unknown_session", 1008)

    asyncio.run(run())


def test_a_session_is_forgotten_after_its_time(tmp_path: Path) -> None:
    async def run(server: Served) -> None:
        async with StreamClient(server.stream) as client:
            hello = await client.until(type="session")
            assert hello["resume_s"] == 1
            await speak(client, AUDIO[: 3 * SAMPLE_RATE])
            await client.until(type="final")
        await asyncio.sleep(2.5)
        async with StreamClient(f"{server.stream}?session={hello['session']}") as late:
            await late.send(resume(hello, -1, 2**30))
            (refusal,) = await late.to_the_end()
        assert refusal["code"] == "unknown_session"

    with serving(tmp_path, *OPTIONS, "--resume", "1", backend=BACKEND) as server:
        server.until_ready()
        asyncio.run(run(server))


def test_what_a_client_has_not_kept_is_skipped_and_said(server: Served) -> None:
    # Two utterances are lost, from pause to pause.
    first, last = (round((SCRIPT.words[n].end_s + 0.2) * SAMPLE_RATE) for n in (7, 15))

    async def run() -> None:
        async with StreamClient(server.stream) as client:
            hello = await client.until(type="session")
            await speak(client, AUDIO[:first])
            await client.send({"type": "flush"})
            await client.until(type="flushed")
        seen = events_of(client.said)
        async with StreamClient(f"{server.stream}?session={hello['session']}") as again:
            await again.send(resume(hello, seen[-1]["seq"], last))
            assert (await again.until(type="resumed"))["position"] == first
            await again.send({"type": "skip", "count": last - first})
            await speak(again, AUDIO[last:])
            await again.send({"type": "finish"})
            seen += events_of(await again.to_the_end())
        check_log(seen, await whole_log(server.stream, hello))
        (dropped,) = [event for event in seen if event["type"] == "audio_dropped"]
        # The last sample of the gap is taken for silence, so that it is told of at once.
        assert (dropped["start_sample"], dropped["end_sample"]) == (first, last - 1)
        heard = (*SCRIPT.words[:8], *SCRIPT.words[16:])
        assert text_of(seen) == "".join(word.text for word in heard)

    asyncio.run(run())
