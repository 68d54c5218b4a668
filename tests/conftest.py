from __future__ import annotations

import os
from pathlib import Path

import pytest

from streaming.evaluation import versions
from streaming.mel_kernel import load_kernel

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(tryfirst=True)  # before other processes are started
def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the kernel, once: a command that has to says so, in the midst of what it tells."""
    if not hasattr(session.config, "workerinput"):
        load_kernel()


def pytest_report_header() -> str:
    return ", ".join(f"{name} {version}" for name, version in versions().items())


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of recordings that the repository does not ship."""
    named = os.environ.get("STREAM_TRANSCRIBE_RECORDINGS")
    folder = Path(named) if named else ROOT.parent / "shared" / "audio"
    if not (folder / "manifest.json").is_file():
        pytest.skip("no recordings: set STREAM_TRANSCRIBE_RECORDINGS to a folder of them")
    return folder


@pytest.fixture(scope="session")
def jfk() -> Path:
    """The public-domain sample that the repository ships: 11 s of speech."""
    return ROOT / "examples" / "jfk.flac"
