"""Reader of CTranslate2's ``model.bin``, which may be spread over several files.

The format (version 6) is a list of named arrays; numbers are little-endian and strings are
preceded by their length, a final NUL included:

.. code-block:: text

    u32 version | specification | u32 revision | u32 count
    (name | u8 rank, u32 dims | u8 type | u32 bytes | data)...
    u32 count | (alias, name)...
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

__all__ = ["Ct2File", "Variable"]

_VERSION = 6
_TYPES = {0: "<f4", 1: "<i1", 2: "<i2", 3: "<i4", 4: "<f2"}


@dataclass(frozen=True, slots=True)
class Variable:
    """Where an array is and what it looks like."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    """Byte of the joined parts at which the data starts."""


class Ct2File:
    """A CTranslate2 model, read array by array; a context manager.

    Args:
        parts: the files that make up ``model.bin``, in order.

    Raises:
        ModelError: a part is missing or unreadable, or the whole is not such a model.
    """

    def __init__(self, parts: Sequence[Path]) -> None:
        self._name = parts[0]
        self._stack = ExitStack()
        self._position = 0
        try:
            self._files = [self._stack.enter_context(part.open("rb")) for part in parts]
            self._sizes = [part.stat().st_size for part in parts]
            self.variables = self._read_index()
        except OSError as error:
            self.close()
            raise ModelError(f"cannot read {self._name}: {error.strerror or error}") from error
        except (EOFError, ValueError, KeyError):
            self.close()
            raise ModelError(f"{self._name} is not a sound CTranslate2 model") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def array(self, name: str) -> NDArray[Any]:
        """One array in its stored shape and type.

        Raises:
            ModelError: there is none of this name, or it has an impossible shape.
        """
        variable = self.variables.get(name)
        if variable is None:
            raise ModelError(f"{self._name} has no {name!r}; it is not a Whisper model")
        self._position = variable.offset
        data = self._read(prod(variable.shape) * variable.dtype.itemsize)
        try:
            return np.frombuffer(data, variable.dtype).reshape(variable.shape)
        except ValueError:
            raise ModelError(f"{self._name} has an impossible shape for {name!r}") from None

    def _read_index(self) -> dict[str, Variable]:
        version, _ = self._unpack("I"), self._string()
        if version != _VERSION:
            raise ValueError(version)
        self._unpack("I")
        variables = {}
        for _ in range(self._unpack("I")):
            name = self._string()
            shape = tuple(self._unpack("I") for _ in range(self._unpack("B")))
            dtype = np.dtype(_TYPES[self._unpack("B")])
            n_bytes = self._unpack("I")
            if n_bytes != prod(shape) * dtype.itemsize:
                raise ValueError(name)
            variables[name] = Variable(shape, dtype, self._position)
            self._position += n_bytes
        for _ in range(self._unpack("I")):
            alias = self._string()
            variables[alias] = variables[self._string()]
        return variables

    def _unpack(self, code: str) -> int:
        return int(struct.unpack(f"<{code}", self._read(struct.calcsize(f"<{code}")))[0])

    def _string(self) -> str:
        return self._read(self._unpack("H")).rstrip(b"\0").decode()

    def _read(self, count: int) -> bytearray:
        """The next bytes of the joined parts; an array may lie across a joint."""
        data = bytearray()
        start = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            inside = self._position - start
            if len(data) < count and inside < size:
                file.seek(inside)
                piece = file.read(min(count - len(data), size - inside))
                data += piece
                self._position += len(piece)
            start += size
        if len(data) < count:
            raise EOFError
        return data
