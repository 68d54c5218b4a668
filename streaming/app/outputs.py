"""Formats and files to sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sinks.jsonl import JsonlSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink

from ..errors import ConfigurationError
from ..protocols import Sink

__all__ = ["FORMATS", "file_sink", "make_sinks", "stdout_sink"]

FORMATS: Mapping[str, Callable[[Any], Sink]] = {
    "text": TextSink,
    "jsonl": JsonlSink,
    "srt": SrtSink,
    "vtt": WebVttSink,
}
_BY_EXTENSION = {".txt": "text", ".jsonl": "jsonl", ".srt": "srt", ".vtt": "vtt"}


def make_sinks(format_name: str, outputs: Sequence[str]) -> list[Sink]:
    """Standard output in the asked format, and every output file.

    Raises:
        ConfigurationError: an extension that no format has, or one output twice.
    """
    if len(set(outputs)) < len(outputs):
        raise ConfigurationError("the same --output is given twice")
    return [stdout_sink(format_name), *map(file_sink, outputs)]


def stdout_sink(format_name: str) -> Sink:
    """Text goes to the terminal view, which is plain where there is no terminal."""
    return TerminalSink() if format_name == "text" else FORMATS[format_name]("-")


def file_sink(name: str) -> Sink:
    """A sink for a file; its extension chooses the format."""
    format_name = _BY_EXTENSION.get(Path(name).suffix.lower())
    if format_name is None:
        known = ", ".join(_BY_EXTENSION)
        raise ConfigurationError(f"--output {name}: the extension must be one of {known}")
    return FORMATS[format_name](Path(name))
