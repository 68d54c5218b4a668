"""What the parameters and the text frames of ``/v1/stream`` mean. See PROTOCOL.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...errors import ConfigurationError
from ..settings import Settings
from .decoders import ENCODINGS, MAX_CHANNELS, MAX_RATE, MIN_RATE
from .refusal import INVALID, Refusal

__all__ = [
    "Configuration",
    "Finish",
    "FlushHere",
    "KeepAlive",
    "Message",
    "Opening",
    "Resume",
    "Skip",
    "parse_message",
    "parse_opening",
]

_MOST_TEXT = 64 * 1024
"""Characters of a message."""
_MOST_WORDS = 4_000
"""Characters of a prompt, hotwords or label."""
_MOST_SKIP = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a connection asks for."""

    settings: Settings
    encoding: str = "s16le"
    sample_rate: int = 16_000
    channels: int = 1
    interim: bool = True
    resumes: str | None = None
    """The session to go on with; all else is then as it was."""


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The client is still there."""


@dataclass(frozen=True, slots=True)
class FlushHere:
    """Close the utterance."""


@dataclass(frozen=True, slots=True)
class Finish:
    """No more audio."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Hear in another way from here on."""

    settings: Settings | None = None
    interim: bool | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """The next samples are lost."""

    count: int


@dataclass(frozen=True, slots=True)
class Resume:
    """What the client of an earlier connection has."""

    secret: str
    last_seq: int
    sent: int


Message = KeepAlive | FlushHere | Finish | Configuration | Skip | Resume


def parse_opening(query: Sequence[tuple[str, str]], defaults: Settings) -> Opening:
    """Read the parameters of the address.

    Raises:
        Refusal: one is unknown, given twice or has a value that cannot be.
    """
    given = dict(query)
    given.pop("token", None)  # was looked at before
    if len(dict(query)) != len(query):
        raise _bad("a parameter is given twice")
    session = given.pop("session", None)
    if session is not None:
        if given:
            raise _bad(f"a session is resumed as it was; leave out {', '.join(sorted(given))[:80]}")
        return Opening(settings=defaults, resumes=session)
    known = ("encoding", "sample_rate", "channels", "interim", *_WISHES)
    for name in given:
        if name not in known:
            raise _bad(f"there is no parameter {name[:40]!r}; there are {', '.join(sorted(known))}")
    encoding = given.pop("encoding", "s16le")
    if encoding not in ENCODINGS:
        raise _bad(f"encoding is one of {', '.join(ENCODINGS)}, not {encoding[:40]!r}")
    if encoding == "opus" and ("sample_rate" in given or "channels" in given):
        raise _bad("sample_rate and channels are for raw samples; opus tells its own")
    return Opening(
        encoding=encoding,
        sample_rate=_whole("sample_rate", given.pop("sample_rate", "16000"), MIN_RATE, MAX_RATE),
        channels=_whole("channels", given.pop("channels", "1"), 1, MAX_CHANNELS),
        interim=_truth("interim", given.pop("interim", "true")),
        settings=_wished(given, defaults),
    )


def parse_message(text: str, settings: Settings) -> Message:
    """Read a text frame.

    Args:
        text: the frame.
        settings: what a configuration starts from.

    Raises:
        Refusal: it is not one of the messages.
    """
    if len(text) > _MOST_TEXT:
        raise _wrong(f"a message has at most {_MOST_TEXT} characters")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong("a text frame holds one JSON object; audio goes into binary frames") from None
    if not isinstance(body, dict):
        raise _wrong("a text frame holds a JSON object")
    kind = body.pop("type", None)
    match kind:
        case "keepalive":
            return KeepAlive()
        case "flush":
            return FlushHere()
        case "finish":
            return Finish()
        case "skip":
            return Skip(_count(body, "count", 1))
        case "resume":
            secret = body.get("secret")
            if not isinstance(secret, str):
                raise _wrong("resume needs the secret of the session, a string")
            return Resume(secret, _count(body, "last_seq", -1), _count(body, "sent", 0))
        case "configure":
            return _configuration(body, settings)
    raise _wrong(f"there is no message of the type {str(kind)[:40]!r}")


def _configuration(body: Mapping[str, Any], settings: Settings) -> Configuration:
    interim = body.get("interim")
    if interim is not None and not isinstance(interim, bool):
        raise _wrong("interim is true or false")
    wishes = {name: value for name, value in body.items() if name != "interim"}
    for name, value in wishes.items():
        if name not in _WISHES or name == "label":
            raise _wrong(f"configure does not know {name[:40]!r}")
        if name == "hotwords" and isinstance(value, list):
            value = wishes[name] = ",".join(map(str, value))
        if not isinstance(value, str):
            raise _wrong(f"{name} is a string")
    if not wishes:
        return Configuration(None, interim)
    return Configuration(_wished(wishes, settings), interim)


_WISHES = ("language", "task", "prompt", "hotwords", "label")


def _wished(given: Mapping[str, str], settings: Settings) -> Settings:
    changes: dict[str, Any] = {}
    for name, value in given.items():
        value = value.encode("utf-8", "replace").decode()  # no halves of characters
        if len(value) > _MOST_WORDS:
            raise _bad(f"{name} has at most {_MOST_WORDS} characters")
        if name == "task":
            if value not in ("transcribe", "translate"):
                raise _bad(f"task is transcribe or translate, not {value[:40]!r}")
            changes["translate"] = value == "translate"
        elif name == "hotwords":
            words = (word.strip() for word in value.split(","))
            changes["hotwords"] = tuple(dict.fromkeys(word for word in words if word))
        else:
            changes[name] = value
    try:
        return replace(settings, **changes)
    except ConfigurationError as error:
        raise _bad(str(error).replace("--", "")) from error  # it names options, not parameters


def _whole(name: str, text: str, low: int, high: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not low <= value <= high:
        raise _bad(f"{name} lies between {low} and {high}, not {text[:40]!r}")
    return value


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise _bad(f"{name} is true or false, not {text[:40]!r}")
    return text == "true"


def _count(body: Mapping[str, Any], name: str, least: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST_SKIP:
        raise _wrong(f"{name} is a whole number from {least}")
    return value


def _bad(message: str) -> Refusal:
    return Refusal("bad_parameter", message)


def _wrong(message: str) -> Refusal:
    return Refusal("bad_message", message, close_code=INVALID)
