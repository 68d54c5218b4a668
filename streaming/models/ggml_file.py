"""The file format of whisper.cpp models: reading its index, writing its pieces.

A file is a magic number, eleven sizes, the mel filters, the token list and then the tensors
one after another until the end; numbers are little-endian int32. There is no checksum and no
table of contents, so the only way to know that a file is whole is to walk it:

.. code-block:: text

    "ggml" magic | 11 sizes | n_mels, n_bins, filters f32 | n_tokens, (length, bytes)...
    (n_dims, name length, type | dims, innermost first | name | data)...
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..mel_filters import N_BINS

__all__ = [
    "F16",
    "F32",
    "MAGIC",
    "Q8_0",
    "ByteWriter",
    "GgmlFile",
    "Header",
    "Tensor",
    "data_size",
    "read_header",
    "read_index",
    "write_head",
    "write_tensor_head",
]

MAGIC = struct.pack("<i", 0x67676D6C)
"""First bytes of every file."""

F32, F16, Q8_0 = 0, 1, 8
"""Tensor types this package writes; `_BLOCKS` has those it can walk over."""

_BLOCKS = {
    F32: (1, 4),
    F16: (1, 2),
    2: (32, 18),  # q4_0
    3: (32, 20),  # q4_1
    6: (32, 22),  # q5_0
    7: (32, 24),  # q5_1
    Q8_0: (32, 34),
}
"""Type -> (weights, bytes) in a block."""

_MAX_NAME = 128
_MAX_TOKEN = 1024
_MAX_SIZE = 1 << 20  # no dimension of a Whisper model comes near


class ByteWriter(Protocol):
    """What a model is written to."""

    def write(self, data: Any, /) -> int:
        """Take any contiguous buffer."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """The sizes of a model, in the order of the file."""

    n_vocab: int
    n_audio_context: int
    n_audio_state: int
    n_audio_heads: int
    n_audio_layers: int
    n_text_context: int
    n_text_state: int
    n_text_heads: int
    n_text_layers: int
    n_mels: int
    file_type: int
    """0 f32, 1 f16, otherwise 1000 x the version of the quantization + its type."""

    @property
    def multilingual(self) -> bool:
        """Whether the vocabulary has languages besides English."""
        return self.n_vocab >= 51865

    @property
    def n_tensors(self) -> int:
        """How many tensors a whole file has: 15 for an encoder block, 24 for a decoder block."""
        return 11 + 15 * self.n_audio_layers + 24 * self.n_text_layers


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor is and what it looks like."""

    name: str
    shape: tuple[int, ...]
    """Outermost dimension first, as in numpy."""
    type: int
    offset: int
    """Byte of the file at which the data starts."""
    n_bytes: int


@dataclass(frozen=True, slots=True)
class GgmlFile:
    """A model file that was walked from end to end."""

    header: Header
    n_head_bytes: int
    """Bytes before the first tensor."""
    tensors: tuple[Tensor, ...]


def data_size(shape: Iterable[int], tensor_type: int) -> int:
    """Bytes that a tensor's data takes."""
    weights, n_bytes = _BLOCKS[tensor_type]
    return prod(shape) // weights * n_bytes


class _Walker:
    """Reads numbers and skips data, and never runs past the end of the file unnoticed."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.offset = file.tell()

    def ints(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.bytes(4 * count))

    def size_between(self, low: int, high: int) -> int:
        (value,) = self.ints(1)
        if not low <= value <= high:
            raise ValueError(f"an impossible size at byte {self.offset - 4}")
        return value

    def bytes(self, count: int) -> bytes:
        data = self.file.read(count)
        if len(data) < count:
            raise EOFError
        self.offset += count
        return data

    def skip(self, count: int) -> None:
        if self.offset + count > self.size:
            raise EOFError
        self.offset += count
        self.file.seek(self.offset)


def read_index(path: Path) -> GgmlFile:
    """Walk a model file from end to end without reading its weights.

    Raises:
        ModelError: not a whole, sound whisper.cpp model file, or unreadable.
    """
    with _reading(path) as walker:
        return _walk(walker)


def read_header(path: Path) -> Header:
    """The sizes of a model, without a look at the rest of its file.

    Raises:
        ModelError: not a whisper.cpp model file, or unreadable.
    """
    with _reading(path) as walker:
        return _walk_header(walker)


@contextmanager
def _reading(path: Path) -> Iterator[_Walker]:
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
            if start != MAGIC:
                raise ModelError(f"{path} is not a whisper.cpp model file{_hint(start)}")
            yield _Walker(file, path.stat().st_size)
    except EOFError:
        raise ModelError(f"{path} is cut off: it ends before the model does") from None
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _hint(start: bytes) -> str:
    if start == b"GGUF":
        return ": it is GGUF, which whisper.cpp does not read; a ggml-*.bin file is needed"
    if start == b"vers":
        return ": it is a Git LFS pointer; fetch the file itself with 'git lfs pull'"
    return "; a ggml-*.bin file is needed"


def _walk_header(walker: _Walker) -> Header:
    header = Header(*walker.ints(11))
    if min(astuple(header)) < 0 or max(astuple(header)) > _MAX_SIZE:
        raise ValueError("impossible sizes in its header")
    if (header.n_audio_context, header.n_text_context) != (1500, 448):
        raise ValueError("its contexts are not those of a Whisper model")
    return header


def _walk(walker: _Walker) -> GgmlFile:
    header = _walk_header(walker)
    n_mels, n_bins = walker.ints(2)
    if n_mels != header.n_mels or n_mels not in (80, 128) or n_bins != N_BINS:
        raise ValueError("its mel filters are not those of a Whisper model")
    walker.skip(4 * n_mels * n_bins)
    for _ in range(walker.size_between(1, header.n_vocab)):
        walker.bytes(walker.size_between(0, _MAX_TOKEN))
    n_head_bytes = walker.offset

    tensors = []
    while walker.offset < walker.size:
        tensors.append(_walk_tensor(walker))
    if len(tensors) < header.n_tensors:
        raise EOFError
    if len(tensors) > header.n_tensors:
        raise ValueError(f"{len(tensors)} tensors instead of {header.n_tensors}")
    return GgmlFile(header, n_head_bytes, tuple(tensors))


def _walk_tensor(walker: _Walker) -> Tensor:
    n_dims = walker.size_between(1, 3)
    n_name = walker.size_between(1, _MAX_NAME)
    (tensor_type,) = walker.ints(1)
    if tensor_type not in _BLOCKS:
        raise ValueError(f"tensor type {tensor_type} is unknown")
    shape = tuple(walker.size_between(1, _MAX_SIZE) for _ in range(n_dims))[::-1]
    name = walker.bytes(n_name).decode("ascii")
    offset, n_bytes = walker.offset, data_size(shape, tensor_type)
    walker.skip(n_bytes)
    return Tensor(name, shape, tensor_type, offset, n_bytes)


def write_head(
    file: ByteWriter, header: Header, filters: NDArray[np.float32], tokens: Iterable[bytes]
) -> None:
    """Write everything before the tensors; ``filters`` has shape ``(n_mels, n_bins)``."""
    file.write(MAGIC)
    file.write(struct.pack("<11i", *astuple(header)))
    file.write(struct.pack("<2i", *filters.shape))
    file.write(filters.astype("<f4").tobytes())
    listed = [struct.pack("<i", len(token)) + token for token in tokens]
    file.write(struct.pack("<i", len(listed)) + b"".join(listed))


def write_tensor_head(
    file: ByteWriter, name: str, shape: tuple[int, ...], tensor_type: int
) -> None:
    """Write what precedes a tensor's data."""
    encoded = name.encode("ascii")
    file.write(struct.pack("<3i", len(shape), len(encoded), tensor_type))
    file.write(struct.pack(f"<{len(shape)}i", *reversed(shape)))
    file.write(encoded)
