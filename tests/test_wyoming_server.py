"""The Wyoming server in a process of its own, with the package's own client."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cli_plugin
import numpy as np
import pytest
from audio_files import read_audio
from fakes import Script
from wyoming_server import (
    Heard,
    Served,
    as_home_assistant,
    chunks,
    pcm,
    serving,
    to_the_end,
    transcribe,
)

from streaming.app.cli import run_command
from streaming.app.wyoming.address import Unix, listening
from streaming.errors import ConfigurationError

# isort: split
from wyoming.asr import Transcribe
from wyoming.audio import AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

SAID = cli_plugin.talk(4)
AUDIO = pcm(SAID.audio())
"""Four utterances in 9.5 s."""


def text_of(script: Script) -> str:
    return "".join(word.text for word in script.words).strip()


TEXT = text_of(SAID)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """English only, as its model's name says."""
    folder = tmp_path_factory.mktemp("wyoming")
    with serving(folder, "--max-sessions", "2", backend="scripted:utterances=4") as served:
        yield served


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """On a Unix socket."""
    folder = tmp_path_factory.mktemp("wyoming")
    uri = f"unix://{folder / 'socket'}"
    with serving(folder, "--model", "base", backend="scripted:utterances=4", uri=uri) as served:
        yield served


async def told(served: Served, *events: Event) -> Event | None:
    """The first answer to these events."""
    async with served.client() as client:
        for event in events:
            await client.write_event(event)
        answer: Event | None = await client.read_event()
        return answer


async def heard_by(
    served: Served,
    data: bytes = AUDIO,
    *,
    asked: Transcribe | None = None,
    form: tuple[int, int, int] = (16_000, 2, 1),
) -> Heard:
    async with served.client() as client:
        return await transcribe(client, data, asked=asked, form=form)


def check(heard: Heard, text: str = TEXT) -> None:
    """It is what the protocol wants, and says this."""
    n = len(heard.pieces)
    assert heard.types == [
        "transcript-start",
        *("transcript-chunk",) * n,
        "transcript",
        "transcript-stop",
    ]
    assert heard.transcript.text == "".join(heard.pieces) == text


def test_describe_tells_what_there_is_and_that_it_streams(server: Served) -> None:
    event = asyncio.run(told(server, Describe().event()))
    assert event is not None
    (program,) = Info.from_event(event).asr
    assert program.name == "stream-transcribe"
    assert program.installed
    assert program.supports_transcript_streaming
    assert program.requires_external_vad
    (model,) = program.models
    assert (model.name, model.installed, model.languages) == ("tiny.en", True, ["en"])


def test_a_multilingual_model_tells_its_languages(multilingual: Served) -> None:
    event = asyncio.run(told(multilingual, Describe().event()))
    assert event is not None
    (model,) = Info.from_event(event).asr[0].models
    assert model.name == "base"
    assert {"en", "de", "zh", "nb"} <= set(model.languages)


def test_a_ping_is_answered_with_its_text(server: Served) -> None:
    event = asyncio.run(told(server, Ping("still there?").event()))
    assert event is not None
    assert Pong.from_event(event) == Pong("still there?")


def test_all_utterances_between_start_and_stop_are_one_transcript(server: Served) -> None:
    heard = asyncio.run(heard_by(server))
    check(heard)
    assert len(heard.pieces) >= 4
    assert heard.transcript.language == "en"


def test_text_comes_while_audio_is_still_on_its_way(server: Served) -> None:
    async def run() -> Heard:
        async with server.client() as client:
            await client.write_event(AudioStart(16_000, 2, 1).event())
            events: list[Event] = []
            half = len(AUDIO) // 4 * 2
            for chunk in chunks(AUDIO[:half]):
                await client.write_event(chunk)
            while len(events) < 2:  # the start and a piece; without them this waits for good
                event = await client.read_event()
                assert event is not None
                events.append(event)
            for chunk in chunks(AUDIO[half:]):
                await client.write_event(chunk)
            await client.write_event(AudioStop().event())
            return Heard([*events, *(await to_the_end(client)).events])

    heard = asyncio.run(run())
    check(heard)
    assert heard.types[:2] == ["transcript-start", "transcript-chunk"]


def test_silence_gives_an_empty_transcript(server: Served) -> None:
    check(asyncio.run(heard_by(server, bytes(64_000))), "")


def test_no_audio_at_all_gives_an_empty_transcript(server: Served) -> None:
    check(asyncio.run(heard_by(server, b"")), "")


def test_a_connection_takes_one_transcription_after_the_other(multilingual: Served) -> None:
    async def run() -> list[Heard]:
        async with multilingual.client() as client:
            german = Transcribe(language="de")
            return [
                await transcribe(client, AUDIO, asked=german),
                await transcribe(client, AUDIO),
                await transcribe(client, AUDIO, asked=german),
            ]

    runs = asyncio.run(run())
    for heard in runs:
        check(heard)
    # A wish holds for one transcription.
    assert [heard.transcript.language for heard in runs] == ["de", "en", "de"]
    assert runs[0].events[0].data == {"language": "de"}


def test_two_clients_are_heard_at_once(server: Served) -> None:
    async def run() -> list[Heard]:
        async with server.client() as one, server.client() as other:
            for client in (one, other):
                await client.write_event(AudioStart(16_000, 2, 1).event())
            for chunk in chunks(AUDIO):
                await one.write_event(chunk)
                await other.write_event(chunk)
            for client in (one, other):
                await client.write_event(AudioStop().event())
            return [await to_the_end(one), await to_the_end(other)]

    for heard in asyncio.run(run()):
        check(heard)


@pytest.mark.parametrize("concurrent", [False, True], ids=["writes, then reads", "both at once"])
def test_home_assistant_gets_its_text(multilingual: Served, concurrent: bool) -> None:
    """However long it takes to read: older ones read only once all audio is out."""
    text = asyncio.run(as_home_assistant(multilingual, AUDIO, language="de", concurrent=concurrent))
    assert text == TEXT


@pytest.mark.parametrize("concurrent", [False, True], ids=["writes, then reads", "both at once"])
def test_home_assistant_does_not_wait_for_what_will_not_come(
    server: Served, concurrent: bool
) -> None:
    text = asyncio.run(as_home_assistant(server, AUDIO, language="de", concurrent=concurrent))
    assert text is None


@pytest.mark.parametrize("late", [False, True], ids=["before audio-start", "after it"])
def test_a_language_may_be_named_until_audio_comes(multilingual: Served, late: bool) -> None:
    async def run() -> Heard:
        async with multilingual.client() as client:
            opening = [Transcribe(language="fr").event(), AudioStart(16_000, 2, 1).event()]
            for event in opening[:: -1 if late else 1]:
                await client.write_event(event)
            for event in (*chunks(AUDIO), AudioStop().event()):
                await client.write_event(event)
            return await to_the_end(client)

    assert asyncio.run(run()).transcript.language == "fr"


def test_an_english_model_says_that_it_knows_no_other_language(server: Served) -> None:
    heard = asyncio.run(heard_by(server, asked=Transcribe(language="de")))
    assert heard.types == ["error"]
    assert heard.error.code == "bad_language"
    assert "knows only English, not 'de'" in heard.error.text


@pytest.mark.parametrize(
    ("rate", "width", "channels"),
    [(16_000, 4, 1), (16_000, 1, 1), (16_000, 3, 1), (48_000, 2, 2), (22_050, 2, 1), (8_000, 1, 3)],
)
def test_audio_may_come_in_any_form(server: Served, rate: int, width: int, channels: int) -> None:
    mono = SAID.audio()
    at = np.arange(len(mono) * rate // 16_000) * 16_000 // rate
    samples = np.repeat(mono[at, None], channels, axis=1)
    whole = np.round(samples * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    if width == 1:
        whole += 128
    data = whole.astype("<i8").tobytes()
    raw = np.frombuffer(data, np.uint8).reshape(-1, 8)[:, :width].tobytes()
    check(asyncio.run(heard_by(server, raw, form=(rate, width, channels))))


def test_the_form_may_change_on_the_way(server: Served) -> None:
    async def run() -> Heard:
        async with server.client() as client:
            await client.write_event(AudioStart(16_000, 2, 1).event())
            half = len(AUDIO) // 4 * 2
            stereo = np.repeat(np.frombuffer(AUDIO[half:], "<i2"), 2).tobytes()
            for chunk in (*chunks(AUDIO[:half]), *chunks(stereo, channels=2)):
                await client.write_event(chunk)
            await client.write_event(AudioStop().event())
            return await to_the_end(client)

    check(asyncio.run(run()))


@pytest.mark.parametrize("asked", [False, True], ids=["closes its input", "sends SIGTERM"])
def test_standard_input_and_output_serve_one_client(tmp_path: Path, asked: bool) -> None:
    cli_plugin.install(tmp_path)
    tests = Path(__file__).parent
    path = os.pathsep.join(map(str, (tmp_path, tests, tests.parent)))

    async def run() -> tuple[Heard, bytes, bytes, int | None]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streaming", "wyoming", "--uri", "stdio://"),
            *("--backend", "scripted:utterances=4", "--vad", "loud"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            heard = await transcribe(StdioClient(process), AUDIO)
            if asked:
                process.terminate()
                assert process.stdout is not None
                assert b"restart" in await process.stdout.read()
            return (heard, *await process.communicate(b""), process.returncode)
        finally:
            if process.returncode is None:
                process.kill()

    heard, rest, told, code = asyncio.run(asyncio.wait_for(run(), 60))
    check(heard)
    assert rest == b""
    assert b"Traceback" not in told
    assert code == (128 + signal.SIGTERM if asked else 0)


class StdioClient(AsyncClient):
    """Speaks to a process it has started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(read_timeout=60)
        self._reader, self._writer = process.stdout, process.stdin


@pytest.mark.parametrize("name", ["events", os.devnull])
def test_standard_input_that_is_no_pipe_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "events").touch()
    with (tmp_path / name).open() as events:
        run = subprocess.run(
            [sys.executable, "-m", "streaming", "wyoming", "--uri", "stdio://"],
            stdin=events,
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[1],
            timeout=60,
        )
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "stdio:// needs pipes, and <stdin> is none" in line


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--uri", "http://127.0.0.1:1"], "use tcp://HOST:PORT"),
        (["--uri", "tcp://127.0.0.1"], "use tcp://HOST:PORT"),
        (["--uri", "tcp://127.0.0.1:99999"], "use tcp://HOST:PORT"),
        (["--uri", "tcp://192.0.2.1:10300"], "cannot serve at 192.0.2.1:10300"),
        (["--uri", "unix://here"], "unix:///PATH"),
        (["--uri", "unix:///nowhere/socket"], "cannot serve at /nowhere/socket"),
        (["--max-sessions", "0"], "--max-sessions must lie between"),
        (["--policy", "none-such"], "none-such"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(
    arguments: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["wyoming", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line


def test_help_warns_that_there_is_no_authentication(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["wyoming", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "The protocol has no authentication" in shown
    assert "tcp://127.0.0.1:10300" in shown


def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("streaming.app.wyoming_command.find_spec", lambda _: None)
    assert run_command(["wyoming"]) == 2
    assert 'pip install "stream-transcribe[wyoming]"' in capsys.readouterr().err


def test_a_socket_that_was_left_behind_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    where = Unix(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(where.path))
    with listening(where):
        with (
            pytest.raises(ConfigurationError, match="another server is there"),
            listening(where),
        ):
            pass
        assert where.path.is_socket()
    assert not where.path.exists()
    where.path.write_text("mine")
    with pytest.raises(ConfigurationError, match="not a socket"), listening(where):
        pass
    assert where.path.read_text() == "mine"


@pytest.mark.needs_model
def test_the_real_model_hears_a_real_recording(tmp_path: Path, jfk: Path) -> None:
    with serving(tmp_path, backend="auto") as served:
        heard = asyncio.run(heard_by(served, pcm(read_audio(jfk))))
    check(heard, heard.transcript.text)
    words = " ".join(re.findall(r"\w+", heard.transcript.text.lower()))
    assert "and so my fellow americans" in words
    assert "what your country can do for you" in words
    assert words.endswith("what you can do for your country")
