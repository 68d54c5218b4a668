from __future__ import annotations

import json
import platform
from importlib import metadata

from streaming.evaluation import machine, versions


def test_the_machine_is_named() -> None:
    told = machine()
    assert isinstance(told["cores"], int)
    assert told["cores"] >= 1
    assert told["cpu"] not in ("", "unknown")
    assert platform.python_version() in str(told["python"])
    json.dumps(told)


def test_versions_are_those_installed() -> None:
    told = versions()
    assert told["numpy"] == metadata.version("numpy")
    assert all(told.values())
