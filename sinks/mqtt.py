"""An MQTT broker: home automation, dashboards, other machines.

Topics, below a prefix:

========================= ======== ========================================================
topic                     retained payload
========================= ======== ========================================================
``PREFIX/events``         no       every event, as its JSON line
``PREFIX/partial``        no       text of the running utterance; empty once it has ended
``PREFIX/text``           yes      text of the last utterance that ended, as it was committed
``PREFIX/status``         yes      "online" or "offline", the latter also by last will
========================= ======== ========================================================

Sessions that have a label publish under ``PREFIX/LABEL/events`` and so on; the status is one.

A message counts as delivered once the broker has acknowledged it (QoS 1, the default; with QoS 0
once it is written to the socket). While the broker is away messages wait, within a limit, and
are then sent in order. What had not been acknowledged is sent again, so that after such an
absence a message may come twice, with QoS 2 as well: events then carry the same ``session`` and
``seq``, and readers drop those they know.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from streaming.errors import ConfigurationError
from streaming.events import (
    AudioDropped,
    Event,
    Final,
    Notice,
    Partial,
    PassDone,
    SpeechEnded,
    SpeechStarted,
    Stats,
    event_to_json,
)

from ._buffer import Buffer, Rank
from ._loop_thread import LoopThread
from ._mqtt_address import Login, MqttAddress, checked_prefix, checked_qos, topic_level
from ._mqtt_link import Message, MqttLink
from ._report import log_notice
from ._text import Labels

__all__ = ["MqttSink"]

_PREFIX = "stream-transcribe"
_FAILED_S, _CANCELLED_S = 0.5, 0.1
"""How long a run that failed or was cancelled sends what waits."""
_LEAVE_S = 5.0
"""For the goodbye after that, and more."""
_RANKS = {
    Partial: Rank.PASSING,
    PassDone: Rank.PASSING,
    Stats: Rank.PASSING,
    SpeechStarted: Rank.TELLING,
    SpeechEnded: Rank.TELLING,
    AudioDropped: Rank.TELLING,
    Notice: Rank.TELLING,
}


class MqttSink:
    """Publishes events, and the text of finished utterances, to an MQTT broker.

    That the broker is there is seen on entering. Afterwards it may come and go: `write` never
    waits for it, and what is lost for want of room, partial text first, is told through
    ``report``, like its going and coming (codes ``mqtt_disconnected``, ``mqtt_connected``,
    ``mqtt_dropped``). Leaving sends what waits, says "offline" and disconnects.

    The client has an event loop of its own, so the caller's may be any, on Windows too. What
    a broker lets a user publish it does not tell him in this version of the protocol: with
    wrong access rules, messages vanish there.

    Args:
        url: ``mqtt://[USER[:PASSWORD]@]HOST[:PORT][/PREFIX][?qos=N]``; ``mqtts://`` for TLS.
        prefix: of all topics; "stream-transcribe" if neither this nor the URL names one.
        qos: 0, 1 or 2; 1 if neither this nor the URL names one.
        password: instead of one in the URL, where others may see it.
        password_file: a file whose first line is the password.
        ca_file: certificates (PEM) that vouch for the broker's, instead of the system's.
        cert_file: our certificate (PEM), for brokers that ask for one; may hold the key too.
        key_file: its key (PEM), not encrypted.
        client_id: unique among the broker's clients; made up by default.
        keepalive_s: the broker notices our absence after one and a half times this.
        drain_s: how long leaving may send what waits; half a second after an error.
        most_messages: how many messages may wait; an event makes one or two, a final three.
        most_bytes: how large they may be together.

    Raises:
        ConfigurationError: these do not fit together, a file cannot be read, or aiomqtt is absent.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str | None = None,
        qos: int | None = None,
        password: str | None = None,
        password_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        client_id: str | None = None,
        keepalive_s: int = 30,
        drain_s: float = 2.0,
        most_messages: int = 10_000,
        most_bytes: int = 8_000_000,
    ) -> None:
        self.report: Callable[[Notice], None] = log_notice
        address = MqttAddress.from_url(url)
        if password_file is not None:
            password = _first_line(password_file)
        if password is None:
            password = address.password
        if password is not None and address.user is None:
            raise ConfigurationError("an MQTT password needs a user: mqtt://USER@HOST")
        if not address.tls and (ca_file or cert_file or key_file):
            raise ConfigurationError("certificates need TLS: write mqtts:// for the MQTT broker")
        if not 1 <= keepalive_s <= 65_535:
            raise ConfigurationError("the MQTT keepalive lies between 1 and 65535 s")
        if most_messages < 1 or most_bytes < 1:
            raise ConfigurationError("the MQTT buffer holds at least one message and one byte")
        self.prefix = checked_prefix(prefix or address.prefix or _PREFIX)
        """Of all topics."""
        self._login = Login(
            address=address,
            password=password,
            tls=_tls_context(ca_file, cert_file, key_file) if address.tls else None,
            client_id=client_id or f"stream-transcribe-{uuid.uuid4().hex[:8]}",
            keepalive_s=keepalive_s,
            status=f"{self.prefix}/status",
            qos=checked_qos(qos if qos is not None else 1 if address.qos is None else address.qos),
        )
        self._drain_s = drain_s
        self.leave_limit_s = drain_s + _LEAVE_S
        self._limits = (most_messages, most_bytes)
        self._labels = Labels()
        self._thread: LoopThread | None = None
        self._link: MqttLink | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            SinkError: the broker cannot be reached or refuses the login.
        """
        loop = asyncio.get_running_loop()

        def tell(notice: Notice) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed; nobody is left to tell
                loop.call_soon_threadsafe(lambda: self.report(notice))

        self._thread = LoopThread(f"MQTT {self._login.address}")
        self._link = MqttLink(self._login, Buffer[Message](*self._limits), tell)
        try:
            await self._thread.call(self._link.open())
        except BaseException:
            self._thread.stop()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        assert self._link is not None
        limit_s = self._drain_s
        if exc_type is not None:
            cancelled = issubclass(exc_type, asyncio.CancelledError)
            limit_s = min(limit_s, _CANCELLED_S if cancelled else _FAILED_S)
        try:
            undelivered = await self._thread.call(self._link.close(limit_s))
        finally:
            self._thread.stop()
        if undelivered.messages:
            message = f"did not reach the MQTT broker {self._login.address}: {undelivered}"
            self.report(Notice(level="warning", code="mqtt_dropped", message=message))

    async def write(self, event: Event) -> None:
        """Put the event among what waits for the broker; never waits itself."""
        for message in self._messages(event):
            self._post(message)

    def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        """Have the broker told something else on the way: what a home should know of this sink.

        Args:
            topic: the whole of it.
            text: the payload.
            retain: whether the broker keeps it for those who come later.

        Raises:
            ConfigurationError: nothing can be published to such a topic.
            SinkError: the sink has failed.
        """
        self._post(Message(checked_prefix(topic), _bytes(text), Rank.LASTING, retain))

    def _post(self, message: Message) -> None:
        assert self._thread is not None
        assert self._link is not None
        self._link.check()
        self._thread.post(self._link.put, message)

    def _messages(self, event: Event) -> Iterator[Message]:
        level = topic_level(self._labels.push(event))
        topic = f"{self.prefix}/{level}" if level else self.prefix
        rank = _RANKS.get(type(event), Rank.LASTING)
        yield Message(f"{topic}/events", _bytes(event_to_json(event)), rank)
        if isinstance(event, Partial):
            text = (event.committed + event.tentative).strip()
            yield Message(f"{topic}/partial", _bytes(text), Rank.PASSING)
        elif isinstance(event, Final):
            if text := event.text.strip():
                yield Message(f"{topic}/text", _bytes(text), Rank.LASTING, retain=True)
            yield Message(f"{topic}/partial", b"", Rank.PASSING)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="replace")  # a label may come from undecodable arguments


def _first_line(path: str | os.PathLike[str]) -> str:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read the MQTT password in {os.fspath(path)}") from error
    if not lines or not lines[0]:
        raise ConfigurationError(f"the first line of {os.fspath(path)} is no MQTT password: empty")
    return lines[0]


def _tls_context(
    ca_file: str | os.PathLike[str] | None,
    cert_file: str | os.PathLike[str] | None,
    key_file: str | os.PathLike[str] | None,
) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name; there is none that does not."""
    if key_file is not None and cert_file is None:
        raise ConfigurationError("an MQTT key needs its certificate")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        message = f"cannot read certificates (PEM) from {os.fspath(ca_file or 'the system')}"
        raise ConfigurationError(message) from error
    if cert_file is not None:
        try:
            # A password is asked for on the terminal otherwise, in the midst of a run.
            context.load_cert_chain(cert_file, key_file, password=lambda: "")
        except (OSError, ValueError) as error:
            name = os.fspath(cert_file)
            message = f"cannot read a certificate and its key (PEM, not encrypted) from {name}"
            raise ConfigurationError(message) from error
    return context
