"""The programs in the README and in examples/ run as they are printed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from unittest.mock import ANY

import aiomqtt
import cli_plugin
import numpy as np
import pytest
from audio_files import read_audio
from caption_reader import Reader
from fakes import Script, ScriptedBackend
from mosquitto import Broker
from sounds import write_wav
from system_parts import needs
from websockets.asyncio.client import connect

from streaming import SinkError, Word
from streaming.app import compose
from streaming.app.cli import SUBCOMMANDS, run_command
from streaming.app.transcribe_command import _parser
from streaming.audio import samples_from_seconds
from streaming.models import Progress
from streaming.testing import check_commit_policy, check_sink, check_source

Capture: TypeAlias = pytest.CaptureFixture[str]


class Example(Protocol):
    def __call__(self, name: str, *argv: str | Path) -> str: ...


ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = [
    program
    for program in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    if "127.0.0.1" not in program  # what needs a server is run in test_server_openai_api.py
]
COMMANDS = re.findall(
    rf"^(?:.*\| )?stream-transcribe (?!{'|'.join(SUBCOMMANDS)})(.*)$", README, re.M
)
OPTIONS = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)))
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
WHOLE_PROGRAMS = {"live_client", "livekit_stt", "pipecat_stt", "voice_command_bot"}
"""To be copied into a project; the others are to be read in a minute."""
MOST_LINES = 40
WORDS = (
    *((" And", 0.3, 0.75), (" so", 0.75, 1.03), (" my", 1.03, 1.39), (" fellow", 1.39, 1.69)),
    *((" Americans.", 1.73, 2.09), (" Ask", 3.26, 3.75), (" not", 3.99, 4.36)),
    *((" what", 5.39, 5.7), (" your", 5.7, 6.0), (" country", 6.0, 6.36), (" can", 6.36, 6.76)),
    *((" do", 6.76, 7.02), (" for", 7.02, 7.24), (" you.", 7.24, 7.6), (" Ask", 8.28, 8.68)),
    *((" what", 8.68, 8.94), (" you", 8.94, 9.26), (" can", 9.28, 9.5), (" do", 9.5, 9.74)),
    *((" for", 9.74, 9.94), (" your", 9.94, 10.22), (" country.", 10.22, 10.44)),
)
JFK = Script(
    tuple(Word(text, at + start, at + end, 0.9) for at in (0, 11) for text, start, end in WORDS), 22
)
"""The sample recording twice, the second time for the one who plays it again."""
LINES = [
    "And so my fellow Americans.",
    "Ask not",
    "what your country can do for you. Ask what you can do for your country.",
]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the checkout to a program that runs there."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word is known beforehand: here the programs count, not the model."""
    monkeypatch.setitem(compose.BACKENDS, "auto", cli_plugin.backend)


def run(program: str) -> None:
    """Run a program; ``await`` may stand anywhere in it, as in ``python -m asyncio``."""
    code = compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waits = bool(code.co_flags & inspect.CO_COROUTINE)
    result: Coroutine[Any, Any, None] = eval(code, {"__name__": "__main__"})
    if waits:
        asyncio.run(result)


def test_there_are_programs_and_commands_to_run() -> None:
    assert len(PROGRAMS) >= 2
    assert len(EXAMPLES) >= 3
    assert len(COMMANDS) >= 4


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_readme_s_programs_run(program: str, checkout: Path, capsys: Capture) -> None:
    run(program)
    log = checkout / "log.jsonl"
    text = log.read_text("utf-8") if log.exists() else capsys.readouterr().out
    assert len(text.split()) > 10


@pytest.fixture
def hears_jfk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model knows what is said in the sample recording."""

    def load(*, model: str, threads: int, progress: Progress | None) -> ScriptedBackend:
        return ScriptedBackend(JFK, keep=False)

    monkeypatch.setitem(compose.BACKENDS, "auto", load)


@pytest.fixture
def example(
    hears_jfk: None, checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> Example:
    """Runs an example as from the command line, and returns what it printed."""

    def run(name: str, *argv: str | Path) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, argv)])
        runpy.run_path(f"examples/{name}.py", run_name="__main__")
        return capsys.readouterr().out

    return run


def test_transcribe_file_prints_a_line_for_each_utterance(example: Example) -> None:
    assert example("transcribe_file").splitlines() == [f" {line}" for line in LINES]


def test_the_bot_answers_what_it_was_told(example: Example) -> None:
    said = example("in_process_bot")
    assert " ".join(re.findall(r"^  you: (.*)$", said, re.M)) == " ".join(LINES)
    assert said.index("bot: Good morning") > said.index("Americans.")
    assert said.index("bot: Vote") > said.index("for your country.")
    assert said.count("bot:") == 2


def test_pushed_audio_is_heard_at_its_time(example: Example) -> None:
    lines = [line.partition(" s  ") for line in example("push_audio").splitlines()]
    assert [text for _, _, text in lines] == LINES
    assert [float(start) for start, _, _ in lines] == pytest.approx([0.05, 3.0, 5.1], abs=0.2)


def test_a_playlist_is_one_stream(example: Example) -> None:
    lines = [line.partition(" s  ") for line in example("custom_source").splitlines()]
    assert [text for _, _, text in lines] == LINES * 2
    starts = [float(start) for start, _, _ in lines]
    assert starts[3:] == pytest.approx([at + 11 for at in starts[:3]], abs=0.1)


def test_the_playlist_keeps_the_contract_of_sources(checkout: Path) -> None:
    playlist = runpy.run_path("examples/custom_source.py")["Playlist"]
    asyncio.run(check_source(lambda: playlist(["examples/jfk.flac"] * 2)))


def test_the_database_has_what_was_said(example: Example) -> None:
    example("custom_sink", "examples/jfk.flac", "said.sqlite")
    with closing(sqlite3.connect("said.sqlite")) as db:
        assert [text for (text,) in db.execute("SELECT text FROM said ORDER BY rowid")] == LINES
        assert db.execute("SELECT count(*) FROM said WHERE at <= CURRENT_TIMESTAMP").fetchone() == (
            len(LINES),
        )


def test_a_database_that_cannot_be_written_is_one_clear_error(example: Example) -> None:
    with pytest.raises(SinkError, match="cannot write to nowhere"):
        example("custom_sink", "examples/jfk.flac", "nowhere/said.sqlite")


def test_the_database_keeps_the_contract_of_sinks(checkout: Path) -> None:
    sink = runpy.run_path("examples/custom_sink.py")["SqliteSink"]
    asyncio.run(check_sink(lambda: sink("said.sqlite")))


def test_a_policy_of_one_s_own_commits_all_words(example: Example) -> None:
    assert example("custom_policy").split() == " ".join(LINES).split()


def test_the_policy_keeps_the_contract_of_policies(checkout: Path) -> None:
    check_commit_policy(runpy.run_path("examples/custom_policy.py")["HoldBack"])


def test_many_streams_hear_the_same(example: Example) -> None:
    lines = example("many_streams").splitlines()
    for number in (1, 2, 3):
        own = [line for line in lines if line.startswith(f"stream {number}: ")]
        assert [line.partition(": ")[2] for line in own] == LINES


def test_a_run_is_heard_again_and_measured(example: Example) -> None:
    said = example("replay_and_evaluate")
    assert Path("kept.flac").stat().st_size > 10_000
    assert Path("kept.jsonl").read_text("utf-8").count('"type": "session_ended"') == 1
    assert "as it was" in said
    assert "with chunks of 1 s" in said
    assert len(re.findall(r" WER +0\.0 %", said)) == 2
    assert len(re.findall(r"commit delay p50 +\d\.\d\d s", said)) == 2


def test_a_meeting_has_voices(example: Example, tmp_path: Path) -> None:
    heard = read_audio(ROOT / "examples" / "jfk.flac")
    cut = samples_from_seconds(4.8)
    me = np.concatenate((heard[:cut], np.zeros(len(heard) - cut, np.float32)))
    stereo = write_wav(tmp_path / "call.wav", np.stack((me, heard - me), axis=1))
    said = example("meeting", stereo)
    assert re.findall(r"^ +([\d.]+) s +(me|them): (.*)$", said, re.M) == [
        (ANY, "me", LINES[0]),
        (ANY, "me", LINES[1]),
        (ANY, "them", LINES[2]),
    ]
    subtitles = Path("meeting.vtt").read_text("utf-8")
    assert subtitles.startswith("WEBVTT")
    assert f"<v me>{LINES[0]}" in subtitles
    assert "<v them>what your country" in subtitles


@pytest.fixture
def opening(checkout: Path) -> str:
    """A recording of the first sentence alone, for what plays it in real time."""
    heard = read_audio(ROOT / "examples" / "jfk.flac")
    return str(write_wav(checkout / "opening.wav", heard[: samples_from_seconds(2.4)]))


@pytest.mark.usefixtures("hears_jfk")
def test_captions_can_be_read_while_the_recording_plays(opening: str, capsys: Capture) -> None:
    main = runpy.run_path("examples/live_captions.py")["main"]

    async def read() -> Reader:
        showing = asyncio.create_task(main(opening, 0))
        told = ""
        while not (found := re.search(r"http://(127\.0\.0\.1:\d+)/", told)):
            await asyncio.sleep(0.01)
            told += capsys.readouterr().out
            assert not showing.done()
        reader = Reader()
        async with connect(f"ws://{found[1]}/ws") as viewer:
            async for message in viewer:
                reader.take(message)
        await showing
        return reader

    reader = asyncio.run(read())
    assert [reader.text(session).strip() for session in reader.sessions] == [LINES[0]]


@needs("mosquitto", package="mosquitto")
@pytest.mark.usefixtures("hears_jfk")
def test_home_assistant_finds_a_sensor_with_the_last_utterance(
    opening: str, tmp_path: Path
) -> None:
    main = runpy.run_path("examples/mqtt_home_assistant.py")["main"]

    async def play() -> tuple[list[str], dict[str, str]]:
        with Broker(tmp_path) as broker:
            async with aiomqtt.Client("127.0.0.1", broker.port) as early:
                await early.subscribe("home/desk/status")
                await main(f"mqtt://127.0.0.1:{broker.port}/home/desk", opening)
                states = [payload_of(await anext(early.messages)) for _ in range(2)]
            async with aiomqtt.Client("127.0.0.1", broker.port) as late:  # as it starts
                await late.subscribe("#")
                kept = [await anext(late.messages) for _ in range(3)]
            return states, {str(message.topic): payload_of(message) for message in kept}

    states, kept = asyncio.run(play())
    assert states == ["online", "offline"]
    (topic,) = kept.keys() - {"home/desk/text", "home/desk/status"}
    assert re.fullmatch(r"homeassistant/sensor/[a-zA-Z0-9_-]+/config", topic)
    sensor = json.loads(kept[topic])
    assert sensor["unique_id"] in topic
    assert kept[sensor["state_topic"]] == LINES[0]
    assert kept[sensor["availability_topic"]] == "offline", "the default of payload_not_available"
    assert "255" in sensor["value_template"], "what a state may hold"
    assert sensor["device"]["identifiers"]


def payload_of(message: aiomqtt.Message) -> str:
    assert isinstance(message.payload, bytes)
    return message.payload.decode()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_listed_told_how_to_run_and_run(path: Path) -> None:
    table = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert len(re.findall(rf"^\| \[{path.name}\]\({path.name}\) \| .+ \|$", table, re.M)) == 1
    source = path.read_text("utf-8")
    assert f"python examples/{path.name}" in source or path.stem.endswith("_stt")
    assert any(path.stem in each.read_text("utf-8") for each in ROOT.glob("tests/test_*.py"))
    assert "sys.path" not in source
    assert source.count("\n") <= MOST_LINES or path.stem in WHOLE_PROGRAMS


def test_the_table_of_examples_names_what_is_there() -> None:
    table = (ROOT / "examples" / "README.md").read_text("utf-8")
    for name in re.findall(r"\]\((.+?)\)", table):
        assert (ROOT / "examples" / name).exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_s_commands_have_options_that_exist(command: str) -> None:
    arguments = _parser().parse_args(shlex.split(command, comments=True))
    assert arguments.input or arguments.mic


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_that_the_readme_names_exists(option: str, capsys: Capture) -> None:
    for command in ((), *zip(SUBCOMMANDS)):
        assert run_command([*command, "--help"]) == 0
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", capsys.readouterr().out)


@pytest.mark.needs_model
def test_an_example_is_a_program_that_needs_no_help() -> None:
    command = [sys.executable, "-W", "error", "examples/transcribe_file.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert "ask what you can do for your country" in done.stdout.lower(), done.stderr
