"""The example of a client that goes on where it was: what it does when that is not possible."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

import cli_plugin
import pytest
from cutting_proxy import CuttingProxy
from fakes import ScriptedSource, chunks_of
from server_process import Served, serving
from stream_client import JSON, Hurried, events_of, pcm

from examples.live_client import LiveClient, RefusedError
from streaming.audio import SAMPLE_RATE
from streaming.errors import SourceError, StreamingError
from streaming.protocols import Source

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = cli_plugin.talk(8)
AUDIO = SCRIPT.audio()
AUDIO_S = len(AUDIO) / SAMPLE_RATE
SPEED = 4.0
BACKEND = "scripted:utterances=8"
OPTIONS = ("--vad", "loud", "--max-rate", "0")


async def collect(client: LiveClient, source: Source, said: list[JSON]) -> None:
    async with aclosing(client.events(source)) as events:
        async for event in events:
            said.append(event)  # noqa: PERF401 - it may fail, and this is to be kept


@contextmanager
def ready(folder: Path, port: int = 0) -> Iterator[Served]:
    """A server that has its model."""
    with serving(folder, *OPTIONS, backend=BACKEND, port=port) as server:
        server.until_ready()
        yield server


def of_type(said: list[JSON], *types: str) -> list[JSON]:
    return [each for each in said if each["type"] in types]


def test_what_it_had_to_forget_is_skipped_and_said(tmp_path: Path) -> None:
    async def run(port: int) -> list[JSON]:
        said: list[JSON] = []
        async with CuttingProxy(port) as proxy:
            client = LiveClient(f"ws://127.0.0.1:{proxy.port}/v1/stream", keep_s=3, retry_s=0.02)
            async with aclosing(client.events(Hurried(AUDIO, SPEED))) as events:
                async for event in events:
                    said.append(event)
                    if event["type"] == "final" and event["utterance"] == 1:
                        await proxy.close()
                        opening = asyncio.get_running_loop().create_task(reopen(proxy))
            await opening
        return said

    async def reopen(proxy: CuttingProxy) -> None:
        await asyncio.sleep(8 / SPEED)
        await proxy.open()

    with ready(tmp_path) as server:
        said = asyncio.run(run(server.port))
    log = events_of(said)
    assert [event["seq"] for event in log] == list(range(len(log)))
    assert log[-1]["audio_s"] == pytest.approx(AUDIO_S, abs=1e-3)  # everything is in its place
    dropped = [(each["start_s"], each["end_s"]) for each in of_type(log, "audio_dropped")]
    assert 3 < sum(end_s - start_s for start_s, end_s in dropped) < 12
    heard = {word["text"] for each in of_type(log, "committed") for word in each["words"]}
    for word in SCRIPT.words:
        if all(word.end_s < start_s or word.start_s > end_s for start_s, end_s in dropped):
            assert word.text in heard
    assert "reconnecting" in {each.get("code") for each in said}


@pytest.mark.parametrize("killed", [False, True])
def test_it_goes_on_in_a_new_session_when_the_server_has_restarted(
    tmp_path: Path, killed: bool
) -> None:
    async def run(stack: ExitStack) -> list[JSON]:
        first = stack.enter_context(ready(tmp_path))
        client = LiveClient(first.stream, retry_s=0.05)

        def restart() -> None:
            if killed:
                first.process.kill()
                first.process.wait()
            else:
                first.stop()
            stack.enter_context(ready(tmp_path, first.port))

        said: list[JSON] = []
        async with aclosing(client.events(Hurried(AUDIO, SPEED))) as events:
            async for event in events:
                said.append(event)
                if event["type"] == "final" and event["utterance"] == 2 and len(sessions(said)) < 2:
                    restarting = asyncio.create_task(asyncio.to_thread(restart))
        await restarting
        return said

    def sessions(said: list[JSON]) -> list[str]:
        return [event["session"] for event in of_type(said, "session_started")]

    with ExitStack() as stack:
        said = asyncio.run(run(stack))
    before, after = sessions(said)
    for session in (before, after):
        log = [event for event in events_of(said) if event["session"] == session]
        assert [event["seq"] for event in log] == list(range(len(log)))
    assert said[-1]["type"] == "session_ended"
    codes = {each["code"] for each in of_type(said, "notice")}
    if killed:
        assert "new_session" in codes
        assert 0 < said[-1]["audio_s"] < AUDIO_S
    else:
        assert "reconnecting" in codes
        ends = of_type(said, "session_ended")
        # No sample was lost, and none was heard twice.
        assert sum(end["audio_s"] for end in ends) == pytest.approx(AUDIO_S, abs=2e-3)


def test_what_the_server_does_not_want_is_an_error_at_once(tmp_path: Path) -> None:
    async def run(address: str) -> None:
        client = LiveClient(f"{address}?language=tlh")
        async with aclosing(client.events(Hurried(AUDIO, SPEED))) as events:
            with pytest.raises(RefusedError, match="tlh") as refused:
                await anext(events)
        assert refused.value.code == "bad_parameter"

    with ready(tmp_path) as server:
        asyncio.run(run(server.stream))


def test_it_gives_up_where_nobody_answers() -> None:
    async def run() -> None:
        async with CuttingProxy(1) as proxy:
            address = f"ws://127.0.0.1:{proxy.port}/v1/stream"
        client = LiveClient(address, retry_s=0.02, give_up_s=0.2)
        said: list[JSON] = []
        with pytest.raises(StreamingError, match="given up"):
            await collect(client, Hurried(AUDIO, SPEED), said)
        assert len(said) >= 2
        assert {each["code"] for each in said} == {"reconnecting"}

    asyncio.run(run())


def test_what_came_before_its_source_failed_is_still_said(tmp_path: Path) -> None:
    async def run(address: str) -> None:
        source = ScriptedSource(chunks_of(AUDIO[: 3 * SAMPLE_RATE]), error="unplugged")
        said: list[JSON] = []
        with pytest.raises(SourceError, match="unplugged"):
            await collect(LiveClient(address), source, said)
        assert said[-1]["type"] == "session_ended"
        assert said[-1]["audio_s"] == 3.0

    with ready(tmp_path) as server:
        asyncio.run(run(server.stream))


def test_leaving_it_early_leaves_nothing_behind(tmp_path: Path) -> None:
    async def run(address: str) -> None:
        source = Hurried(AUDIO, SPEED)
        async with aclosing(LiveClient(address).events(source)) as events:
            assert (await anext(events))["type"] == "session_started"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with ready(tmp_path) as server:
        asyncio.run(run(server.stream))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "examples/live_client.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_prints_what_is_said(tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(pcm(AUDIO[: 5 * SAMPLE_RATE]))
    with ready(tmp_path) as server:
        done = command(str(recording), server.stream)
    lines = ["".join(word.text for word in SCRIPT.words[at : at + 4]) for at in (0, 4)]
    assert (done.stdout, done.stderr, done.returncode) == ("\n".join([*lines, ""]), "", 0)


def test_the_command_says_in_one_line_what_is_wrong() -> None:
    done = command("no-such.wav", "ws://127.0.0.1:1/v1/stream")
    assert done.returncode == 1
    assert done.stderr == "live_client: no-such.wav: no such file; check the path\n"
