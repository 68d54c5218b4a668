"""Where the events go: the options, and formats, files and addresses to sinks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sinks.jsonl import JsonlSink
from sinks.notices import NoticesSink
from sinks.subtitles import SrtSink, WebVttSink
from sinks.terminal import TerminalSink
from sinks.text import TextSink

from ..errors import ConfigurationError
from ..events import Event, Notice
from ..protocols import Sink
from .options import finite_number
from .registry import build

__all__ = [
    "FORMATS",
    "add_output_options",
    "check_paths",
    "file_sink",
    "make_sinks",
    "mqtt_files",
    "named_sink",
]

FORMATS: Mapping[str, Callable[..., Sink]] = {
    "text": TextSink,
    "jsonl": JsonlSink,
    "srt": SrtSink,
    "vtt": WebVttSink,
}
"""Each takes a target; all but JSONL, which has every event anyway, also ``raw``."""
_BY_EXTENSION = {".txt": "text", ".jsonl": "jsonl", ".srt": "srt", ".vtt": "vtt"}
_PASSWORD = "STREAM_TRANSCRIBE_MQTT_PASSWORD"


def _ends_the_run(event: Event) -> bool:
    """Errors that the command tells itself, last."""
    return isinstance(event, Notice) and event.code in ("source_error", "backend_error")


class _View(TerminalSink):
    async def write(self, event: Event) -> None:
        if not _ends_the_run(event):
            await super().write(event)


class _Notices(NoticesSink):
    async def write(self, event: Event) -> None:
        if not _ends_the_run(event):
            await super().write(event)


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose where the events go."""
    out = parser.add_argument_group("output")
    out.add_argument(
        "--format", choices=FORMATS, default="text", help="of stdout (default: %(default)s)"
    )
    out.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE; .txt, .jsonl, .srt or .vtt chooses the format; repeatable",
    )
    out.add_argument(
        "--raw",
        action="store_true",
        help="with --final-model: what was committed live, not what the larger model heard",
    )
    out.add_argument(
        "--captions",
        metavar="HOST:PORT",
        help="serve live captions: a page for browsers and for OBS, and events over WebSocket",
    )
    out.add_argument(
        "--captions-clear",
        type=finite_number,
        metavar="S",
        help="silence after which captions disappear; 0 for never (default: 6)",
    )
    out.add_argument(
        "--exec",
        action="append",
        default=[],
        metavar="CMD",
        help="run CMD for every finished utterance, its text on stdin; repeatable; no shell: "
        "sh -c '...' for one",
    )
    out.add_argument(
        "--exec-limit",
        type=finite_number,
        metavar="S",
        help="seconds after which such a run is killed (default: 10)",
    )
    out.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="NAME[:KEY=VALUE]",
        help="also to a sink of an installed package; repeatable",
    )
    mqtt = parser.add_argument_group("MQTT")
    mqtt.add_argument(
        "--mqtt",
        metavar="URL",
        help="publish to a broker: mqtt://[USER@]HOST[:PORT][/PREFIX][?qos=0|1|2]; mqtts:// for "
        "TLS",
    )
    mqtt.add_argument(
        "--mqtt-password-file",
        metavar="FILE",
        help=f"its first line is the password (or set {_PASSWORD})",
    )
    mqtt.add_argument(
        "--mqtt-ca", metavar="FILE", help="certificates (PEM) that vouch for the broker's"
    )
    mqtt.add_argument(
        "--mqtt-cert", metavar="FILE", help="our certificate, for brokers that ask for one"
    )
    mqtt.add_argument("--mqtt-key", metavar="FILE", help="its key")


def make_sinks(arguments: argparse.Namespace, labels: Sequence[str]) -> list[Sink]:
    """Standard output first, then every other destination.

    Files, which opening empties, come after those that may not be there to connect to.

    Args:
        arguments: of `add_output_options`, and ``final_model``.
        labels: of the sessions.

    Raises:
        ConfigurationError: choices that cannot work.
    """
    raw = arguments.raw
    if raw and arguments.final_model is None:
        raise ConfigurationError("--raw is for --final-model NAME: without it all text is raw")
    return [
        *_standard(arguments, labels),
        *_captions(arguments),
        *_mqtt(arguments),
        *_commands(arguments),
        *(file_sink(name, raw=raw) for name in arguments.output),
        *map(named_sink, arguments.sink),
    ]


def _standard(arguments: argparse.Namespace, labels: Sequence[str]) -> list[Sink]:
    """Text goes to the terminal view, which is plain where there is no terminal."""
    if arguments.format == "text":
        columns = (labels[0], labels[1]) if len(labels) == 2 else None
        return [_View(raw=arguments.raw, columns=columns)]
    return [_sink(arguments.format, "-", arguments.raw), _Notices()]


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


def _captions(arguments: argparse.Namespace) -> list[Sink]:
    if arguments.captions is None:
        if arguments.captions_clear is not None:
            raise ConfigurationError("--captions-clear is for --captions HOST:PORT")
        return []
    from sinks.captions import CaptionsSink, parse_address

    given = arguments.captions_clear
    choices = {} if given is None else {"clear_after_s": given}
    return [CaptionsSink(*parse_address(arguments.captions), **choices)]


def mqtt_files(arguments: argparse.Namespace) -> dict[str, Any]:
    """Files that the options of MQTT name, by the parameters of its sink."""
    files = {
        "password_file": arguments.mqtt_password_file,
        "ca_file": arguments.mqtt_ca,
        "cert_file": arguments.mqtt_cert,
        "key_file": arguments.mqtt_key,
    }
    return {name: path for name, path in files.items() if path is not None}


def _mqtt(arguments: argparse.Namespace) -> list[Sink]:
    files = mqtt_files(arguments)
    if arguments.mqtt is None:
        if files:
            raise ConfigurationError("the options --mqtt-... are for --mqtt URL")
        return []
    from sinks.mqtt import MqttSink

    password = None if "password_file" in files else os.environ.get(_PASSWORD)
    return [MqttSink(arguments.mqtt, password=password, **files)]


def _commands(arguments: argparse.Namespace) -> list[Sink]:
    if not arguments.exec:
        if arguments.exec_limit is not None:
            raise ConfigurationError("--exec-limit is for --exec CMD")
        return []
    from sinks.exec import ExecSink

    given = arguments.exec_limit
    choices = {} if given is None else {"time_limit_s": given}
    return [ExecSink(command, **choices) for command in arguments.exec]


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
