from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import ModelServer, model_server

from streaming.errors import ModelError
from streaming.models import hub
from streaming.models.ggml_file import MAGIC
from streaming.models.hub import download

CONTENT = MAGIC + bytes(range(256)) * 8000  # about 2 MB: several blocks


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with model_server() as server:
        server.files["/model.bin"] = CONTENT
        yield server


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "model.bin.part"


def fetch(server: ModelServer, part: Path, size_bytes: int = len(CONTENT)) -> list[int]:
    told: list[int] = []
    url = f"{server.url}/model.bin"
    download(url, part, size_bytes, magic=MAGIC, advance=told.append, pause_s=0.001)
    return told


def test_a_download_brings_the_file_and_tells_how_far_it_is(
    server: ModelServer, part: Path
) -> None:
    told = fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert server.requests == [("/model.bin", None)]


def test_a_connection_that_is_cut_is_taken_up_where_it_was(server: ModelServer, part: Path) -> None:
    server.cuts = [700_000, 500_001]
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [
        None,
        "bytes=700000-",
        "bytes=1200001-",
    ]
    assert server.sent == len(CONTENT)


def test_what_an_earlier_run_left_is_not_fetched_again(server: ModelServer, part: Path) -> None:
    part.write_bytes(CONTENT[:-5])
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == 5


def test_a_whole_part_needs_no_request(server: ModelServer, part: Path) -> None:
    part.write_bytes(CONTENT)
    fetch(server, part)
    assert server.requests == []


def test_a_part_longer_than_the_file_is_fetched_anew(server: ModelServer, part: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.requests == [("/model.bin", None)]


def test_a_server_without_ranges_starts_over(server: ModelServer, part: Path) -> None:
    server.ranges = False
    server.cuts = [700_000]
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == 700_000 + len(CONTENT)


def test_a_server_that_does_not_tell_the_length_is_believed_until_the_size_is_there(
    server: ModelServer, part: Path
) -> None:
    server.tells_length = False
    server.files["/model.bin"] = CONTENT + b"and much more that nobody wants"
    fetch(server, part)
    assert part.read_bytes() == CONTENT


def test_redirects_are_followed_and_keep_the_range(server: ModelServer, part: Path) -> None:
    server.files["/elsewhere"] = server.files.pop("/model.bin")
    server.redirects["/model.bin"] = "/elsewhere"
    part.write_bytes(CONTENT[:100])
    fetch(server, part)
    assert part.read_bytes() == CONTENT
    assert server.requests[-1] == ("/elsewhere", "bytes=100-")


def test_a_busy_server_is_asked_again(server: ModelServer, part: Path) -> None:
    server.statuses = [503, 429]
    fetch(server, part)
    assert part.read_bytes() == CONTENT


def test_a_connection_that_brings_nothing_is_given_up(server: ModelServer, part: Path) -> None:
    part.write_bytes(CONTENT[:1000])
    server.cuts = [0] * 10
    with pytest.raises(ModelError, match=r"broke off 4 times.*1,000 of 2,048,004 bytes"):
        fetch(server, part)
    assert part.read_bytes() == CONTENT[:1000]


def test_a_connection_that_brings_much_each_time_is_not_given_up(
    server: ModelServer, part: Path
) -> None:
    server.files["/model.bin"] = content = CONTENT * 4
    server.cuts = [1_100_000] * 7
    fetch(server, part, len(content))
    assert part.read_bytes() == content


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(server: ModelServer, part: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(ModelError, match=f"HTTP status {status}"):
        fetch(server, part)
    assert len(server.requests) == 1
    assert not part.exists()


def test_a_file_of_another_length_is_refused_before_it_is_fetched(
    server: ModelServer, part: Path
) -> None:
    with pytest.raises(ModelError, match=r"has 2,048,004 bytes instead of 2,048,005"):
        fetch(server, part, len(CONTENT) + 1)
    assert not part.exists()


def test_a_part_longer_than_what_the_server_has_is_dropped(server: ModelServer, part: Path) -> None:
    server.files["/model.bin"] = CONTENT[:100]
    part.write_bytes(CONTENT[:200])
    with pytest.raises(ModelError, match="has 100 bytes instead of"):
        fetch(server, part)
    assert not part.exists()


def test_a_page_in_place_of_the_file_is_refused(server: ModelServer, part: Path) -> None:
    server.tells_length = False
    server.files["/model.bin"] = b"<html>Please log in</html>"
    with pytest.raises(ModelError, match="is not what it should be"):
        fetch(server, part)
    assert not part.exists()


def test_a_server_that_falls_silent_is_a_broken_connection(
    server: ModelServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_TIMEOUT_S", 0.05)
    server.stall_after = 1000
    with pytest.raises(ModelError, match=r"broke off 4 times \(timed out\)"):
        fetch(server, part)
    assert part.read_bytes() == CONTENT[: part.stat().st_size]


def test_nobody_listening_is_told_at_once(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/model.bin"
        start = time.monotonic()
        with pytest.raises(ModelError, match=r"cannot reach http://127.*[Rr]efused"):
            download(url, part, 100, magic=MAGIC)
        assert time.monotonic() - start < 5


def test_the_proxy_of_the_environment_is_used(
    server: ModelServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", server.url)
    server.files["http://models.invalid/model.bin"] = CONTENT
    download("http://models.invalid/model.bin", part, len(CONTENT), magic=MAGIC)
    assert part.read_bytes() == CONTENT
