"""Small model files in both formats, built weight by weight for tests."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.mel_filters import slaney_filters
from streaming.models.ggml_file import F16, F32, Header, write_head, write_tensor_head

STATE = 64
N_VOCAB = 50300


def ggml_model(*, seed: int = 0, n_vocab: int = 96, n_layers: int = 1) -> bytes:
    """A whole whisper.cpp file with random float16 weights."""
    rng = np.random.default_rng(seed)
    sizes = (n_vocab, 1500, STATE, 1, n_layers, 448, STATE, 1, n_layers, 80, 1)
    header = Header(*sizes)
    out = io.BytesIO()
    write_head(out, header, slaney_filters(80), [b" the", b"", b"\xff"])
    for name, shape in _shapes(n_vocab, n_layers).items():
        weights = rng.normal(size=shape)
        single = len(shape) == 1 or name.endswith((".bias", "positional_embedding"))
        write_tensor_head(out, name, shape, F32 if single else F16)
        out.write(weights.astype("<f4" if single else "<f2").tobytes())
    return out.getvalue()


def _shapes(n_vocab: int, n_layers: int) -> dict[str, tuple[int, ...]]:
    square, row = (STATE, STATE), (STATE,)
    shapes: dict[str, tuple[int, ...]] = {
        "decoder.positional_embedding": (448, STATE),
        "encoder.positional_embedding": (1500, STATE),
        "decoder.token_embedding.weight": (n_vocab, STATE),
        "encoder.conv1.weight": (STATE, 80, 3),
        "encoder.conv1.bias": (STATE, 1),
        "encoder.conv2.weight": (STATE, STATE, 3),
        "encoder.conv2.bias": (STATE, 1),
    }
    for norm in ("decoder.ln", "encoder.ln_post"):
        shapes |= {f"{norm}.weight": row, f"{norm}.bias": row}
    for side, attentions in (("decoder", ("attn", "cross_attn")), ("encoder", ("attn",))):
        for layer in range(n_layers):
            block = f"{side}.blocks.{layer}"
            for norm in ("mlp_ln", *(f"{name}_ln" for name in attentions)):
                shapes |= {f"{block}.{norm}.weight": row, f"{block}.{norm}.bias": row}
            shapes |= {
                f"{block}.mlp.0.weight": (4 * STATE, STATE),
                f"{block}.mlp.0.bias": (4 * STATE,),
                f"{block}.mlp.2.weight": (STATE, 4 * STATE),
                f"{block}.mlp.2.bias": row,
            }
            for name in attentions:
                for part in ("query", "key", "value", "out"):
                    shapes[f"{block}.{name}.{part}.weight"] = square
                    if part != "key":
                        shapes[f"{block}.{name}.{part}.bias"] = row
    return shapes


def ct2_arrays(seed: int = 0) -> dict[str, NDArray[Any]]:
    """The arrays of a CTranslate2 Whisper model with one layer on each side."""
    rng = np.random.default_rng(seed)

    def half(*shape: int) -> NDArray[np.float16]:
        return rng.normal(size=shape).astype(np.float16)

    def linear(name: str, n_out: int, n_in: int) -> dict[str, NDArray[Any]]:
        return {f"{name}/weight": half(n_out, n_in), f"{name}/bias": half(n_out)}

    def norm(name: str) -> dict[str, NDArray[Any]]:
        return {f"{name}/layer_norm/gamma": half(STATE), f"{name}/layer_norm/beta": half(STATE)}

    arrays: dict[str, NDArray[Any]] = {
        "decoder/embeddings/weight": half(N_VOCAB, STATE),
        "decoder/position_encodings/encodings": half(448, STATE),
        "encoder/position_encodings/encodings": half(1500, STATE),
        "encoder/conv1/weight": half(STATE, 80, 3),
        "encoder/conv1/bias": half(STATE),
        "encoder/conv2/weight": half(STATE, STATE, 3),
        "encoder/conv2/bias": half(STATE),
    }
    for side in ("decoder", "encoder"):
        layer = f"{side}/layer_0"
        arrays |= norm(side) | norm(f"{layer}/ffn") | norm(f"{layer}/self_attention")
        arrays |= linear(f"{layer}/ffn/linear_0", 4 * STATE, STATE)
        arrays |= linear(f"{layer}/ffn/linear_1", STATE, 4 * STATE)
        arrays |= linear(f"{layer}/self_attention/linear_0", 3 * STATE, STATE)
        arrays |= linear(f"{layer}/self_attention/linear_1", STATE, STATE)
    cross = "decoder/layer_0/attention"
    arrays |= norm(cross) | linear(f"{cross}/linear_0", STATE, STATE)
    arrays |= linear(f"{cross}/linear_1", 2 * STATE, STATE)
    return arrays | linear(f"{cross}/linear_2", STATE, STATE)


def ct2_model(arrays: Mapping[str, NDArray[Any]], *, version: int = 6) -> bytes:
    """A CTranslate2 ``model.bin`` with these arrays, and an alias of the first one."""

    def string(text: str) -> bytes:
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    types = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    out = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(arrays))
    pieces = [out]
    for name, array in arrays.items():
        pieces.append(string(name) + struct.pack("<B", array.ndim))
        pieces.append(struct.pack(f"<{array.ndim}I", *array.shape))
        pieces.append(struct.pack("<BI", types[array.dtype.name], array.nbytes))
        pieces.append(array.tobytes())
    pieces.append(struct.pack("<I", 1) + string("decoder/projection/weight"))
    pieces.append(string(next(iter(arrays))))
    return b"".join(pieces)


def write_vocabulary(path: Path) -> list[bytes]:
    """A vocabulary of the right length; returns what its text tokens stand for."""
    fixed = {"!": b"!", "Ġthe": b" the", "": b"", "ÿ": b"\xff", "Ċ": b"\n", "Ń": b"\xad"}
    fillers = [f"w{i}" for i in range(N_VOCAB - len(fixed))]
    path.write_text("\n".join([*fixed, *fillers]) + "\n", "utf-8", newline="\n")
    return [*fixed.values(), *(filler.encode() for filler in fillers)][:50257]
