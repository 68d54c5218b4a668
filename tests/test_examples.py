"""The programs in the README and in examples/ run as they are printed."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import runpy
import shlex
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import cli_plugin
import pytest

from streaming.app import compose
from streaming.app.cli import run_command
from streaming.app.transcribe_command import _parser

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PROGRAMS = [
    program
    for program in re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    if "127.0.0.1" not in program  # what needs a server is run in test_server_openai_api.py
]
COMMANDS = re.findall(
    r"^(?:.*\| )?stream-transcribe (?!models|evaluate|doctor|serve)(.*)$", README, re.M
)
OPTIONS = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)))
EXAMPLES = sorted(set(ROOT.glob("examples/*.py")) - {ROOT / "examples" / "live_client.py"})
"""All but the one that needs a server: see test_server_live_client.py."""


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
def test_the_readme_s_programs_run(
    program: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(program)
    log = checkout / "log.jsonl"
    text = log.read_text("utf-8") if log.exists() else capsys.readouterr().out
    assert len(text.split()) > 10


@pytest.mark.usefixtures("scripted", "checkout")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(
    example: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out.split()) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_s_commands_have_options_that_exist(command: str) -> None:
    arguments = _parser().parse_args(shlex.split(command, comments=True))
    assert arguments.input or arguments.mic


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_that_the_readme_names_exists(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ([], ["evaluate"], ["serve"]):
        assert run_command([*command, "--help"]) == 0
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", capsys.readouterr().out)


@pytest.mark.needs_model
@pytest.mark.usefixtures("checkout")
def test_the_first_example_prints_what_was_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["transcribe_file.py"])
    runpy.run_path(str(ROOT / "examples" / "transcribe_file.py"), run_name="__main__")
    assert "ask what you can do for your country" in capsys.readouterr().out.lower()
