"""Small files that people write: one entry a line, ``#`` begins a comment line, UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .errors import ConfigurationError

__all__ = ["entries", "read_hotwords", "read_words"]

_MOST_BYTES = 1 << 20
"""A larger file is not one that somebody wrote by hand."""


def read_words(path: str | os.PathLike[str]) -> str:
    """All of a small text file.

    Raises:
        ConfigurationError: it cannot be read, is not UTF-8 text, or is too large.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"{path} is larger than 1 MB; is it the right file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers, from 1, and lines that say something, with single spaces."""
    for number, line in enumerate(text.splitlines(), start=1):
        entry = " ".join(line.split())
        if entry and not entry.startswith("#"):
            yield number, entry


def read_hotwords(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Names and terms to expect, one a line.

    Raises:
        ConfigurationError: the file cannot be read, or names nothing.
    """
    words = tuple(entry for _, entry in entries(read_words(path)))
    if not words:
        raise ConfigurationError(f"{path} names nothing; write one name or term a line")
    return words
