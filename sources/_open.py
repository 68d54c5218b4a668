"""Opens any media file or stream with PyAV (FFmpeg) and tells what its header says."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal
from urllib.parse import urlsplit

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from streaming.errors import SourceError

from ._address import is_url, shown

__all__ = ["Header", "Kind", "Location", "Media", "open_media", "read_failure"]

Location = str | BinaryIO
"""A path, a URL, or an open file that can be sought in, which may come from a stranger."""

OPEN_TIMEOUT_S = 15.0
"""How long a server may take to answer."""
READ_TIMEOUT_S = 30.0
"""How long a stream may say nothing."""
EXACT_FORMATS = frozenset({"wav", "w64", "flac", "aiff", "caf", "mov", "matroska"})
"""Formats whose header tells the length. That of others may be an estimate; mp3 tells it
where it carries a Xing or VBRI header."""
TELLING_FORMATS = EXACT_FORMATS | {"mp3", "ogg", "hls"}
"""Formats whose length is good enough to show how far one is."""
PLAIN_FORMATS = (
    "aac ac3 aiff amr amrnb amrwb ape asf au avi caf eac3 flac flv matroska mov mp3 mpeg mpegts "
    "ogg tta voc w64 wav wv"
)
"""What an open file may be. Playlists and scripts are left out: they name files and addresses
that FFmpeg would read in the name of whoever runs this."""
HEAD_BYTES = 1 << 16
"""Of a file, in which it is looked for what FFmpeg does not tell."""
DEFAULT_OPTIONS = {"rtsp_flags": "prefer_tcp"}
"""FFmpeg would ask for UDP first, which loses audio and does not pass firewalls."""


Kind = Literal["recording", "hls", "rtsp", "radio", "stream"]
"""hls is a playlist that may grow; its timestamps go on when it is opened again. radio is what
calls itself so (icy headers), stream what else has no length and cannot be sought in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of a medium once it is open."""

    kind: Kind
    length_s: float | None
    """Seconds from its first sample to its end; None if that is not known."""

    @property
    def live(self) -> bool:
        """It goes on whether or not anybody listens."""
        return self.kind != "recording"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An open medium."""

    name: str
    """For messages."""
    container: InputContainer
    stream: AudioStream
    header: Header
    declared_s: float | None
    """Length by its header where that can be relied on."""


def read_failure(error: av.FFmpegError) -> str:
    """Why reading failed, in a few words."""
    if isinstance(error, av.ExitError):
        return f"nothing came for {READ_TIMEOUT_S:g} s"
    return str(error.strerror)


def open_media(location: Location, options: Mapping[str, str] | None = None) -> Media:
    """Open a file or URL; blocks. Close its container; an open file stays open.

    Args:
        location: a path, a URL or an open file.
        options: FFmpeg's, for a URL.

    Raises:
        SourceError: it cannot be opened or holds no audio that can be read.
    """
    name = shown(location) if isinstance(location, str) else "the file"
    container = _open(location, name, options or {})
    try:
        stream = _audio_stream(container, name)
        declared_s = _declared_s(container, stream, location)
        header = _header(container, stream, location, declared_s)
    except BaseException:
        container.close()
        raise
    return Media(
        name=name, container=container, stream=stream, header=header, declared_s=declared_s
    )


def _open(location: Location, name: str, options: Mapping[str, str]) -> InputContainer:
    target: Location
    timeout: tuple[float, float] | None
    options = {"codec_whitelist": _audio_decoders(), **options}
    if not isinstance(location, str):
        if not location.seek(0, os.SEEK_END):
            raise SourceError(_empty(name))
        location.seek(0)
        target, timeout = location, None
        options = {**options, "format_whitelist": PLAIN_FORMATS.replace(" ", ",")}
    elif is_url(location):
        target, timeout = location, (OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        if urlsplit(location).scheme.startswith("rtsp"):
            options = {**DEFAULT_OPTIONS, **options}
    else:
        _check_file(location, name)
        # Marked as a file, so that "10:30.wav" is not taken for a protocol "10".
        target, timeout = f"file:{location}", None
    try:
        # Tags may be in any encoding; nobody reads them here.
        return av.open(
            target, "r", options=dict(options), timeout=timeout, metadata_errors="ignore"
        )
    except (av.InvalidDataError, av.ArgumentError) as error:  # the latter: not of PLAIN_FORMATS
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


@functools.cache
def _audio_decoders() -> str:
    """FFmpeg's names of them, as the list that it takes.

    To know what is in a file it would decode pictures and films too: a cover of a few kilobytes
    can be gigabytes large.
    """
    names = set()
    for name in av.codecs_available:
        with contextlib.suppress(av.codec.codec.UnknownCodecError):  # has an encoder alone
            codec = av.Codec(name, "r")
            if codec.type == "audio":
                names.add(codec.name)
    return ",".join(sorted(names))


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
        raise SourceError(_empty(name))


def _empty(name: str) -> str:
    return f"{name} is empty (0 bytes); record or copy it again"


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
    for other in container.streams:
        # Or FFmpeg would fetch every variant of an HLS stream.
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def _header(
    container: InputContainer, stream: AudioStream, location: Location, declared_s: float | None
) -> Header:
    formats = set(container.format.name.split(","))
    kind: Kind = "recording"
    if formats & {"rtsp", "rtp", "sdp"}:
        kind = "rtsp"
    elif isinstance(location, str) and is_url(location) and container.duration is None:
        if "hls" in formats:
            kind = "hls"
        elif container.size < 0:
            radio = any(key.startswith("icy-") for key in container.metadata)
            kind = "radio" if radio else "stream"
    if kind != "recording":
        return Header(kind=kind, length_s=None)
    length_s = declared_s
    if length_s is None and formats & TELLING_FORMATS:
        if stream.duration and stream.time_base:
            length_s = float(stream.duration * stream.time_base)
        elif container.duration:
            length_s = container.duration / 1_000_000
    return Header(kind=kind, length_s=length_s)


def _declared_s(container: InputContainer, stream: AudioStream, location: Location) -> float | None:
    """Length by the header, or None where it says nothing or only has an estimate."""
    formats = set(container.format.name.split(","))
    declared_s: float | None = None
    if stream.duration and stream.time_base:
        declared_s = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:
        declared_s = container.duration / 1_000_000
    if declared_s is None or (isinstance(location, str) and not os.path.isfile(location)):
        return declared_s if formats & EXACT_FORMATS else None
    if "mp3" in formats:
        head, _ = _head(location)
        return declared_s if any(tag in head for tag in (b"Xing", b"Info", b"VBRI")) else None
    if "wav" in formats:
        # FFmpeg takes a cut wav file's length from what is there; the header tells the rest.
        head, size = _head(location)
        riff = 8 + int.from_bytes(head[4:8], "little") if head[:4] == b"RIFF" else 0
        if size < riff < 0x7FF0_0000:  # recorders write a size near 2 or 4 GiB for "unknown"
            declared_s *= riff / size
    return declared_s if formats & EXACT_FORMATS else None


def _head(location: Location) -> tuple[bytes, int]:
    """The beginning of a file, and its size."""
    if isinstance(location, str):
        with open(location, "rb") as file:
            return _head(file)
    place = location.tell()
    size = location.seek(0, os.SEEK_END)
    location.seek(0)
    head = location.read(HEAD_BYTES)
    location.seek(place)
    return head, size
