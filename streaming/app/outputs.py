"""Formats, files and names to sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sinks.jsonl import JsonlSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink

from ..errors import ConfigurationError
from ..events import Event, Notice
from ..protocols import Sink
from .registry import build

__all__ = ["FORMATS", "check_paths", "file_sink", "make_sinks", "named_sink", "stdout_sink"]

FORMATS: Mapping[str, Callable[..., Sink]] = {
    "text": TextSink,
    "jsonl": JsonlSink,
    "srt": SrtSink,
    "vtt": WebVttSink,
}
"""Each takes a target; all but JSONL, which has every event anyway, also ``raw``."""
_BY_EXTENSION = {".txt": "text", ".jsonl": "jsonl", ".srt": "srt", ".vtt": "vtt"}


class _View(TerminalSink):
    """Leaves out the errors that end the run: the command tells them, last."""

    async def write(self, event: Event) -> None:
        if isinstance(event, Notice) and event.code in ("source_error", "backend_error"):
            return
        await super().write(event)


def make_sinks(
    format_name: str, outputs: Sequence[str], named: Sequence[str] = (), *, raw: bool = False
) -> list[Sink]:
    """Standard output in the asked format, every output file, and sinks by name.

    Args:
        format_name: one of `FORMATS`.
        outputs: files.
        named: of the group ``streaming.sinks``.
        raw: committed text even where a final model refines it.

    Raises:
        ConfigurationError: an extension that no format has, or an unknown name.
    """
    files = [file_sink(name, raw=raw) for name in outputs]
    return [stdout_sink(format_name, raw=raw), *files, *map(named_sink, named)]


def stdout_sink(format_name: str, *, raw: bool = False) -> Sink:
    """Text goes to the terminal view, which is plain where there is no terminal."""
    return _View(raw=raw) if format_name == "text" else _sink(format_name, "-", raw)


def file_sink(name: str, *, raw: bool = False) -> Sink:
    """A sink for a file; its extension chooses the format."""
    format_name = _BY_EXTENSION.get(Path(name).suffix.lower())
    if format_name is None:
        known = ", ".join(_BY_EXTENSION)
        raise ConfigurationError(f"--output {name}: the extension must be one of {known}")
    return _sink(format_name, Path(name), raw)


def _sink(format_name: str, target: str | Path, raw: bool) -> Sink:
    choices = {} if format_name == "jsonl" else {"raw": raw}
    return FORMATS[format_name](target, **choices)


def named_sink(spec: str) -> Sink:
    """A sink from an entry point of the group ``streaming.sinks``."""
    sink = build(spec, "streaming.sinks", {})
    if not isinstance(sink, Sink):
        raise ConfigurationError(f"{spec} is not a sink: see streaming/protocols.py")
    return sink


def check_paths(inputs: Sequence[str | Path], outputs: Sequence[str | Path]) -> None:
    """See that no output overwrites an input or another output, however they are spelled.

    Raises:
        ConfigurationError: one would.
    """
    read = {Path(name).resolve() for name in inputs}
    written: set[Path] = set()
    for name in outputs:
        path = Path(name).resolve()
        if path in read:
            raise ConfigurationError(f"{name} is an input; writing to it would destroy it")
        if path in written:
            raise ConfigurationError(f"{name} is named twice as an output; name two files")
        written.add(path)
