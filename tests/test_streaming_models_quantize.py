from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from model_files import ggml_model
from numpy.typing import NDArray

from streaming.errors import ModelError
from streaming.models.ggml_file import F16, F32, Q8_0, read_index
from streaming.models.quantize import quantize, quantize_blocks

HALVES = hnp.arrays(
    np.float16, st.integers(1, 4).map(lambda n: 32 * n), elements=st.floats(-8, 8, width=16)
)


@given(HALVES)
def test_a_weight_moves_by_at_most_half_a_step(weights: NDArray[np.float16]) -> None:
    blocks = quantize_blocks(weights)
    exact = np.abs(weights.astype(np.float64).reshape(-1, 32)).max(axis=1, keepdims=True) / 127
    restored = exact * blocks["weights"]
    assert (np.abs(restored - weights.reshape(-1, 32)) <= exact * 0.5001 + 1e-12).all()
    np.testing.assert_allclose(blocks["scale"], exact[:, 0], rtol=1e-3, atol=1e-7)


def test_ties_go_away_from_zero() -> None:
    weights = np.zeros(32, np.float32)
    weights[:6] = 127, 0.5, -0.5, 1.5, 2.5, -2.5
    blocks = quantize_blocks(weights)
    assert blocks["scale"][0] == 1
    assert blocks["weights"][0, :6].tolist() == [127, 1, -1, 2, 3, -3]


def test_a_value_just_below_a_tie_goes_towards_zero() -> None:
    weights = np.zeros(32, np.float32)
    weights[:2] = 127, np.nextafter(np.float32(0.5), np.float32(0))
    assert quantize_blocks(weights)["weights"][0, 1] == 0


def test_a_block_of_zeros_stays_zero() -> None:
    blocks = quantize_blocks(np.zeros(64, np.float16))
    assert not blocks["scale"].any()
    assert not blocks["weights"].any()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "ggml-mine.bin"
    path.write_bytes(ggml_model(n_vocab=20_000))  # more weights than are quantized at once
    return path


def test_a_quantized_file_is_whole_and_about_half_as_large(source: Path) -> None:
    target = source.with_name("ggml-mine-q8_0.bin")
    with target.open("wb") as output:
        quantize(source, output)
    model, original = read_index(target), read_index(source)
    assert model.header.file_type == 2007
    assert [t.name for t in model.tensors] == [t.name for t in original.tensors]
    assert [t.shape for t in model.tensors] == [t.shape for t in original.tensors]
    assert 0.5 < target.stat().st_size / source.stat().st_size < 0.7


def test_only_matrices_are_quantized(source: Path) -> None:
    target = source.with_name("ggml-mine-q8_0.bin")
    with target.open("wb") as output:
        quantize(source, output)
    types = {tensor.name: tensor.type for tensor in read_index(target).tensors}
    assert types["decoder.token_embedding.weight"] == Q8_0
    assert types["encoder.blocks.0.mlp.0.weight"] == Q8_0
    assert types["encoder.conv1.weight"] == F16
    assert types["encoder.conv1.bias"] == F32
    assert types["encoder.positional_embedding"] == F32
    assert types["decoder.ln.weight"] == F32


def test_quantizing_in_slices_loses_no_weight(source: Path) -> None:
    output = io.BytesIO()
    quantize(source, output)
    data, original = output.getvalue(), source.read_bytes()
    target = source.with_name("ggml-mine-q8_0.bin")
    target.write_bytes(data)
    name = "decoder.token_embedding.weight"
    (before,) = [t for t in read_index(source).tensors if t.name == name]
    (after,) = [t for t in read_index(target).tensors if t.name == name]
    weights = np.frombuffer(original, "<f2", before.n_bytes // 2, before.offset)
    expected = quantize_blocks(weights).tobytes()
    assert data[after.offset : after.offset + after.n_bytes] == expected


def test_a_quantized_model_is_not_quantized_again(source: Path) -> None:
    target = source.with_name("ggml-mine-q8_0.bin")
    with target.open("wb") as output:
        quantize(source, output)
    with pytest.raises(ModelError, match="quantized already"):
        quantize(target, io.BytesIO())
