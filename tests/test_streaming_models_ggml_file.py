from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import STATE, ggml_model

from streaming.errors import ModelError
from streaming.models.ggml_file import F16, F32, read_header, read_index

MODEL = ggml_model()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ggml-mine.bin"


def test_a_whole_file_is_walked_to_its_end(file: Path) -> None:
    file.write_bytes(MODEL)
    model = read_index(file)
    assert len(model.tensors) == model.header.n_tensors == 50
    last = model.tensors[-1]
    assert last.offset + last.n_bytes == len(MODEL)


def test_tensors_are_found_where_they_are(file: Path) -> None:
    file.write_bytes(MODEL)
    tensors = {tensor.name: tensor for tensor in read_index(file).tensors}
    weight = tensors["encoder.conv1.weight"]
    assert (weight.shape, weight.type, weight.n_bytes) == ((STATE, 80, 3), F16, STATE * 240 * 2)
    bias = tensors["encoder.conv1.bias"]
    assert (bias.shape, bias.type) == ((STATE, 1), F32)
    data = np.frombuffer(MODEL, "<f4", STATE, bias.offset)
    assert 0.5 < data.std() < 1.5


def test_the_header_alone_can_be_read(file: Path) -> None:
    file.write_bytes(MODEL[:48])
    header = read_header(file)
    assert (header.n_vocab, header.n_mels, header.multilingual) == (96, 80, False)


@settings(max_examples=40, deadline=None)
@given(length=st.integers(0, len(MODEL) - 1))
def test_a_file_cut_anywhere_is_refused(
    length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "ggml-cut.bin"
    file.write_bytes(MODEL[:length])
    with pytest.raises(ModelError) as caught:
        read_index(file)
    assert "\n" not in str(caught.value)


def test_a_file_cut_between_two_tensors_is_refused(file: Path) -> None:
    file.write_bytes(MODEL)
    last = read_index(file).tensors[-2]
    file.write_bytes(MODEL[: last.offset + last.n_bytes])
    with pytest.raises(ModelError, match="is cut off"):
        read_index(file)


def test_a_file_that_goes_on_is_refused(file: Path) -> None:
    file.write_bytes(MODEL)
    first, second = read_index(file).tensors[:2]
    head = 12 + 4 * len(second.shape) + len(second.name)
    start = first.offset + first.n_bytes
    again = MODEL[start : second.offset + second.n_bytes]
    assert len(again) == head + second.n_bytes
    file.write_bytes(MODEL + again)
    with pytest.raises(ModelError, match="51 tensors instead of 50"):
        read_index(file)


@pytest.mark.parametrize(
    ("start", "hint"),
    [
        (b"GGUF", "it is GGUF"),
        (b"version https://git-lfs", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "not a whisper.cpp model file"),
        (b"", "not a whisper.cpp model file"),
    ],
)
def test_other_files_are_refused_by_name(file: Path, start: bytes, hint: str) -> None:
    file.write_bytes(start)
    with pytest.raises(ModelError, match=hint):
        read_index(file)


@pytest.mark.parametrize(
    ("offset", "value", "complaint"),
    [
        (4, -1, "impossible sizes"),
        (8, 750, "contexts"),
        (40, 64, "mel filters"),
        (48, 128, "mel filters"),
        (56 + 80 * 201 * 4, 0, "impossible size"),
        (60 + 80 * 201 * 4, 1 << 30, "impossible size"),
    ],
)
def test_impossible_numbers_are_refused(
    file: Path, offset: int, value: int, complaint: str
) -> None:
    damaged = bytearray(MODEL)
    struct.pack_into("<i", damaged, offset, value)
    file.write_bytes(damaged)
    with pytest.raises(ModelError, match=complaint):
        read_index(file)


def test_an_unknown_tensor_type_is_refused(file: Path) -> None:
    file.write_bytes(MODEL)
    damaged = bytearray(MODEL)
    struct.pack_into("<i", damaged, read_index(file).n_head_bytes + 8, 99)
    file.write_bytes(damaged)
    with pytest.raises(ModelError, match="tensor type 99 is unknown"):
        read_index(file)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        read_index(tmp_path)
