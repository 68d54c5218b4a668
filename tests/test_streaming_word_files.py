from __future__ import annotations

from pathlib import Path

import pytest

from streaming.errors import ConfigurationError
from streaming.word_files import entries, read_hotwords


def test_a_line_is_an_entry_unless_it_is_empty_or_a_comment() -> None:
    text = "# names\n\n  Peter   Schoeffer \n\t# more\nC#\r\nZürich"
    assert list(entries(text)) == [(3, "Peter Schoeffer"), (5, "C#"), (6, "Zürich")]


def test_hotwords_are_read_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\ufeffGutenberg\n# and\nSmith, Jones & Co\n", encoding="utf-8")
    assert read_hotwords(path) == ("Gutenberg", "Smith, Jones & Co")


def test_a_file_that_names_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# nobody\n")
    with pytest.raises(ConfigurationError, match=r"names\.txt names nothing; write one name"):
        read_hotwords(path)
    with pytest.raises(ConfigurationError, match=r"cannot read .*: Is a directory"):
        read_hotwords(tmp_path)
