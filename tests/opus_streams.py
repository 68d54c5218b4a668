"""Opus as live programs write it: FFmpeg's Ogg, a browser's WebM; and parts for broken ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray

__all__ = [
    "OPUS_RATE",
    "PRE_SKIP",
    "cluster",
    "element",
    "ogg",
    "ogg_page",
    "opus_packets",
    "simple_block",
    "webm",
    "webm_head",
]

OPUS_RATE = 48_000
PRE_SKIP = 312
"""Samples that libopus puts before the audio."""
PACKET = 960
"""Samples in 20 ms."""
UNKNOWN = b"\x01" + b"\xff" * 7
"""A size that only the end will tell."""


def opus_packets(samples: NDArray[np.float32], channels: int = 1) -> list[bytes]:
    """20 ms each; of 48 kHz audio, shape ``(n,)``."""
    layout = "mono" if channels == 1 else "stereo"
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = OPUS_RATE, layout, "flt"
    encoder.time_base = Fraction(1, OPUS_RATE)
    packets = []
    for start in range(0, len(samples), PACKET):
        packets += encoder.encode(_frame(samples, start, layout))
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets]


def ogg(samples: NDArray[np.float32], codec: str = "libopus") -> bytes:
    """As ``ffmpeg -page_duration 20000 -f ogg`` writes it: a page every 20 ms."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg", options={"page_duration": "20000"}) as container:
        stream = container.add_stream(codec, rate=OPUS_RATE, layout="mono")
        assert isinstance(stream, AudioStream)
        for start in range(0, len(samples), PACKET):
            container.mux(stream.encode(_frame(samples, start, "mono")))
        container.mux(stream.encode(None))
    return file.getvalue()


def ogg_page(stream: int) -> bytes:
    """One that begins a stream of that number, and holds a byte of nothing."""
    page = b"OggS" + struct.pack("<BBqIIIBBB", 0, 2, 0, stream, 0, 0, 1, 1, 0)
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x104C11DB7 if checksum & 0x80000000 else 0)
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def webm(packets: Sequence[bytes], start_ms: int = 0) -> bytes:
    """As a browser's MediaRecorder writes it: no sizes, a cluster a second."""
    clusters = []
    for first in range(0, len(packets), 50):
        blocks = [simple_block(p, 20 * i) for i, p in enumerate(packets[first : first + 50])]
        clusters.append(cluster(start_ms + first * 20, *blocks))
    return webm_head() + b"".join(clusters)


def webm_head(codec: bytes = b"A_OPUS", extra: bytes = b"", channels: int = 1) -> bytes:
    """All before the first cluster.

    Args:
        codec: of the one track.
        extra: elements after the tracks.
        channels: of the one track.
    """
    private = b"OpusHead" + struct.pack("<BBHIHB", 1, channels, PRE_SKIP, OPUS_RATE, 0, 0)
    track = element(
        "ae",
        element("d7", b"\1")
        + element("73c5", b"\1")
        + element("83", b"\2")
        + element("86", codec)
        + element("63a2", private)
        + element("e1", element("b5", struct.pack(">d", OPUS_RATE)) + element("9f", b"\1")),
    )
    header = element("1a45dfa3", element("4282", b"webm"))
    return header + bytes.fromhex("18538067") + UNKNOWN + element("1654ae6b", track) + extra


def cluster(time_ms: int, *blocks: bytes) -> bytes:
    start = bytes.fromhex("1f43b675") + UNKNOWN
    return start + element("e7", time_ms.to_bytes(8, "big")) + b"".join(blocks)


def simple_block(packet: bytes, offset_ms: int = 0) -> bytes:
    return element("a3", b"\x81" + struct.pack(">h", offset_ms) + b"\x80" + packet)


def element(name: str, body: bytes, size: int | None = None) -> bytes:
    """Of Matroska; its id in hexadecimal, and the size that it claims."""
    size = len(body) if size is None else size
    return bytes.fromhex(name) + (size | 1 << 56).to_bytes(8, "big") + body


def _frame(samples: NDArray[np.float32], start: int, layout: str) -> av.AudioFrame:
    channels = 1 if layout == "mono" else 2
    piece = np.repeat(samples[start : start + PACKET], channels)[None]
    frame = av.AudioFrame.from_ndarray(piece, format="flt", layout=layout)
    frame.sample_rate, frame.pts = OPUS_RATE, start
    return frame
