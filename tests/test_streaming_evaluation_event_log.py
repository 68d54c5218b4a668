from __future__ import annotations

from pathlib import Path

import pytest

from streaming.errors import ConfigurationError
from streaming.evaluation import is_log, read_log
from streaming.events import Flushed, Notice, SessionStarted, event_to_json

LINES = [event_to_json(SessionStarted()), event_to_json(Flushed(at_s=1.5, at_sample=24_000))]
NEWER = '{"type": "from_the_future", "seq": 7}'


def test_a_log_is_read_back_without_what_is_newer(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([LINES[0], NEWER, LINES[1]]) + "\n")
    assert read_log(path) == [SessionStarted(), Flushed(at_s=1.5, at_sample=24_000)]
    assert is_log(path)


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([LINES[0], LINES[1][:-9]]))
    assert read_log(path) == [SessionStarted()]


def test_a_log_that_was_cut_off_inside_a_character_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    last = event_to_json(Notice(message="é")).encode()
    path.write_bytes(LINES[0].encode() + b"\n" + last[: last.index("é".encode()) + 1])
    assert read_log(path) == [SessionStarted()]


def test_line_breaks_that_text_has_besides_end_no_line_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    notice = Notice(message="one\u2028two\x85three\x0cfour")
    path.write_text(event_to_json(notice) + "\n", encoding="utf-8")
    assert read_log(path) == [notice]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"{LINES[0]}\n{{}}\n{LINES[1]}\n", r"log.jsonl, line 2, is no event"),
        ("hello\nworld\n", r"log.jsonl, line 1, is no event"),
        ('{"type": "committed", "words": [1]}\n', "line 1, is no event"),
        (b"\xff\xfe\n", "line 1, is no event"),
        (None, "cannot read .*: No such file"),
    ],
)
def test_what_is_no_log_is_told(content: str | bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=says) as error:
        read_log(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"{}\n", b"\xff\n", NEWER.encode()])
def test_other_files_do_not_look_like_one(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert not is_log(path)
    assert not is_log(tmp_path)
