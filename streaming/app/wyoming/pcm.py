"""The audio of a client's chunks, in any usual form, to 16 kHz mono."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from sources._resample import Resampler, mix_down

from ...audio import Samples
from ..server.decoders import MAX_CHANNELS, MAX_RATE, MIN_RATE
from ..server.refusal import Refusal

__all__ = ["PcmDecoder", "PcmFormat"]

_DTYPES = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}
"""By width, as WAV files have them. Those of 3 bytes are widened first."""


@dataclass(frozen=True, slots=True)
class PcmFormat:
    """How samples are stored: interleaved integers, little-endian; 8 bits are unsigned."""

    rate: int
    """Hertz."""
    width: int
    """Bytes of a sample."""
    channels: int

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """From the data of an audio-start or audio-chunk.

        Raises:
            Refusal: "bad_audio"; it is missing, or not one that can be heard.
        """
        given = [data.get(name) for name in ("rate", "width", "channels")]
        if any(type(value) is not int for value in given):
            raise Refusal("bad_audio", "audio needs its rate, width and channels as whole numbers")
        rate, width, channels = cast(list[int], given)
        if not MIN_RATE <= rate <= MAX_RATE:
            raise Refusal(
                "bad_audio",
                f"rate must lie between {MIN_RATE} and {MAX_RATE} Hz, not {_shown(rate)}",
            )
        if width not in _DTYPES:
            raise Refusal("bad_audio", f"width must lie between 1 and 4 bytes, not {_shown(width)}")
        if not 1 <= channels <= MAX_CHANNELS:
            raise Refusal(
                "bad_audio",
                f"channels must lie between 1 and {MAX_CHANNELS}, not {_shown(channels)}",
            )
        return cls(rate, width, channels)


class PcmDecoder:
    """Raw samples of one format in, 16 kHz mono float32 out; the channels are averaged."""

    def __init__(self, form: PcmFormat) -> None:
        self.form = form
        self._resampler = Resampler(form.rate)

    def push(self, data: bytes) -> Samples:
        """What is complete so far, shape ``(n,)``.

        Raises:
            Refusal: "bad_audio"; a sample is cut.
        """
        whole = self.form.width * self.form.channels
        if len(data) % whole:
            raise Refusal(
                "bad_audio",
                f"a chunk of {len(data)} bytes holds no whole number of samples, which have "
                f"{whole} bytes here",
            )
        samples = self._samples(data).reshape(-1, self.form.channels)
        return self._resampler.push(mix_down(samples))

    def flush(self) -> Samples:
        """The rest, a few milliseconds."""
        return self._resampler.flush()

    def _samples(self, data: bytes) -> NDArray[Any]:
        if self.form.width == 3:
            low = np.frombuffer(data, np.uint8).reshape(-1, 3)
            data = np.pad(low, ((0, 0), (1, 0))).tobytes()
        return np.frombuffer(data, _DTYPES[self.form.width])


def _shown(number: int) -> str:
    """A client's number, however many digits that has."""
    text = str(number)
    return text if len(text) <= 12 else f"{text[:12]}..."
