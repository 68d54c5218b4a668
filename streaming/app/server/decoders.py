"""What clients send, in frames of bytes, to 16 kHz mono audio."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sources._resample import Resampler, mix_down

from ...audio import SAMPLE_RATE, Samples
from .opus import OpusDecoder
from .refusal import INVALID, UNSUPPORTED, Refusal

__all__ = [
    "ENCODINGS",
    "MAX_CHANNELS",
    "MAX_RATE",
    "MIN_RATE",
    "Decoder",
    "PcmDecoder",
    "make_decoder",
]

ENCODINGS = ("s16le", "f32le", "opus")
MIN_RATE, MAX_RATE = 8_000, 192_000
"""Hertz, of raw samples."""
MAX_CHANNELS = 8
MAX_SKIP_S = 86_400


class Decoder(Protocol):
    """Takes the audio of one session, however it is cut.

    The samples that come out are numbered by the client's clock: after ``position`` raw samples
    there are ``position * 16000 / rate`` of them, those that `skip` leaves out included, less
    the few milliseconds that a resampler holds back.
    """

    unit: Literal["samples", "bytes"]
    """Of ``position``."""
    position: int
    """How much was taken: samples of one channel at the client's rate, or bytes."""

    async def push(self, data: bytes) -> Samples:
        """Take a frame; what is decoded by now, 16 kHz mono float32, shape ``(n,)``.

        Cancelling loses nothing: the frame is taken or not, as ``position`` says, and what was
        decoded of it comes with the next push.

        Raises:
            Refusal: "bad_audio"; what was decoded before has been given out.
        """
        ...

    def forget_rest(self) -> None:
        """Drop the bytes of a torn sample: the client sends again from ``position`` on."""
        ...

    def skip(self, count: int) -> int:
        """Leave out the next ``count`` raw samples; the number of 16 kHz samples missing then.

        Raises:
            Refusal: "bad_message"; that cannot be done, or not with this encoding.
        """
        ...

    async def finish(self) -> Samples:
        """The rest. Nothing can be pushed after it.

        Raises:
            Refusal: "bad_audio"; nothing that was sent could be decoded.
        """
        ...

    async def aclose(self) -> None:
        """Free what the decoder holds. To be called whatever happened; once is enough."""
        ...


def make_decoder(encoding: str, sample_rate: int, channels: int) -> Decoder:
    """A decoder for one session.

    Args:
        encoding: one of `ENCODINGS`.
        sample_rate: hertz; of raw samples, as Opus tells its own.
        channels: interleaved; of raw samples.

    Raises:
        Refusal: "bad_parameter".
    """
    if encoding == "opus":
        return OpusDecoder()
    if encoding not in ENCODINGS:
        names = ", ".join(ENCODINGS)
        raise Refusal("bad_parameter", f"encoding must be one of {names}, not {encoding[:20]!r}")
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise Refusal(
            "bad_parameter",
            f"sample_rate must lie between {MIN_RATE} and {MAX_RATE} Hz, not {sample_rate}",
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise Refusal(
            "bad_parameter", f"channels must lie between 1 and {MAX_CHANNELS}, not {channels}"
        )
    return PcmDecoder(np.dtype("<f4" if encoding == "f32le" else "<i2"), sample_rate, channels)


class PcmDecoder:
    """Raw samples, interleaved; the channels are averaged.

    Floats beyond [-1, 1] are clipped. One that is not a number counts as silence, as a filter
    in a browser may let a few of them slip; a second of nothing else is refused, since then
    something is wrong that silence would hide.

    Args:
        dtype: ``<i2`` or ``<f4``.
        rate: hertz.
        channels: 1 or more.
    """

    unit: Literal["samples", "bytes"] = "samples"

    def __init__(self, dtype: np.dtype[np.int16 | np.float32], rate: int, channels: int) -> None:
        self.position = 0
        self._dtype = dtype
        self._rate = rate
        self._channels = channels
        self._resampler = Resampler(rate)
        self._rest = b""  # of a sample that was cut
        self._out = 0  # 16 kHz samples given out or missing
        self._not_numbers = 0  # in a row

    async def push(self, data: bytes) -> Samples:
        """See `Decoder`. Of a frame that is refused, nothing is taken."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._dtype.itemsize * self._channels)
        samples = np.frombuffer(data[:whole], self._dtype).reshape(-1, self._channels)
        if self._dtype.kind == "f":
            samples = self._numbers(samples)
        self._rest = data[whole:]
        self.position += len(samples)
        return self._counted(self._resampler.push(mix_down(samples)))

    def forget_rest(self) -> None:
        """See `Decoder`."""
        self._rest = b""

    def skip(self, count: int) -> int:
        """See `Decoder`. What the resampler held back is missing, too: it borders on the gap."""
        if not 0 <= count <= MAX_SKIP_S * self._rate:
            raise Refusal(
                "bad_message",
                f"skip takes a count from 0 to {MAX_SKIP_S * self._rate}; "
                "begin a new session after a longer gap",
                close_code=INVALID,
            )
        if not count:
            return 0
        self.forget_rest()
        self._resampler.flush()
        self.position += count
        missing = self._due()
        self._out += missing
        return missing

    async def finish(self) -> Samples:
        """See `Decoder`. A torn sample at the end is dropped."""
        rest = self._resampler.flush()[: self._due()]
        # Gaps are placed to the nearest sample, so that the pieces may be one short.
        return self._counted(np.pad(rest, (0, self._due() - len(rest))))

    async def aclose(self) -> None:
        """See `Decoder`."""

    def _due(self) -> int:
        """How many 16 kHz samples are to come up to ``position``."""
        return round(self.position * SAMPLE_RATE / self._rate) - self._out

    def _counted(self, samples: Samples) -> Samples:
        self._out += len(samples)
        return samples

    def _numbers(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        finite = np.isfinite(samples)
        good = np.flatnonzero(finite.any(axis=1))
        run = len(samples) - 1 - int(good[-1]) if len(good) else self._not_numbers + len(samples)
        if run > self._rate:
            raise Refusal(
                "bad_audio",
                "a second of samples that are not numbers (NaN or infinite); "
                "check that they are 32-bit floats",
                close_code=UNSUPPORTED,
            )
        self._not_numbers = run
        # Clipped before they are averaged: the sum of huge ones is no number either.
        return np.clip(np.where(finite, samples, np.float32(0)), -1, 1)
