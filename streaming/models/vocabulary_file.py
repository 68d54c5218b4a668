"""Names of the tokens, as a CTranslate2 model's vocabulary file has them.

GPT-2 writes bytes as printable characters: those that are printable in Latin-1 stand for
themselves, the others are counted up from U+0100. Special tokens look like ``<|en|>``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..errors import ModelError

__all__ = ["read_token_names", "token_bytes"]


def read_token_names(vocabulary: Path) -> list[str]:
    """Every token's name, by id, from a ``vocabulary.txt`` or ``vocabulary.json``.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        text = vocabulary.read_bytes().decode()
        if vocabulary.suffix == ".json":
            return [str(name) for name in json.loads(text)]
        return text.removesuffix("\n").split("\n")
    except OSError as error:
        raise ModelError(f"cannot read {vocabulary}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError):
        raise ModelError(f"{vocabulary} is not a list of tokens") from None


def token_bytes(names: Sequence[str]) -> list[bytes]:
    """The bytes of text tokens, by their names.

    Raises:
        ModelError: a character stands for no byte.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable}
    byte_of |= {chr(0x100 + rank): byte for rank, byte in enumerate(others)}
    try:
        return [bytes(byte_of[character] for character in name) for name in names]
    except KeyError as error:
        raise ModelError(f"{error} in the vocabulary stands for no byte of text") from None
