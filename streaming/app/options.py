"""The options that several subcommands share, and how they become `Settings`."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import shutil
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import ConfigurationError
from ..word_files import read_hotwords
from .compose import BACKENDS
from .registry import POLICIES, VADS, names
from .settings import Settings

__all__ = ["CommandParser", "add_run_options", "files_read", "finite_number", "settings_from"]

_DEFAULT = Settings()


class CommandParser(argparse.ArgumentParser):
    """Reports bad arguments as one line, and takes no abbreviations: options may be added."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _HelpFormatter, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving; without the passwords of addresses."""
        message = re.sub(r"://\S*@", "://", message)
        mistaken = re.match(r"unrecognized arguments: (\S+)", message)
        if mistaken is None:
            hint = ""
        elif not mistaken[1].startswith("-"):
            hint = "; there can be one input, and a subcommand comes first"
        else:
            name = mistaken[1].partition("=")[0]
            close = difflib.get_close_matches(name, self._option_string_actions, n=1)
            hint = f"; is it {close[0]}?" if close else ""
        raise ConfigurationError(f"{message}{hint}; `{self.prog} --help` lists the options")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wider than argparse's own, where there is room, and with the options further left."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, 100) - 2
        super().__init__(prog, max_help_position=28, width=width)


def finite_number(text: str) -> float:
    """For ``type`` of an option."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def add_run_options(parser: argparse.ArgumentParser, *, server: bool = False) -> None:
    """Add the options that shape a run to a parser.

    Args:
        parser: of the subcommand.
        server: for many sessions: no final model, and workers are None unless they are given.
    """
    d = _DEFAULT
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=d.model,
        help="a name from `stream-transcribe models list`, or a file (default: %(default)s)",
    )
    if not server:
        model.add_argument(
            "--final-model",
            metavar="NAME",
            help="a larger model that hears every finished utterance again",
        )
    model.add_argument(
        "--backend",
        default=d.backend,
        metavar="NAME",
        help=f"{', '.join(names('streaming.backends', BACKENDS))} (default: %(default)s: "
        "ctranslate2 where it is installed, unless only whisper.cpp has the model at hand)",
    )
    model.add_argument(
        "--compute-type",
        metavar="TYPE",
        help="of ctranslate2: int8, float32, ... (default: int8 where the processor serves it)",
    )
    model.add_argument(
        "--compute-device",
        metavar="DEVICE",
        help="of ctranslate2: cpu or cuda (default: cpu)",
    )
    model.add_argument(
        "--language",
        metavar="CODES",
        help="en, de, ...; auto; or several to choose from: en,ja (default: en for "
        "English-only models, otherwise auto)",
    )
    model.add_argument("--translate", action="store_true", help="translate into English")
    model.add_argument("--prompt", default="", metavar="TEXT", help="text said before, as context")
    model.add_argument("--hotwords", default="", metavar="A,B", help="names and terms to expect")
    model.add_argument(
        "--hotwords-file", metavar="FILE", help="more of them, one a line; # begins a comment"
    )
    model.add_argument(
        "--replace",
        metavar="FILE",
        help="replace words before they are committed: lines of `heard -> wanted`, or "
        "`heard -> *` to mask",
    )
    model.add_argument(
        "--threads",
        type=_whole_number,
        metavar="N",
        help="threads of a pass (default: the cores there are for each worker, at most 4)",
    )
    model.add_argument(
        "--workers",
        type=_whole_number,
        default=None if server else d.workers,
        metavar="N",
        help="loaded models that sessions share; workers x threads should not exceed the cores "
        f"(default: {'one for each core with ctranslate2, otherwise 1' if server else d.workers})",
    )
    model.add_argument(
        "--pass-limit",
        dest="pass_limit_s",
        type=finite_number,
        default=d.pass_limit_s,
        metavar="S",
        help="a pass that takes longer is taken for a hang, which ends the run; 0 for no limit "
        "(default: %(default)g)",
    )

    timing = parser.add_argument_group("streaming (seconds)")
    for flag, field, text in (
        ("--chunk", "chunk_s", "new audio that makes a new pass due"),
        ("--window", "window_s", "longest window before it is trimmed"),
        ("--left-context", "left_context_s", "audio that trimming keeps"),
        ("--endpoint-silence", "endpoint_silence_s", "silence that ends an utterance"),
        ("--max-utterance", "max_utterance_s", "longest utterance"),
    ):
        timing.add_argument(
            flag,
            dest=field,
            type=finite_number,
            default=getattr(d, field),
            metavar="S",
            help=f"{text} (default: %(default)s)",
        )
    timing.add_argument(
        "--policy",
        default=d.policy,
        metavar="NAME[:KEY=VALUE]",
        help=f"when words are certain: {', '.join(names('streaming.policies', POLICIES))} "
        "(default: %(default)s)",
    )

    speech = parser.add_argument_group("speech detection")
    speech.add_argument(
        "--vad",
        default=d.vad,
        metavar="NAME",
        help=f"{', '.join(names('streaming.vads', VADS))} (default: %(default)s)",
    )
    speech.add_argument(
        "--vad-threshold",
        type=finite_number,
        default=d.vad_threshold,
        metavar="P",
        help="probability from which it is speech (default: %(default)s)",
    )


def settings_from(arguments: argparse.Namespace, **more: object) -> Settings:
    """Settings from parsed options.

    Raises:
        ConfigurationError: values that cannot work.
    """
    values = {
        name: getattr(arguments, name)
        for name in Settings.__dataclass_fields__
        if hasattr(arguments, name)
    }
    named = (*_words(arguments.hotwords), *_read_hotwords(arguments.hotwords_file))
    values["hotwords"] = tuple(dict.fromkeys(named))
    return Settings(**{**values, **more})


def files_read(arguments: argparse.Namespace) -> list[str]:
    """Files that the options name, which no output may overwrite."""
    return [name for name in (arguments.hotwords_file, arguments.replace) if name is not None]


def _read_hotwords(name: str | None) -> Sequence[str]:
    return () if name is None else read_hotwords(name)


def _words(text: str) -> Sequence[str]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
