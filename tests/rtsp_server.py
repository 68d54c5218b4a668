"""A small RTSP server (RFC 2326): one mono 16 kHz track of uncompressed audio, over TCP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from streaming.audio import SAMPLE_RATE, Samples

__all__ = ["RtspServer", "rtsp_server"]

PACKET_SAMPLES = 320
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    f"m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/{SAMPLE_RATE}/1\r\na=control:track\r\n"
)


class RtspServer:
    """Plays from the place where its clock is; ``breaks_s`` are moments that end connections."""

    def __init__(self, audio: Samples, breaks_s: list[float]) -> None:
        self.pcm = np.round(audio * 32768).astype(">i2")
        self.breaks_s = breaks_s
        self.ending = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.zero_s = time.monotonic()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.listener.getsockname()[1]}/live"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            while request := lines.readline().decode().strip():
                headers = {}
                while line := lines.readline().decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                self._reply(connection, request.split()[0], headers)

    def _reply(self, connection: socket.socket, method: str, headers: dict[str, str]) -> None:
        extra, body = "Session: 1\r\n", ""
        if method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            body = SDP
            extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            extra += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n{extra}\r\n{body}"
        connection.sendall(answer.encode())
        if method == "PLAY":
            self._play(connection)
            connection.shutdown(socket.SHUT_RDWR)

    def _play(self, connection: socket.socket) -> None:
        position = first = round((time.monotonic() - self.zero_s) * SAMPLE_RATE)
        while position < len(self.pcm) and not self.ending.is_set():
            now_s = time.monotonic() - self.zero_s
            if self.breaks_s and now_s > self.breaks_s[0]:
                self.breaks_s.pop(0)
                return
            if now_s * SAMPLE_RATE < position:
                time.sleep(0.005)
                continue
            number = (position - first) // PACKET_SAMPLES
            payload = self.pcm[position : position + PACKET_SAMPLES].tobytes()
            rtp = struct.pack(">BBHII", 0x80, 97, number & 0xFFFF, position - first, 1) + payload
            connection.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
            position += PACKET_SAMPLES


@contextmanager
def rtsp_server(audio: Samples, breaks_s: list[float]) -> Iterator[RtspServer]:
    """Run a server inside the block."""
    server = RtspServer(audio, breaks_s)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        thread.join(5)
