"""Temporary."""

from __future__ import annotations
from typing import Literal, Protocol
import numpy as np
from sources._resample import Resampler, mix_down
from ...audio import Samples


class Decoder(Protocol):
    unit: Literal["samples", "bytes"]
    position: int

    async def push(self, data: bytes) -> Samples: ...
    def skip(self, count: int) -> int: ...
    def forget_rest(self) -> None: ...
    async def finish(self) -> Samples: ...
    async def aclose(self) -> None: ...


class _Raw:
    unit: Literal["samples", "bytes"] = "samples"

    def __init__(self, encoding: str, rate: int, channels: int) -> None:
        self.position = 0
        self._type = np.dtype("<i2" if encoding == "s16le" else "<f4")
        self._rate, self._channels, self._rest = rate, channels, b""
        self._resampler = Resampler(rate)

    async def push(self, data: bytes) -> Samples:
        data = self._rest + data
        size = self._type.itemsize * self._channels
        n = len(data) // size
        self._rest = data[n * size :]
        self.position += n
        return self._resampler.push(
            mix_down(np.frombuffer(data, self._type, n * self._channels).reshape(n, self._channels))
        )

    def skip(self, count: int) -> int:
        self.position += count
        return count * 16000 // self._rate

    def forget_rest(self) -> None:
        self._rest = b""

    async def finish(self) -> Samples:
        return self._resampler.flush()

    async def aclose(self) -> None:
        pass


def make_decoder(encoding: str, sample_rate: int, channels: int) -> Decoder:
    return _Raw(encoding, sample_rate, channels)
