"""What the user named to sources, each with the label of its session."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from sources.file import FileSource
from sources.media import MediaSource
from sources.pcm_stdin import PcmStdinSource

from ..errors import ConfigurationError
from ..pipeline import Pace
from ..protocols import Source
from .registry import build, names
from .times import parse_time

__all__ = ["add_input_options", "make_sources"]

_GROUP = "streaming.sources"
_NO_PART = "--start and --duration are for files and streams"


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose where the audio comes from."""
    group = parser.add_argument_group("input")
    group.add_argument("--mic", action="store_true", help="listen to the microphone")
    group.add_argument(
        "--device",
        metavar="INDEX|NAME",
        help="microphone to take, from `stream-transcribe devices` (default: the system's)",
    )
    group.add_argument(
        "--loopback",
        nargs="?",
        const="",
        metavar="INDEX|NAME",
        help="listen to what this machine plays; with --mic as a second session: the two are "
        'labelled "me" and "them"',
    )
    group.add_argument(
        "--no-echo-cancellation",
        dest="remove_echo",
        action="store_false",
        help="with --mic --loopback: leave in the microphone's audio what the loudspeakers say "
        "(with headphones there is nothing to remove)",
    )
    group.add_argument(
        "--channels",
        choices=("mix", "split"),
        default="mix",
        help='split makes a session of each channel of a stereo file, "left" and "right" '
        "(default: %(default)s)",
    )
    group.add_argument(
        "--start", type=parse_time, default=0.0, metavar="TIME", help="where to begin: 90, 1:30"
    )
    group.add_argument(
        "--duration", type=parse_time, metavar="TIME", help="how much to take: 60, 1:00"
    )


def make_sources(arguments: argparse.Namespace, pace: Pace) -> Mapping[str, Source]:
    """The sources of a run by the labels of their sessions.

    Args:
        arguments: of `add_input_options`, ``input`` (a file, a URL, ``-``, ``NAME://REST`` or
            None) and ``label``. A NAME from the entry points ``streaming.sources`` wins over
            FFmpeg's protocols; what it stands for is called with REST.
        pace: of files and streams.

    Raises:
        ConfigurationError: nothing to listen to, or choices that do not go together.
    """
    live = arguments.mic or arguments.loopback is not None
    _check(arguments, live, pace)
    sources = _live_sources(arguments) if live else _named_sources(arguments, pace)
    if len(sources) > 1 and arguments.label:
        both = " and ".join(sources)
        raise ConfigurationError(f"--label is for one session; here are {both}")
    return sources


def _check(arguments: argparse.Namespace, live: bool, pace: Pace) -> None:
    part = arguments.start or arguments.duration is not None
    if live and arguments.input:
        raise ConfigurationError("give either an input or --mic and --loopback, not both")
    if not live and not arguments.input:
        raise ConfigurationError(
            "what should be transcribed? give a FILE, a URL, - or --mic; --help tells more"
        )
    if live and pace != "realtime":
        raise ConfigurationError(f"live audio comes in real time: --pace {pace} is for files")
    if arguments.device is not None and not arguments.mic:
        raise ConfigurationError("--device chooses a microphone: use it with --mic")
    if not arguments.remove_echo and not (arguments.mic and arguments.loopback is not None):
        raise ConfigurationError("--no-echo-cancellation is for --mic --loopback")
    if part and (live or arguments.input == "-"):
        raise ConfigurationError(_NO_PART)
    if arguments.channels == "split" and (live or arguments.input == "-"):
        raise ConfigurationError("--channels split is for files with two channels")


def _live_sources(arguments: argparse.Namespace) -> Mapping[str, Source]:
    from sources.loopback import LoopbackSource
    from sources.microphone import MicrophoneSource

    microphone, output = _device(arguments.device), _device(arguments.loopback)
    if not arguments.mic:
        return {arguments.label: LoopbackSource(output)}
    if arguments.loopback is None:
        return {arguments.label: MicrophoneSource(microphone)}
    from sources.duplex import CHUNK_S, duplex

    me, them = duplex(
        MicrophoneSource(microphone, chunk_s=CHUNK_S),
        LoopbackSource(output, chunk_s=CHUNK_S),
        remove_echo=arguments.remove_echo,
    )
    return {"me": me, "them": them}


def _device(name: str | None) -> int | str | None:
    """As sources take it: an index, part of a name, or None for the system's."""
    return int(name) if name and name.isdecimal() else name or None


def _named_sources(arguments: argparse.Namespace, pace: Pace) -> Mapping[str, Source]:
    if arguments.channels == "mix":
        return {arguments.label: _named_source(arguments, pace)}
    from sources.split import split

    left, right = split(
        arguments.input, pace=pace, start_s=arguments.start, duration_s=arguments.duration
    )
    return {"left": left, "right": right}


def _named_source(arguments: argparse.Namespace, pace: Pace) -> Source:
    name = arguments.input
    if name == "-":
        return PcmStdinSource()
    scheme, separator, rest = name.partition("://")
    if separator and scheme in names(_GROUP, {}):
        if arguments.start or arguments.duration is not None:
            raise ConfigurationError(f"{_NO_PART}, not for {scheme}://")
        source = build(scheme, _GROUP, {}, rest)
        if not isinstance(source, Source):
            raise ConfigurationError(f"{scheme} is not a source: see streaming/protocols.py")
        return source
    part = {"start_s": arguments.start, "duration_s": arguments.duration}
    if separator:
        return MediaSource(name, pace=pace, **part)
    return FileSource(name, pace=pace, **part)
