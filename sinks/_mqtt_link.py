"""A connection to an MQTT broker that outlives the broker's absences.

Messages wait in a `Buffer` and go out in order, a few at a time without waiting for each
acknowledgement. One that has not been acknowledged when a connection ends is sent again on
the next, before anything newer. Runs on one event loop, and is used from its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from streaming.errors import SinkError
from streaming.events import Notice

from ._buffer import Buffer, Rank
from ._mqtt_address import Login
from ._text import one_line

if TYPE_CHECKING:
    import aiomqtt

__all__ = ["Message", "MqttLink", "Undelivered"]

T = TypeVar("T")

_AT_ONCE = 20
"""Messages under way that wait for their acknowledgement."""
_ANSWER_S = 5.0
"""Limit of a handshake."""
_ACKNOWLEDGED_S = 10.0
"""A broker that leaves a message unanswered for this long is taken as lost."""
_FIRST_S = 12.0
"""Limit of the first connection, whatever the name service does."""
_SOONEST_S, _LATEST_S = 0.5, 10.0
"""Waits between attempts: doubled each time, begun anew after a connection that held."""
_HELD_S = 10.0
_PARTING_S = 0.25
"""Limit of each step in taking leave."""

_CLIENT_LOG = logging.getLogger(f"{__name__}.client")
_CLIENT_LOG.setLevel(logging.CRITICAL)  # what the client warns of is told as notices


@dataclass(frozen=True, slots=True)
class Message:
    """One publication."""

    topic: str
    payload: bytes
    rank: Rank
    retain: bool = False

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return len(self.topic) + len(self.payload)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Messages that never reached the broker: how many, and how many of those that last."""

    messages: int
    lasting: int

    def __str__(self) -> str:
        return f"{self.messages} messages, {self.lasting} of them committed text or sessions"


class MqttLink:
    """Publishes to one broker.

    Args:
        login: how to connect.
        buffer: what waits; the link owns it.
        tell: is told when messages are dropped, and when the broker goes and comes back.
    """

    def __init__(
        self, login: Login, buffer: Buffer[Message], tell: Callable[[Notice], None]
    ) -> None:
        self._login = login
        self._buffer = buffer
        self._tell = tell
        self._again: deque[Message] = deque()
        """Sent and not acknowledged; older than anything in the buffer."""
        self._dropped: Counter[Rank] = Counter()
        """Since the buffer was last empty."""
        self._up = False
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._connected: asyncio.Future[None]
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            SinkError: the broker cannot be reached or refuses the login.
        """
        self._connected = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())
        first = {self._connected, self._task}
        await asyncio.wait(first, timeout=_FIRST_S, return_when=asyncio.FIRST_COMPLETED)
        self.check()
        if not self._connected.done():
            raise self._unreachable("it does not answer")

    def put(self, message: Message) -> None:
        """Take a message; never waits."""
        dropped = self._buffer.put(message, message.size, message.rank)
        if dropped and not self._dropped:
            self._tell_of_dropping()
        self._dropped.update(rank for rank, _ in dropped)
        self._wake.set()

    async def close(self, limit_s: float) -> Undelivered:
        """Send what waits, for so long at most, and take leave of the broker."""
        assert self._task is not None
        self._closing.set()
        self._wake.set()
        await asyncio.wait({self._task}, timeout=limit_s)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=3 * _PARTING_S)
        waiting = len(self._again) + len(self._buffer) + self._dropped.total()
        lasting = sum(message.rank is Rank.LASTING for message in self._again)
        lasting += self._buffer.count(Rank.LASTING) + self._dropped[Rank.LASTING]
        return Undelivered(waiting, lasting)

    def check(self) -> None:
        """Raise what ended the link, if anything did; thread-safe."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    # -- connections --------------------------------------------------------------------------

    async def _run(self) -> None:
        import aiomqtt

        clock = asyncio.get_running_loop().time
        wait_s = _SOONEST_S
        while not (self._closing.is_set() and self._idle):
            began_s = clock()
            try:
                async with self._connection() as client:
                    began_s = clock()
                    self._tell_of_return()
                    await self._serve(client)
                return
            except aiomqtt.MqttError as error:
                if not self._connected.done():
                    raise self._unreachable(_reason(error)) from error
                self._tell_of_loss()
            if self._closing.is_set():
                return
            if clock() - began_s > _HELD_S:
                wait_s = _SOONEST_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()  # then a last attempt, at once
            wait_s = min(2 * wait_s, _LATEST_S)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncGenerator[aiomqtt.Client, None]:
        """A connection during which the status is "online".

        Leaving it says "offline" before it disconnects, since the broker says so itself, by
        the last will, only where a connection breaks. A fresh client each time: what an old
        one has under way would otherwise come out of order.
        """
        import aiomqtt

        login, address = self._login, self._login.address
        client = aiomqtt.Client(
            address.host,
            address.port,
            username=address.user,
            password=login.password,
            identifier=login.client_id,
            clean_session=True,
            keepalive=login.keepalive_s,
            timeout=_ANSWER_S,
            tls_context=login.tls,
            will=aiomqtt.Will(login.status, b"offline", qos=1, retain=True),
            max_inflight_messages=0,  # bounded by `_serve`
            logger=_CLIENT_LOG,
        )
        try:
            # Twice: entering puts a new future there if the broker accepts and hangs up at once.
            client._disconnected.add_done_callback(_hear)
            await client.__aenter__()
            client._disconnected.add_done_callback(_hear)
            try:
                await _unless_lost(
                    client, client.publish(login.status, b"online", qos=1, retain=True)
                )
                yield client
            finally:
                with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                    async with asyncio.timeout(_PARTING_S):
                        await client.publish(login.status, b"offline", qos=1, retain=True)
        finally:
            # Also after entering has failed: the client would keep a connection on which the
            # broker has not answered, and meet the broker when it comes back.
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                async with asyncio.timeout(_PARTING_S):
                    await client.__aexit__(None, None, None)

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Send what waits and what comes, until the link closes and nothing waits any more.

        Raises:
            aiomqtt.MqttError: the connection is lost.
        """
        under_way: deque[tuple[Message, asyncio.Future[None]]] = deque()
        lost = self._watched(anext(client.messages))  # nothing is subscribed to
        try:
            while True:
                while len(under_way) < _AT_ONCE and (message := self._next()) is not None:
                    under_way.append((message, self._watched(self._publish(client, message))))
                if not under_way:
                    self._tell_what_was_dropped()
                    if self._closing.is_set():
                        return
                self._wake.clear()
                await self._wake.wait()
                while under_way and under_way[0][1].done():
                    under_way[0][1].result()
                    under_way.popleft()
                if lost.done():
                    lost.result()
        finally:
            self._again.extendleft(message for message, _ in reversed(under_way))
            tasks: list[asyncio.Future[Any]] = [lost, *(task for _, task in under_way)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _watched(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """A task that wakes `_serve` when it is done."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._wake.set())
        return task

    async def _publish(self, client: aiomqtt.Client, message: Message) -> None:
        await client.publish(
            message.topic,
            message.payload,
            qos=self._login.qos,
            retain=message.retain,
            timeout=_ACKNOWLEDGED_S,
        )

    def _next(self) -> Message | None:
        if self._again:
            return self._again.popleft()
        taken = self._buffer.take()
        return None if taken is None else taken[1]

    @property
    def _idle(self) -> bool:
        return not self._again and not self._buffer

    # -- what is told -------------------------------------------------------------------------

    def _tell_of_return(self) -> None:
        self._up = True
        if not self._connected.done():
            self._connected.set_result(None)
            return
        waiting = len(self._again) + len(self._buffer)
        message = f"the MQTT broker {self._login.address} is back; {waiting} messages waited for it"
        self._tell(Notice(level="info", code="mqtt_connected", message=message))

    def _tell_of_loss(self) -> None:
        if not self._up:
            return
        self._up = False
        message = f"lost the MQTT broker {self._login.address}; messages wait for it"
        self._tell(Notice(level="warning", code="mqtt_disconnected", message=message))

    def _tell_of_dropping(self) -> None:
        message = (
            f"more messages wait for the MQTT broker {self._login.address} than the buffer holds; "
            "some are dropped, partial text first"
        )
        self._tell(Notice(level="warning", code="mqtt_dropped", message=message))

    def _tell_what_was_dropped(self) -> None:
        if not self._dropped:
            return
        dropped = Undelivered(self._dropped.total(), self._dropped[Rank.LASTING])
        self._dropped.clear()
        message = f"dropped while the MQTT broker {self._login.address} was behind: {dropped}"
        self._tell(Notice(level="warning", code="mqtt_dropped", message=message))

    def _unreachable(self, reason: str) -> SinkError:
        address = self._login.address
        if "ertificate" in reason:
            way_out = "--mqtt-ca names a file with the authority that signed it"
        elif "authori" in reason or "password" in reason:
            way_out = "check user and password"
        else:
            way_out = "check host and port" + ("" if address.tls else "; mqtts:// is for TLS")
        return SinkError(f"cannot use the MQTT broker {address}: {reason}; {way_out}")


async def _unless_lost(client: aiomqtt.Client, work: Awaitable[None]) -> None:
    """Wait for it, but not for an answer of a broker that has gone.

    Raises:
        aiomqtt.MqttError: the work failed, or the connection is lost.
    """
    tasks: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(work),
        asyncio.ensure_future(anext(client.messages)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _hear(ended: asyncio.Future[None]) -> None:
    """Ask for what a connection ended with, or asyncio would log that nobody did."""
    if not ended.cancelled():
        ended.exception()


def _reason(error: Exception) -> str:
    """What went wrong, without error numbers and places in other people's source."""
    if str(error) == "Operation timed out":
        return "it does not answer"
    text = re.sub(r"^\[[^]]*\] ?| \(_?\w+\.c:\d+\)$", "", str(error))
    if text in ("The client is not currently connected.", "Disconnected during message iteration"):
        return "it accepts the login and hangs up"
    return one_line(text) or type(error).__name__
