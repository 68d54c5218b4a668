"""Any media file or stream to mono audio at its own rate, frame by frame, with PyAV (FFmpeg).

Damage inside a file costs what is damaged: the packets that do not decode, and the jumps in
the timestamps they leave, become gaps. A file that ends before the length its header declares
is an error, raised after the last audio that decodes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from streaming.audio import Samples
from streaming.errors import SourceError

from ._resample import mix_down

__all__ = ["Block", "decode", "is_url"]

OPEN_TIMEOUT_S = 15.0
"""How long a server may take to answer."""
READ_TIMEOUT_S = 30.0
"""How long a stream may say nothing."""
JUMP_S = 0.1
"""A timestamp this much later than the audio before it means lost audio; less is jitter."""
MAX_JUMP_S = 60.0
"""A timestamp later still, or earlier, is taken for a new clock, not for lost audio."""
EXACT_FORMATS = frozenset({"wav", "w64", "flac", "aiff", "caf", "mov", "matroska"})
"""Formats whose header tells the length. That of others may be an estimate; mp3 tells it
where it carries a Xing or VBRI header."""
MISSING_S = 0.5
"""Audio that may be missing at the end: encoders pad, and headers round."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Audio of one decoded frame."""

    samples: Samples
    """Mono float32, finite, shape ``(n,)``."""
    rate: int
    """Hertz."""
    lost_s: float
    """Seconds of audio missing before it."""


def is_url(location: str) -> bool:
    """Whether FFmpeg is to open it by a protocol of its own: http, rtsp, ..."""
    return "://" in location


def decode(location: str) -> Generator[Block, None, None]:
    """Decode the audio of a file or URL; blocks on reading. Close it to free the decoder.

    Raises:
        SourceError: it cannot be opened, holds no audio, is damaged beyond reading, or ends
            early. The text names the second where it broke.
    """
    name = location if location.isprintable() else repr(location)  # an error is one line
    with _open(location, name) as container:
        stream = _audio_stream(container, name)
        declared_s = _declared_s(container, stream, location)
        end_s = 0.0
        bad_s = 0.0
        expected_s: float | None = None
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                silent = isinstance(error, av.ExitError)
                reason = f"nothing came for {READ_TIMEOUT_S:g} s" if silent else error.strerror
                raise SourceError(
                    f"{name} breaks off at {end_s:.1f} s: {reason}; the audio before it was read"
                ) from error
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.FFmpegError:
                bad_s += float((packet.duration or 0) * (packet.time_base or 0))
                continue
            for frame in frames:
                if not frame.samples:
                    continue
                lost_s = max(bad_s, _jump_s(frame, expected_s))
                end_s, bad_s = end_s + lost_s, 0.0
                block = _block(frame, lost_s, end_s, name)
                yield block
                _check_finite(frame, block, end_s, name)
                length_s = frame.samples / frame.sample_rate
                end_s += length_s
                expected_s = None if frame.time is None else frame.time + length_s
    _check_end(name, end_s, bad_s, declared_s)


def _open(location: str, name: str) -> InputContainer:
    if is_url(location):
        target, timeout = location, (OPEN_TIMEOUT_S, READ_TIMEOUT_S)
    else:
        _check_file(location, name)
        # Marked as a file, so that "10:30.wav" is not taken for a protocol "10".
        target, timeout = f"file:{location}", None
    try:
        # Tags may be in any encoding; nobody reads them here.
        return av.open(target, "r", timeout=timeout, metadata_errors="ignore")
    except av.InvalidDataError as error:
        raise SourceError(
            f"{name} is not audio that FFmpeg can read, or its header is damaged; "
            "convert it to wav, flac, mp3, ogg, ..."
        ) from error
    except av.ExitError as error:
        raise SourceError(
            f"{name} did not answer within {OPEN_TIMEOUT_S:g} s; check the address"
        ) from error
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot open {name}: {reason}") from error


def _check_file(location: str, name: str) -> None:
    try:
        status = os.stat(location)
    except FileNotFoundError as error:
        raise SourceError(f"{name}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceError(f"cannot open {name}: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise SourceError(f"{name} is a directory; name an audio file in it")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise SourceError(f"{name} is empty (0 bytes); record or copy it again")


def _audio_stream(container: InputContainer, name: str) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream):
        raise SourceError(f"{name} has no audio track that can be read")
    # The codec context is None where FFmpeg has no decoder.
    if not stream.codec_context or stream.codec_context.sample_rate <= 0:
        raise SourceError(
            f"{name} is encoded in a way that FFmpeg here cannot decode; "
            "convert it to wav, flac, mp3, ogg, ..."
        )
    return stream


def _declared_s(container: InputContainer, stream: AudioStream, location: str) -> float | None:
    """Length by the header, or None where it says nothing or only has an estimate."""
    formats = set(container.format.name.split(","))
    declared_s: float | None = None
    if stream.duration and stream.time_base:
        declared_s = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:
        declared_s = container.duration / 1_000_000
    if declared_s is None or not os.path.isfile(location):
        return declared_s if formats & EXACT_FORMATS else None
    if "mp3" in formats:
        with open(location, "rb") as file:
            head = file.read(1 << 16)
        return declared_s if any(tag in head for tag in (b"Xing", b"Info", b"VBRI")) else None
    if "wav" in formats:
        # FFmpeg takes a cut wav file's length from what is there; the header tells the rest.
        with open(location, "rb") as file:
            head = file.read(8)
        size = os.path.getsize(location)
        riff = 8 + int.from_bytes(head[4:], "little") if head[:4] == b"RIFF" else 0
        if size < riff < 0x7FF0_0000:  # recorders write a size near 2 or 4 GiB for "unknown"
            declared_s *= riff / size
    return declared_s if formats & EXACT_FORMATS else None


def _jump_s(frame: AudioFrame, expected_s: float | None) -> float:
    if expected_s is None or frame.time is None:
        return 0.0
    jump_s = frame.time - expected_s
    return jump_s if JUMP_S < jump_s < MAX_JUMP_S else 0.0


def _block(frame: AudioFrame, lost_s: float, start_s: float, name: str) -> Block:
    """The frame's audio, up to the first sample that is not finite."""
    channels = frame.layout.nb_channels
    try:
        data = frame.to_ndarray()
    except ValueError as error:
        raise SourceError(
            f"{name} has samples of format {frame.format.name}, which cannot be read; "
            "convert it to 16 or 32 bits"
        ) from error
    if channels < 1:
        raise SourceError(f"{name} has no channels at {start_s:.1f} s")
    mono = mix_down(data.T if frame.format.is_planar else data.reshape(-1, channels))
    finite = np.isfinite(mono)
    if not finite.all():
        mono = mono[: int(np.argmin(finite))]
    return Block(mono, frame.sample_rate, lost_s)


def _check_finite(frame: AudioFrame, block: Block, start_s: float, name: str) -> None:
    if len(block.samples) < frame.samples:
        where_s = start_s + len(block.samples) / block.rate
        raise SourceError(
            f"{name} holds a sample that is not a number (NaN or infinite) at "
            f"{where_s:.1f} s; the audio before it was read; repair or convert the file"
        )


def _check_end(name: str, end_s: float, bad_s: float, declared_s: float | None) -> None:
    if end_s == 0.0:
        found = "nothing in it decodes" if bad_s else "its length is 0 s"
        raise SourceError(f"{name} holds no audio: {found}; record or copy it again")
    missing_s = bad_s if declared_s is None else declared_s - end_s
    if missing_s > MISSING_S:
        raise SourceError(
            f"{name} breaks off at {end_s:.1f} s of {end_s + missing_s:.1f} s: it is cut off "
            "or damaged; the audio before it was read"
        )
