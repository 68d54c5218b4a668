from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_files import write_vocabulary

from streaming.errors import ModelError
from streaming.models.vocabulary_file import read_token_names, token_bytes


def test_tokens_are_the_bytes_behind_the_printable_characters(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.txt"
    expected = write_vocabulary(path)
    assert token_bytes(read_token_names(path))[: len(expected)] == expected


def test_both_kinds_of_file_say_the_same(tmp_path: Path) -> None:
    text, as_json = tmp_path / "vocabulary.txt", tmp_path / "vocabulary.json"
    write_vocabulary(text)
    as_json.write_text(json.dumps(read_token_names(text)), "utf-8")
    assert read_token_names(as_json) == read_token_names(text)


def test_a_missing_vocabulary_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        read_token_names(tmp_path / "vocabulary.txt")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"3"])
def test_a_file_that_is_no_list_of_tokens_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a list of tokens"):
        read_token_names(path)


def test_a_character_that_stands_for_no_byte_is_told() -> None:
    with pytest.raises(ModelError, match="stands for no byte"):
        token_bytes(["the", "a b"])
