"""What a connection may take: time, memory, a turn, and a place among a bounded number.

uvicorn's protocols trust their peers to go on. These do not: what waits too long for its peer is
aborted, what arrives is taken in sips, so that others have their turn between, and what
strangers send never becomes an entry in the log. A connection is

- opened, and has sent no whole head of a request for a third of ``request_s``: aborted;
- in the middle of a request's body, and silent for ``request_s``: aborted;
- given something to read, and has not taken it for 15 s: aborted;
- closed, and not gone after 5 s: aborted;
- idle after an answer: closed after 5 s, by uvicorn;
- a WebSocket that does not answer a ping for 20 s, and sends nothing: closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any, cast

import h11
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame

from .door import Door, Wait
from .limits import Limits
from .tap import Tap

__all__ = ["HttpConnection", "WebSocketConnection", "uvicorn_options"]

_PING_S = 20.0
_KEEP_ALIVE_S = 5
_HEAD_BYTES = 16_384
"""Of a request line and its headers."""

_FAULTS = logging.getLogger(f"{__name__}.faults")
"""What uvicorn tells of. Its warnings are about what strangers send, its errors about us."""
_FAULTS.setLevel(logging.ERROR)


class HttpConnection(H11Protocol):
    """Requests over HTTP/1.1, until one becomes a WebSocket."""

    def __init__(self, *args: Any, door: Door, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _FAULTS
        self._door = door
        self._received = 0
        self._app, self.app = self.app, self._run

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take in a connection."""
        self._tap = Tap(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._tap))
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._door.leave(self)

    def data_received(self, data: bytes) -> None:
        """Take what came, sip by sip."""
        self._tap.feed(data, self._sip)

    def _sip(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)

    def waits(self) -> Wait | None:
        """What it waits for; None where it is not for the peer."""
        if self.transport.is_closing():
            return self._door.close_s, "close"
        if self.flow.write_paused:
            return self._door.stall_s, "stall"
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return self._door.head_s, cycle
        if cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue:
            return self._door.body_s, self._received
        return None

    def abort(self) -> None:
        """Give the peer up."""
        self._leave_cycle()
        self.transport.abort()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Go on as a WebSocket."""
        if self.conn.trailing_data[0] or self._tap.rest:  # it has to wait for the answer
            self.send_400_response("Frames came before the WebSocket was open.")
            return
        self._door.leave(self)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request; where an answer is under way, just close."""
        self._leave_cycle()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:
            pass  # whoever asked has left: no fault of ours
        except asyncio.CancelledError:  # the server ends, and has waited for this long enough
            self._leave_cycle()
            self.transport.close()

    def _leave_cycle(self) -> None:
        """Let the application find that nobody waits for its answer any more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()


class WebSocketConnection(WebSocketsSansIOProtocol):
    """A WebSocket, from its request on."""

    def __init__(self, *args: Any, door: Door, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _FAULTS
        self.conn.debug = False
        self.close_timeout = door.close_s
        self._door = door
        self._message = bytearray()
        self._heard_at = 0.0
        self._app, self.app = self.app, self._run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on with a connection that began as HTTP."""
        self._tap = cast(Tap, transport)
        super().connection_made(transport)
        self._door.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        super().connection_lost(exc)
        self._door.leave(self)

    def waits(self) -> Wait | None:
        """What it waits for; None where it is not for the peer."""
        if self.transport.is_closing():
            return self._door.close_s, "close"
        if not self.writable.is_set():
            return self._door.stall_s, "stall"
        return None

    def abort(self) -> None:
        """Give the peer up."""
        self.transport.abort()

    # -- in -----------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came, sip by sip; what is whole counts, even if the rest is no frame."""
        self._tap.feed(data, self._sip)

    def _sip(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self.conn.receive_data(data)
        self.handle_events()
        if self.transport.is_closing():
            return
        if self.conn.parser_exc is not None:
            self.handle_parser_exception()
        elif self.conn.handshake_exc is not None:  # uvicorn would wait, for nothing
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_connect(self, event: Any) -> None:
        """Begin with a request; frames wait until it is accepted."""
        super().handle_connect(event)
        self._pause_reading()

    def handle_text(self, event: Frame) -> None:
        """Begin a message of text."""
        self.curr_msg_data_type = "text"
        self.handle_cont(event)

    def handle_bytes(self, event: Frame) -> None:
        """Begin a message of bytes."""
        self.curr_msg_data_type = "bytes"
        self.handle_cont(event)

    def handle_cont(self, event: Frame) -> None:
        """Put the message together; pieces without content must not pile up."""
        self._message += event.data
        if event.fin:
            data, self._message = bytes(self._message), bytearray()
            self._hand_over(data)

    def _hand_over(self, data: bytes) -> None:
        if self.close_sent:
            return  # the application has closed
        if self.curr_msg_data_type == "bytes":
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        else:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.conn.fail(CloseCode.INVALID_DATA, "text is to be UTF-8")
                self.handle_parser_exception()
                return
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        self._pause_reading()

    def handle_ping(self) -> None:
        """Answer; after a close nobody waits for that, and the answers would pile up."""
        if self.close_sent:
            self.conn.data_to_send()
        else:
            super().handle_ping()

    async def receive(self) -> Any:
        """Hand the application what came; more is read when it has everything."""
        message = await self.queue.get()
        self._read_on()
        return message

    def _pause_reading(self) -> None:
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _read_on(self) -> None:
        ready = self.handshake_complete and self.queue.empty() and self.writable.is_set()
        if self.read_paused and ready:
            self.read_paused = False
            self.transport.resume_reading()

    # -- out ----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Take nothing from a peer that takes nothing: its pings would have answers."""
        super().pause_writing()
        self._pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._read_on()

    async def send(self, message: Any) -> None:
        """Send what the application says, or tell it that nobody is there."""
        await self.writable.wait()
        closes = self.handshake_complete and message["type"] == "websocket.close"
        if self.transport.is_closing() and not closes:
            raise ClientDisconnected
        await super().send(message)
        self._read_on()

    def keepalive_timeout(self) -> None:
        """Close, unless the peer is heard; its pong may stand behind audio we do not read yet."""
        if self.read_paused or self._heard_at > self.ping_sent_at:
            self.pong_timer = self.pending_ping_payload = None
            self.schedule_ping()
        else:
            super().keepalive_timeout()

    def shutdown(self) -> None:
        """Close because the server ends."""
        with contextlib.suppress(InvalidState):  # closing already
            super().shutdown()
        self.transport.close()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except (WebSocketDisconnect, asyncio.CancelledError):
            raise ClientDisconnected from None  # uvicorn knows what that is: no fault of ours


def uvicorn_options(limits: Limits, door: Door) -> dict[str, Any]:
    """Arguments of `uvicorn.Config` that belong together with the classes here."""
    return {
        "http": partial(HttpConnection, door=door),
        "ws": partial(WebSocketConnection, door=door),
        "ws_max_size": limits.max_frame_bytes,
        "ws_ping_interval": _PING_S,
        "ws_ping_timeout": _PING_S,
        "ws_per_message_deflate": False,
        "h11_max_incomplete_event_size": _HEAD_BYTES,
        "timeout_keep_alive": _KEEP_ALIVE_S,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "log_level": "warning",
    }
