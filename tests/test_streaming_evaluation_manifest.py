from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streaming.errors import ConfigurationError
from streaming.evaluation import Clip, load_manifest


def make(folder: Path, *clips: dict[str, Any]) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"format": "ignored", "clips": clips}))
    return path


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    (tmp_path / "a.txt").write_text("Été.", encoding="utf-8")
    clip = {"name": "a", "file": "a.flac", "language": "fr", "reference": True, "kind": "speech"}
    noise = {"name": "b", "file": "a.flac", "language": "-"}
    assert load_manifest(make(tmp_path, clip, noise)) == (
        Clip("a", tmp_path / "a.flac", "Été.", "fr"),
        Clip("b", tmp_path / "a.flac", None, None),
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (5, "clip 1 of {path} is not an object"),
        ({"file": "a.flac"}, "clip 1 of {path}: 'name' should be a str"),
        ({"name": "a"}, "clip 1 of {path}: 'file' should be a str"),
        ({"name": "a", "file": "b"}, "clip 'a' of {path}: there is no file {folder}/b"),
        (
            {"name": "a", "file": "a.flac", "reference": "a.txt"},
            "clip 1 of {path}: 'reference' should be a bool",
        ),
        (
            {"name": "a", "file": "a.flac", "reference": True},
            "cannot read {folder}/a.txt: No such file or directory",
        ),
    ],
)
def test_a_bad_entry_is_told_in_one_line(tmp_path: Path, entry: Any, problem: str) -> None:
    (tmp_path / "a.flac").touch()
    path = make(tmp_path, entry)
    with pytest.raises(ConfigurationError) as caught:
        load_manifest(path)
    assert str(caught.value) == problem.format(path=path, folder=tmp_path)


def test_a_bad_file_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(ConfigurationError, match="No such file"):
        load_manifest(path)
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        load_manifest(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_manifest(path)
    path.write_text("[]")
    with pytest.raises(ConfigurationError, match="has no clips"):
        load_manifest(path)
    (tmp_path / "a").touch()
    with pytest.raises(ConfigurationError, match="two clips 'a'"):
        load_manifest(make(tmp_path, *[{"name": "a", "file": "a"}] * 2))


@pytest.mark.needs_recordings
def test_the_recordings_have_a_manifest_of_this_form(recordings: Path) -> None:
    clips = {clip.name: clip for clip in load_manifest(recordings / "manifest.json")}
    assert (clips["jfk_11s"].reference or "").startswith("And so, my fellow Americans")
    assert clips["kyakkan_ja_5s"].language == "ja"
    assert clips["office_ambience_60s"].language is None
