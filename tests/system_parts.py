"""Parts of the operating system that some tests need."""

from __future__ import annotations

import ctypes.util
import os
import shutil

import pytest

__all__ = ["needs"]


def needs(part: str, *, package: str) -> pytest.MarkDecorator:
    """Skips a test where a program, or a shared library by its short name, is absent.

    On a machine that says ``CI`` nothing may be absent: the test then runs, and fails.

    Args:
        part: "mosquitto", or "portaudio" for libportaudio.so.
        package: of Debian, to install.
    """
    found = shutil.which(part) or ctypes.util.find_library(part)
    return pytest.mark.skipif(
        not found and not os.environ.get("CI"),
        reason=f"{part} is absent: apt install {package}",
    )
