from __future__ import annotations

import os
from pathlib import Path

import pytest

from streaming.evaluation import versions

ROOT = Path(__file__).resolve().parents[1]


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
