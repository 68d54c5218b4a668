"""A client of the caption server that goes on where it was when the connection breaks.

    python examples/live_client.py talk.flac ws://127.0.0.1:8766/v1/stream
    python examples/live_client.py mic

A token goes into the address, ``?token=...``. ``SSL_CERT_FILE`` names a certificate to trust, where
the server has made its own.

Audio that the server has not confirmed is kept for a while, and sent again after a break. What
had to be forgotten meanwhile is skipped, and the server's ``audio_dropped`` says so.
"""

import argparse
import asyncio
import json
import random
import ssl
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from sources import FileSource, MicrophoneSource
from streaming import AudioChunk, StreamingError
from streaming.audio import samples_from_seconds
from streaming.protocols import Source

MILLISECOND = samples_from_seconds(0.001)
AHEAD = samples_from_seconds(5)
"""Most that is sent before it is confirmed, so that pings do not have to wait behind audio."""
FORGOTTEN = {"unknown_session", "events_lost"}
KEEPALIVE_S = 15.0
LATER = {"busy", "too_many_sessions", "not_ready", "restart", "internal"}
LIMITS = {"idle", "too_slow", "session_too_long"}
"""Refusals after which one goes on: in a new session, after a while, by a resume."""


class RefusedError(StreamingError):
    """The server said no; ``code`` is one of those in PROTOCOL.md."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(f"{said['message']} ({said['code']})")
        self.code: str = said["code"]
        self.retry_after_s: float = said.get("retry_after_s", 0.0)


class LiveClient:
    """Sends a source to a caption server and yields the server's events, whatever breaks.

    Args:
        address: of ``/v1/stream``; may have parameters, but none about the audio.
        keep_s: how much unconfirmed audio is kept; of more, the oldest is forgotten.
        retry_s: wait before the first new try; it doubles with each, up to 5 s.
        give_up_s: how long to try without getting any further.
        dead_s: a connection that answers nothing for so long is given up.
    """

    def __init__(
        self,
        address: str,
        *,
        keep_s: float = 60.0,
        retry_s: float = 0.2,
        give_up_s: float = 300.0,
        dead_s: float = 20.0,
    ) -> None:
        self.session: dict[str, Any] = {}
        """The server's first message; empty while there is none."""
        self.last_seq = -1
        self._address, _, self._query = address.partition("?")
        self._keep = samples_from_seconds(keep_s)
        self._retry_s, self._give_up_s = retry_s, give_up_s
        self._connect = partial(
            connect,
            open_timeout=dead_s,
            ping_interval=dead_s / 2,
            ping_timeout=dead_s / 2,
            close_timeout=1,
        )
        self._kept: deque[AudioChunk] = deque()
        # All count samples from the start of the source.
        self._session_start = self._sent = self._confirmed = 0
        self._changed = asyncio.Event()
        self._source_ended = self._done = False

    async def events(self, source: Source) -> AsyncGenerator[dict[str, Any]]:
        """The server's events, each once, as their JSON reads, until all of the source is said.

        In between come notices of the client itself, without ``seq``: "reconnecting", and
        "new_session" where the server has forgotten the one before.

        Raises:
            RefusedError: the server will not have it.
            StreamingError: no server answers for too long, or the source failed.
        """
        async with source:
            listening = asyncio.create_task(self._listen(source))
            self._getting_on()
            try:
                while not self._done:
                    trouble: Exception = ConnectionError("the connection was closed")
                    try:
                        async with self._connected() as stream:
                            async for frame in stream:
                                if event := self._take(json.loads(frame)):
                                    yield event
                    except (RefusedError, OSError, WebSocketException) as error:
                        trouble = error
                    if not self._done:
                        yield self._judge(trouble)
                        await asyncio.sleep(self._wait_s)
                await listening
            finally:
                listening.cancel()
                await asyncio.wait([listening])

    async def _listen(self, source: Source) -> None:
        try:
            async for item in source:
                if isinstance(item, AudioChunk):
                    self._kept.append(item)
                    while self._kept[0].start_sample < item.end_sample - self._keep:
                        self._kept.popleft()
                    self._changed.set()
        finally:
            self._source_ended = True
            self._changed.set()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[ClientConnection]:
        """Connect, and send as soon as the server has said from where on."""
        query = self._query
        if self.session:
            token = parse_qs(query).get("token", [])
            query = urlencode({"session": self.session["session"], "token": token}, doseq=True)
        async with self._connect(f"{self._address}?{query}") as stream:
            if self.session:
                resume = {
                    "type": "resume",
                    "secret": self.session["secret"],
                    "last_seq": self.last_seq,
                    "sent": self._sent - self._session_start,
                }
                await stream.send(json.dumps(resume))
            self._welcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            sending = asyncio.create_task(self._send(stream))
            try:
                yield stream
            finally:
                sending.cancel()
                await asyncio.wait([sending])

    async def _send(self, stream: ClientConnection) -> None:
        at = await self._welcome
        with suppress(ConnectionClosed):
            while True:
                chunk = next((kept for kept in self._kept if kept.end_sample > at), None)
                if chunk is not None and at < self._confirmed + AHEAD:
                    lost, at = chunk.start_sample - at, chunk.end_sample
                    self._sent = max(self._sent, at)
                    if lost > 0:
                        await stream.send(json.dumps({"type": "skip", "count": lost}))
                    samples = chunk.samples[max(0, -lost) :]
                    pcm = np.clip(32_768 * samples, -32_768, 32_767).astype("<i2")
                    await stream.send(pcm.tobytes())
                elif chunk is None and self._source_ended:
                    return await stream.send('{"type": "finish"}')
                else:
                    self._changed.clear()
                    try:
                        await asyncio.wait_for(self._changed.wait(), KEEPALIVE_S)
                    except TimeoutError:
                        await stream.send('{"type": "keepalive"}')

    def _take(self, said: dict[str, Any]) -> dict[str, Any] | None:
        """What comes from the server; returned if it is an event."""
        match said["type"]:
            case "session":
                self.session, self.last_seq = said, -1
                self._session_start = self._sent = self._confirmed
                self._welcome.set_result(self._confirmed)
            case "resumed" | "received" if self.session:
                self._confirm(self._session_start + said["position"])
                if said["type"] == "resumed":
                    self._welcome.set_result(self._confirmed)
            case "error":
                raise RefusedError(said)
            case _ if "seq" in said:
                self.last_seq = said["seq"]
                if said["type"] == "session_ended":
                    self._confirm(self._session_start + samples_from_seconds(said["audio_s"]))
                    self._done = self._source_ended and not self._kept
                    if not self._done:  # the server had its reasons; the rest goes into another
                        self.session = {}
                return said
        return None

    def _confirm(self, sample: int) -> None:
        """The server has all audio before ``sample``, or as good as all."""
        if sample > self._confirmed:
            self._confirmed = sample
            self._getting_on()
        while self._kept and self._kept[0].end_sample <= sample + MILLISECOND:
            self._kept.popleft()
        self._changed.set()

    def _getting_on(self) -> None:
        self._tries = 0
        self._got_on_s = asyncio.get_running_loop().time()

    def _judge(self, trouble: Exception) -> dict[str, Any]:
        """Whether to try again, and when; returns what to say of it."""
        code, message = "reconnecting", str(trouble) or type(trouble).__name__
        if isinstance(trouble, RefusedError) and trouble.code in FORGOTTEN:
            code, self.session, self._wait_s = "new_session", {}, 0.0
            message = f"{trouble}; the last words before may be missing"
        elif isinstance(trouble, RefusedError) and trouble.code not in LATER | LIMITS:
            raise trouble
        elif isinstance(trouble, InvalidURI):
            text = (
                f"{trouble.uri.partition('?')[0]} is no address like ws://127.0.0.1:8766/v1/stream"
            )
            raise StreamingError(text) from trouble
        elif isinstance(trouble, ssl.SSLCertVerificationError):
            text = f"{trouble.verify_message}; SSL_CERT_FILE can name a certificate to trust"
            raise StreamingError(text) from trouble
        elif isinstance(trouble, InvalidStatus) and trouble.response.status_code < 500:
            text = f"the server refuses: {trouble}; is /v1/stream the path of the address?"
            raise StreamingError(text) from trouble
        elif asyncio.get_running_loop().time() - self._got_on_s > self._give_up_s:
            raise StreamingError(f"given up after {self._give_up_s:g} s: {trouble}") from trouble
        else:
            self._tries += 1
            self._wait_s = min(self._retry_s * 2**self._tries, 5.0) * random.uniform(0.5, 1)
            if isinstance(trouble, RefusedError):
                self._wait_s += trouble.retry_after_s
        return {"type": "notice", "level": "warning", "code": code, "message": message}


async def main(what: str, address: str) -> None:
    source = MicrophoneSource() if what == "mic" else FileSource(what)
    async with aclosing(LiveClient(address).events(source)) as events:
        async for event in events:
            if event["type"] == "committed":
                print(event["text"], end="", flush=True)
            elif event["type"] == "final":
                print()
            elif event["type"] in ("notice", "audio_dropped"):
                print(f"[{event.get('message') or event['reason']}]", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Stream audio to a caption server.")
    parser.add_argument("what", nargs="?", default="examples/jfk.flac", help="a file, or mic")
    parser.add_argument("address", nargs="?", default="ws://127.0.0.1:8766/v1/stream")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.what, given.address))
    except StreamingError as error:
        sys.exit(f"live_client: {error}")
