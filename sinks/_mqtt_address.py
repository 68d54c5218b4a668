"""Where an MQTT broker is and what is said to it: ``mqtt://user:password@host:1883/prefix``."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from streaming.errors import ConfigurationError

__all__ = ["Login", "MqttAddress", "checked_prefix", "checked_qos", "topic_level"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_UNFIT = re.compile(r"[+#\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What no topic may have (wildcards, NUL), or had better not."""
_MOST_OF_PREFIX = 1000
_MOST_OF_LEVEL = 64
_FORM = "mqtt://[USER[:PASSWORD]@]HOST[:PORT][/PREFIX][?qos=0|1|2], or mqtts:// for TLS"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttAddress:
    """What the URL says. Messages about it never repeat the URL: it may hold a password."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    prefix: str | None = None
    """Of topics; None where the URL has no path."""
    qos: int | None = None

    def __str__(self) -> str:
        """Host and port, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read a URL; user, password and prefix may be percent-encoded.

        Raises:
            ConfigurationError: it is none, or asks for what there is not.
        """
        if not url.startswith(tuple(f"{scheme}://" for scheme in _PORTS)):
            raise ConfigurationError(f"an MQTT broker is named as {_FORM}")
        if "#" in url:
            raise ConfigurationError('an MQTT URL has no "#": write it as %23 in a password')
        parts, port = _split(url)
        host = parts.hostname
        if not host or not _is_host(host):
            raise ConfigurationError(f"this MQTT URL names no host: it reads {_FORM}")
        password = None if parts.password is None else unquote(parts.password)
        user = unquote(parts.username) if parts.username else None
        prefix = unquote(parts.path).strip("/")
        return cls(
            host=host,
            port=port or _PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            user=user,
            password=password,
            prefix=checked_prefix(prefix) if prefix else None,
            qos=_qos(parts.query),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """How to connect. ``status`` is a retained topic: "online", or "offline"."""

    address: MqttAddress
    password: str | None = field(repr=False)
    tls: ssl.SSLContext | None
    client_id: str
    keepalive_s: int
    status: str
    qos: int


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        # Without its cause: Python quotes what it takes for the port, or the host.
        message = "cannot read this MQTT URL; write / as %2F, ? as %3F and @ as %40 in a password"
        raise ConfigurationError(message) from None


def _is_host(name: str) -> bool:
    """False for what a resolver would choke on."""
    try:
        return len(name.encode("idna")) <= 253 and not re.search(r"[\s\x00-\x1f\x7f]", name)
    except UnicodeError:
        return False


def _qos(query: str) -> int | None:
    """The only choice that a URL offers after its "?"."""
    choices = parse_qsl(query, keep_blank_values=True)
    if any(name != "qos" for name, _ in choices):
        raise ConfigurationError(
            'an MQTT URL takes only "qos" after its "?"; write ? as %3F in a password'
        )
    if not choices:
        return None
    value = choices[-1][1]
    return checked_qos(int(value) if value in ("0", "1", "2") else -1)


def checked_qos(qos: int) -> int:
    """The quality of service, if it is one.

    Raises:
        ConfigurationError: it is none of 0, 1 and 2.
    """
    if qos not in (0, 1, 2):
        raise ConfigurationError(
            "the MQTT quality of service is 0 (sent once), 1 (acknowledged) or 2 (exactly once)"
        )
    return qos


def checked_prefix(prefix: str) -> str:
    """A topic prefix without slashes around it.

    Raises:
        ConfigurationError: topics cannot begin with it.
    """
    prefix = prefix.strip("/")
    if not prefix or len(prefix) > _MOST_OF_PREFIX:
        raise ConfigurationError(f"an MQTT topic prefix has 1 to {_MOST_OF_PREFIX} characters")
    if _UNFIT.search(prefix):
        raise ConfigurationError("an MQTT topic prefix has no +, # or control characters")
    if prefix.startswith("$"):
        raise ConfigurationError('MQTT topics that begin with "$" belong to the broker')
    return prefix


def topic_level(label: str) -> str:
    """A label as one level of a topic: what cannot stand in one becomes "-"."""
    return _UNFIT.sub("-", label).replace("/", "-").strip()[:_MOST_OF_LEVEL]
