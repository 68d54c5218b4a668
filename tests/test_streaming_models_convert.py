from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_files import N_VOCAB, STATE, ct2_arrays, ct2_model, write_vocabulary
from numpy.typing import NDArray

from streaming.errors import ModelError
from streaming.mel_filters import slaney_filters
from streaming.models.convert import convert
from streaming.models.ct2_file import Ct2File
from streaming.models.ggml_file import F16, F32, Tensor, read_index

ARRAYS = ct2_arrays()
MODEL = ct2_model(ARRAYS)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vocabulary") / "vocabulary.txt"
    write_vocabulary(path)
    return path


def parts_of(folder: Path, *pieces: bytes) -> list[Path]:
    paths = [folder / f"model.bin.part{number}" for number in range(len(pieces))]
    for path, piece in zip(paths, pieces, strict=True):
        path.write_bytes(piece)
    return paths


def converted(parts: list[Path], vocabulary: Path) -> bytes:
    output = io.BytesIO()
    convert(parts, vocabulary, output)
    return output.getvalue()


def weights(data: bytes, tensor: Tensor) -> NDArray[Any]:
    dtype = "<f4" if tensor.type == F32 else "<f2"
    count = int(np.prod(tensor.shape))
    return np.frombuffer(data, dtype, count, tensor.offset).reshape(tensor.shape)


@pytest.fixture(scope="module")
def result(
    vocabulary: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, dict[str, Tensor]]:
    folder = tmp_path_factory.mktemp("converted")
    data = converted(parts_of(folder, MODEL), vocabulary)
    path = folder / "ggml-converted.bin"
    path.write_bytes(data)
    return data, {tensor.name: tensor for tensor in read_index(path).tensors}


def test_the_result_is_a_whole_model_file(result: tuple[bytes, dict[str, Tensor]]) -> None:
    assert len(result[1]) == 50


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("decoder.token_embedding.weight", "decoder/embeddings/weight"),
        ("encoder.positional_embedding", "encoder/position_encodings/encodings"),
        ("encoder.conv2.weight", "encoder/conv2/weight"),
        ("encoder.ln_post.weight", "encoder/layer_norm/gamma"),
        ("decoder.ln.bias", "decoder/layer_norm/beta"),
        ("decoder.blocks.0.mlp_ln.weight", "decoder/layer_0/ffn/layer_norm/gamma"),
        ("encoder.blocks.0.mlp.2.bias", "encoder/layer_0/ffn/linear_1/bias"),
        ("decoder.blocks.0.attn.out.weight", "decoder/layer_0/self_attention/linear_1/weight"),
        ("decoder.blocks.0.cross_attn.query.weight", "decoder/layer_0/attention/linear_0/weight"),
        ("decoder.blocks.0.cross_attn.out.bias", "decoder/layer_0/attention/linear_2/bias"),
    ],
)
def test_weights_arrive_unchanged_under_their_new_name(
    result: tuple[bytes, dict[str, Tensor]], name: str, origin: str
) -> None:
    data, tensors = result
    assert (weights(data, tensors[name]) == ARRAYS[origin]).all()


def test_stacked_projections_are_taken_apart(result: tuple[bytes, dict[str, Tensor]]) -> None:
    data, tensors = result
    stacked = ARRAYS["encoder/layer_0/self_attention/linear_0/weight"]
    for index, part in enumerate(("query", "key", "value")):
        found = weights(data, tensors[f"encoder.blocks.0.attn.{part}.weight"])
        assert (found == stacked[STATE * index : STATE * (index + 1)]).all()
    pair = ARRAYS["decoder/layer_0/attention/linear_1/bias"]
    found = weights(data, tensors["decoder.blocks.0.cross_attn.value.bias"])
    assert (found == pair[STATE:]).all()


def test_keys_have_no_bias(result: tuple[bytes, dict[str, Tensor]]) -> None:
    assert not [name for name in result[1] if name.endswith("key.bias")]


def test_only_matrices_and_convolutions_are_halves(
    result: tuple[bytes, dict[str, Tensor]],
) -> None:
    halves = {name for name, tensor in result[1].items() if tensor.type == F16}
    matrices = {name for name, tensor in result[1].items() if len(tensor.shape) > 1}
    singles = {name for name in matrices if name.endswith((".bias", "positional_embedding"))}
    assert halves == matrices - singles
    assert result[1]["encoder.conv1.bias"].shape == (STATE, 1)


def test_the_file_starts_with_filters_and_tokens(
    result: tuple[bytes, dict[str, Tensor]], tmp_path: Path
) -> None:
    filters = slaney_filters(80).tobytes()
    assert result[0][56:].startswith(filters)
    tokens = result[0][56 + len(filters) :]
    assert tokens.startswith(b"\x51\xc4\x00\x00\x01\x00\x00\x00!\x04\x00\x00\x00 the")


def test_the_model_may_be_cut_in_parts_anywhere(
    result: tuple[bytes, dict[str, Tensor]], vocabulary: Path, tmp_path: Path
) -> None:
    middle_of_an_array = len(MODEL) // 3
    pieces = MODEL[:10], MODEL[10:middle_of_an_array], MODEL[middle_of_an_array:]
    assert converted(parts_of(tmp_path, *pieces), vocabulary) == result[0]


def test_a_short_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    path.write_text("!\n" * 50256)
    with pytest.raises(ModelError, match="not Whisper's vocabulary"):
        converted(parts_of(tmp_path, MODEL), path)


@pytest.mark.parametrize("length", [0, 3, 100, len(MODEL) // 2, len(MODEL) - 1])
def test_cut_off_weights_are_refused(length: int, vocabulary: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a sound CTranslate2 model"):
        converted(parts_of(tmp_path, MODEL[:length]), vocabulary)


def test_another_version_of_the_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a sound CTranslate2 model"):
        Ct2File(parts_of(tmp_path, ct2_model(ARRAYS, version=5)))


def test_another_kind_of_model_is_refused(vocabulary: Path, tmp_path: Path) -> None:
    arrays = {"decoder/embeddings/weight": np.zeros((N_VOCAB, STATE), np.float16)}
    with pytest.raises(ModelError, match="not a Whisper model"):
        converted(parts_of(tmp_path, ct2_model(arrays)), vocabulary)


def test_weights_that_do_not_fit_are_refused(vocabulary: Path, tmp_path: Path) -> None:
    stack = "encoder/layer_0/self_attention/linear_0/weight"
    wrong = ARRAYS | {stack: np.zeros((STATE, STATE), np.float16)}
    with pytest.raises(ModelError, match="not a Whisper model"):
        converted(parts_of(tmp_path, ct2_model(wrong)), vocabulary)


def test_an_alias_names_the_same_array(tmp_path: Path) -> None:
    with Ct2File(parts_of(tmp_path, MODEL)) as model:
        alias = model.array("decoder/projection/weight")
        assert (alias == model.array("decoder/embeddings/weight")).all()


def test_a_missing_part_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        Ct2File([tmp_path / "model.bin.part1"])
