"""Any media file or stream to audio at its own rate, frame by frame, with PyAV (FFmpeg).

Damage inside a file costs what is damaged: the packets that do not decode, and the jumps in
the timestamps they leave, become gaps. A file that ends before the length its header declares
is an error, raised after the last audio that decodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from streaming.errors import SourceError

from ._open import Header, Location, Media, open_media, read_failure
from ._part import WHOLE, Part
from ._resample import full_scale, mix_down

__all__ = ["JUMP_S", "BeyondEndError", "Block", "BrokenOffError", "decode"]

JUMP_S = 0.1
"""A timestamp this much later than the audio before it means lost audio; less is jitter."""
MAX_JUMP_S = 60.0
"""A timestamp later still, or earlier, is taken for a new clock, not for lost audio."""
MISSING_S = 0.5
"""Audio that may be missing at the end: encoders pad, and headers round."""
LEAD_S = 0.5
"""Decoding begins this long before a part: a frame may need those before it, such as mp3's bit
reservoir (9 frames, 0.24 s) or what Opus asks to be decoded first (0.08 s)."""

_Frames = Generator[tuple[AudioFrame | None, float], None, None]
"""Frames with the seconds that did not decode before each; None with those at the end."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Audio of one decoded frame."""

    samples: NDArray[np.float32]
    """Finite, shape ``(n, channels)``: one channel where they are mixed."""
    rate: int
    """Hertz."""
    lost_s: float
    """Seconds of audio missing before it."""
    lost_reason: str = "damaged"
    end_clock_s: float | None = None
    """Its end by the timestamps of the medium, if it has them."""

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate


class BrokenOffError(SourceError):
    """Reading broke off. What is read next may follow without loss."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class BeyondEndError(SourceError):
    """A part begins where there is no more audio."""


def decode(
    location: Location,
    part: Part = WHOLE,
    *,
    split: bool = False,
    options: Mapping[str, str] | None = None,
    after_clock_s: float | None = None,
    opened: Callable[[Header], None] = lambda header: None,
) -> Generator[Block, None, None]:
    """Decode the audio of a file or URL; blocks on reading. Close it to free the decoder.

    A part is cut to the sample where the medium's timestamps are exact. Matroska's are rounded
    to a millisecond, and so is a place in it.

    Args:
        location: a path, a URL or an open file.
        part: what of it.
        split: keep both channels of a stereo recording instead of mixing all.
        options: FFmpeg's, for a URL.
        after_clock_s: leave out what comes before this time of the medium's own clock, and
            count what is missing from it on as lost.
        opened: called once with what the header says.

    Raises:
        SourceError: it cannot be opened, holds no audio, is damaged beyond reading, or ends
            early. The text names the second where it broke.
    """
    for seeking in (True, False) if part.start_s > LEAD_S else (False,):
        media = open_media(location, options)
        with media.container:
            opened(media.header)
            _check_start(media, part)
            try:
                begun = _sought(media, part.start_s) if seeking else (0.0, _frames(media))
                if begun is not None:
                    yield from _blocks(media, *begun, part, split, after_clock_s)
                    return
            except av.FFmpegError as error:
                reason = read_failure(error)
                raise BrokenOffError(f"{media.name} breaks off: {reason}", reason) from error


def _check_start(media: Media, part: Part) -> None:
    if part.start_s and media.header.live:
        raise SourceError(f"{media.name} is live and has no start to choose; leave it out")
    if media.declared_s is not None and part.start_s >= media.declared_s:
        raise _beyond(media.name, part.start_s, media.declared_s)


def _beyond(name: str, start_s: float, end_s: float) -> BeyondEndError:
    return BeyondEndError(f"cannot start at {start_s:g} s: {name} ends at {end_s:.1f} s")


def _frames(media: Media) -> _Frames:
    bad_s = 0.0
    for packet in media.container.demux(media.stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            bad_s += float((packet.duration or 0) * (packet.time_base or 0))
            continue
        for frame in frames:
            if frame.samples:
                yield frame, bad_s
                bad_s = 0.0
    yield None, bad_s


def _sought(media: Media, start_s: float) -> tuple[float, _Frames] | None:
    """A place at or before ``start_s``, and the frames from there on.

    None if the medium cannot be sought in: it has to be read from its beginning.
    """
    with closing(_frames(media)) as frames:
        first, _ = next(frames)
    time_base = media.stream.time_base
    if first is None or first.time is None or time_base is None:
        return None
    try:
        target = round((first.time + start_s - LEAD_S) / time_base)
        media.container.seek(target, stream=media.stream)
    except av.FFmpegError:
        return None
    frames = _frames(media)
    frame, _ = next(frames)
    if frame is None or frame.time is None or frame.time - first.time > start_s:
        return None
    return frame.time - first.time, _led_by(frame, frames)


def _led_by(frame: AudioFrame, frames: _Frames) -> _Frames:
    yield frame, 0.0
    yield from frames


def _blocks(
    media: Media,
    place_s: float,
    frames: _Frames,
    part: Part,
    split: bool,
    expected_s: float | None,
) -> Generator[Block, None, None]:
    """Cut the part out of the frames, which begin at ``place_s``.

    Where the timestamp of that place is known, ``expected_s``, they may begin around it.
    """
    bad_s = 0.0
    begun = False
    try:
        for frame, bad_s in frames:
            if frame is None:
                break
            if not begun and expected_s is not None and frame.time is not None:
                early_s = expected_s - frame.time
                place_s -= early_s if 0 < early_s < MAX_JUMP_S else 0.0
            lost_s = max(bad_s, _jump_s(frame, expected_s))
            begin_s = place_s + lost_s
            rate = frame.sample_rate
            begin = round(begin_s * rate)
            first = max(0, round(part.start_s * rate) - begin)
            last = frame.samples
            if part.stop_s < math.inf:
                last = min(last, round(part.stop_s * rate) - begin)
            if last <= 0:
                return
            length_s = frame.samples / rate
            expected_s = None if frame.time is None else frame.time + length_s
            if first < last:
                # Of a gap, what lies inside the part.
                lost_s = begin_s - max(place_s, part.start_s) if lost_s and not first else 0.0
                samples = _samples(frame, media.name, begin_s, split)[first:last]
                finite = _finite(samples)
                yield Block(finite, rate, lost_s, end_clock_s=expected_s)
                if len(finite) < len(samples):
                    where_s = begin_s + (first + len(finite)) / rate
                    raise SourceError(
                        f"{media.name} holds a sample that is not a number (NaN or infinite) at "
                        f"{where_s:.1f} s; the audio before it was read; repair or convert the file"
                    )
            place_s = begin_s + length_s
            begun = True
            if last < frame.samples:
                return
    except av.FFmpegError as error:
        reason = read_failure(error)
        raise BrokenOffError(
            f"{media.name} breaks off at {place_s:.1f} s: {reason}; the audio before it was read",
            reason,
        ) from error
    if 0.0 < place_s <= part.start_s:
        raise _beyond(media.name, part.start_s, place_s)
    _check_end(media.name, place_s, bad_s, media.declared_s)


def _jump_s(frame: AudioFrame, expected_s: float | None) -> float:
    if expected_s is None or frame.time is None:
        return 0.0
    jump_s = frame.time - expected_s
    return jump_s if JUMP_S < jump_s < MAX_JUMP_S else 0.0


def _samples(frame: AudioFrame, name: str, start_s: float, split: bool) -> NDArray[np.float32]:
    """The frame's audio, shape ``(n, 2)`` if split, else ``(n, 1)``."""
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
    samples = data.T if frame.format.is_planar else data.reshape(-1, channels)
    if not split:
        return mix_down(samples)[:, np.newaxis]
    if channels != 2:
        many = f"{channels} channel{'s' if channels > 1 else ''}"
        raise SourceError(f"{name} has {many}; --channels split needs 2")
    return full_scale(samples)


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """What comes before the first sample that is not finite."""
    finite = np.isfinite(samples).all(axis=1)
    return samples if finite.all() else samples[: int(np.argmin(finite))]


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
