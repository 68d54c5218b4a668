"""CTranslate2 weights to a whisper.cpp model file, equal to the official one bit for bit.

Both formats hold OpenAI's float16 weights unchanged; they differ in names, in order and in
that CTranslate2 stacks the query, key and value projections. Whisper's keys have no bias.
The order of the tensors is that of OpenAI's checkpoints, on which the digest depends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..mel_filters import slaney_filters
from .ct2_file import Ct2File
from .ggml_file import F16, F32, ByteWriter, Header, write_head, write_tensor_head
from .vocabulary_file import read_token_names, token_bytes

__all__ = ["convert"]

_N_TOKENS = 50257
"""Tokens that whisper.cpp keeps as text; it makes up the special ones itself."""
_AUDIO_CONTEXT = 1500
_TEXT_CONTEXT = 448
_HEAD_SIZE = 64
"""Every Whisper model has attention heads of 64 dimensions."""

_Named = Iterator[tuple[str, NDArray[Any]]]


def convert(parts: Sequence[Path], vocabulary: Path, output: ByteWriter) -> None:
    """Write the whisper.cpp model file for a CTranslate2 Whisper model in float16.

    Args:
        parts: the files that make up ``model.bin``, in order.
        vocabulary: its ``vocabulary.txt``.
        output: takes the bytes.

    Raises:
        ModelError: the input is not a sound float16 Whisper model.
        OSError: the output cannot be written.
    """
    tokens = _text_tokens(vocabulary)
    try:
        with Ct2File(parts) as model:
            header = _header(model)
            write_head(output, header, slaney_filters(header.n_mels), tokens)
            for name, array in _tensors(model, header):
                # Halves stay halves, except where whisper.cpp computes in single precision.
                single = array.ndim == 1 or name.endswith((".bias", "positional_embedding"))
                write_tensor_head(output, name, array.shape, F32 if single else F16)
                output.write(np.ascontiguousarray(array, "<f4" if single else "<f2"))
    except ValueError as error:  # shapes that do not fit
        raise ModelError(f"{parts[0]} is not a Whisper model: {error}") from error


def _text_tokens(vocabulary: Path) -> list[bytes]:
    names = read_token_names(vocabulary)[:_N_TOKENS]
    if len(names) < _N_TOKENS:
        raise ModelError(f"{vocabulary} is not Whisper's vocabulary: it is too short")
    return token_bytes(names)


def _header(model: Ct2File) -> Header:
    n_vocab, state = model.array("decoder/embeddings/weight").shape
    n_mels = model.array("encoder/conv1/weight").shape[1]
    heads = state // _HEAD_SIZE
    return Header(
        n_vocab=n_vocab,
        n_audio_context=_AUDIO_CONTEXT,
        n_audio_state=state,
        n_audio_heads=heads,
        n_audio_layers=_n_layers(model, "encoder"),
        n_text_context=_TEXT_CONTEXT,
        n_text_state=state,
        n_text_heads=heads,
        n_text_layers=_n_layers(model, "decoder"),
        n_mels=n_mels,
        file_type=1,
    )


def _n_layers(model: Ct2File, side: str) -> int:
    return sum(
        name.startswith(f"{side}/layer_") and name.endswith("/ffn/linear_0/bias")
        for name in model.variables
    )


def _tensors(model: Ct2File, header: Header) -> _Named:
    """Every tensor under OpenAI's name, in the order of OpenAI's checkpoints."""
    yield "decoder.positional_embedding", model.array("decoder/position_encodings/encodings")
    yield "encoder.positional_embedding", model.array("encoder/position_encodings/encodings")
    yield "decoder.token_embedding.weight", model.array("decoder/embeddings/weight")
    for layer in range(header.n_text_layers):
        yield from _block(model, "decoder", layer)
    yield from _norm(model, "decoder.ln", "decoder/layer_norm")
    for conv in ("conv1", "conv2"):
        yield f"encoder.{conv}.weight", model.array(f"encoder/{conv}/weight")
        yield f"encoder.{conv}.bias", model.array(f"encoder/{conv}/bias")[:, None]
    for layer in range(header.n_audio_layers):
        yield from _block(model, "encoder", layer)
    yield from _norm(model, "encoder.ln_post", "encoder/layer_norm")


def _block(model: Ct2File, side: str, layer: int) -> _Named:
    to, origin = f"{side}.blocks.{layer}", f"{side}/layer_{layer}"
    yield from _norm(model, f"{to}.mlp_ln", f"{origin}/ffn/layer_norm")
    yield from _linear(model, f"{to}.mlp.0", f"{origin}/ffn/linear_0")
    yield from _linear(model, f"{to}.mlp.2", f"{origin}/ffn/linear_1")
    yield from _attention(model, f"{to}.attn", f"{origin}/self_attention", "qkv")
    if side == "decoder":
        yield from _attention(model, f"{to}.cross_attn", f"{origin}/attention", "q", "kv")


def _norm(model: Ct2File, to: str, origin: str) -> _Named:
    yield f"{to}.weight", model.array(f"{origin}/gamma")
    yield f"{to}.bias", model.array(f"{origin}/beta")


def _linear(model: Ct2File, to: str, origin: str) -> _Named:
    yield f"{to}.weight", model.array(f"{origin}/weight")
    yield f"{to}.bias", model.array(f"{origin}/bias")


def _attention(model: Ct2File, to: str, origin: str, *stacks: str) -> _Named:
    """One attention; ``stacks`` says which projections each input layer holds."""
    names = {"q": "query", "k": "key", "v": "value"}
    yield from _norm(model, f"{to}_ln", f"{origin}/layer_norm")
    for index, stack in enumerate(stacks):
        weights = np.split(model.array(f"{origin}/linear_{index}/weight"), len(stack))
        biases = np.split(model.array(f"{origin}/linear_{index}/bias"), len(stack))
        for letter, weight, bias in zip(stack, weights, biases, strict=True):
            yield f"{to}.{names[letter]}.weight", weight
            if letter != "k":
                yield f"{to}.{names[letter]}.bias", bias
    yield from _linear(model, f"{to}.out", f"{origin}/linear_{len(stacks)}")
