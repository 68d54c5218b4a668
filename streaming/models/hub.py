"""Downloads over HTTP that go on where they stopped.

What has arrived lies in a ``.part`` file. A connection that breaks is taken up again with a
range request, in this run or in a later one; a server that ignores the range starts over.
Proxies come from the environment (``https_proxy``, ``no_proxy``), as urllib does it.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..errors import ModelError
from .ggml_file import MAGIC

__all__ = ["HUB_URL", "download"]

HUB_URL = "https://huggingface.co/ggerganov/whisper.cpp/resolve/main"
"""Folder of the official files."""

_TIMEOUT_S = 30.0
"""Of connecting, and of every read."""
_BLOCK = 1 << 18
_WORTHWHILE = 1 << 20
"""An attempt that brings this many bytes does not count as a failure."""
_FAILURES = 4
"""Attempts in a row that may bring nothing."""
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _BrokenError(Exception):
    """The attempt failed in a way that another one may cure."""


def download(
    url: str,
    part: Path,
    size_bytes: int,
    *,
    advance: Callable[[int], None] = lambda done: None,
    pause_s: float = 0.5,
) -> None:
    """Fetch ``url`` into ``part``, after the bytes that are there already.

    Args:
        url: http or https; redirects are followed.
        part: grows to ``size_bytes``; its content is not checked beyond the first bytes.
        size_bytes: what the whole file must have.
        advance: told how many bytes are there, time and again.
        pause_s: wait before another attempt, doubled after each failure.

    Raises:
        ModelError: the server cannot be reached, refuses, or sends something else. What has
            arrived stays in ``part`` if it may be the start of the file.
        OSError: ``part`` cannot be written.
    """
    failures = 0
    while (before := _length(part, size_bytes)) < size_bytes:
        try:
            _attempt(url, part, before, size_bytes, advance)
        except _BrokenError as error:
            done = _length(part, size_bytes)
            failures = 0 if done - before >= _WORTHWHILE else failures + 1
            if failures == _FAILURES:
                raise ModelError(
                    f"the download of {url} broke off {_FAILURES} times ({error}) with "
                    f"{done:,} of {size_bytes:,} bytes; run it again to go on from there"
                ) from error
            time.sleep(pause_s * 2**failures)


def _length(part: Path, size_bytes: int) -> int:
    """Bytes that are there; a part longer than the file can be is dropped."""
    length = part.stat().st_size if part.exists() else 0
    if length > size_bytes:
        part.unlink()
        return 0
    return length


def _attempt(
    url: str, part: Path, start: int, size_bytes: int, advance: Callable[[int], None]
) -> None:
    """One request, and as much of the rest as it brings.

    Raises:
        _BrokenError: it ended early.
        ModelError, OSError: as `download`.
    """
    with _open(url, part, start) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0
        if response.length is not None and response.length != size_bytes - start:
            raise ModelError(
                f"{url} has {start + response.length:,} bytes instead of {size_bytes:,}: "
                "it is another file, or a proxy's page"
            )
        block = _read(response, size_bytes - start)
        if start == 0 and not MAGIC.startswith(block[: len(MAGIC)]):
            raise ModelError(f"{url} is not a whisper.cpp model file")
        with part.open("ab") as file:
            file.truncate(start)
            while True:
                file.write(block)
                file.flush()  # so that a killed process leaves what it had
                start += len(block)
                advance(start)
                if start == size_bytes:
                    return
                block = _read(response, size_bytes - start)


def _open(url: str, part: Path, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "stream-transcribe", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener()  # asks the environment for proxies each time
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise _BrokenError("the server has fewer bytes than had arrived") from error
            if error.code in _TRANSIENT:
                raise _BrokenError(f"HTTP status {error.code}") from error
            raise ModelError(f"{url} answers with HTTP status {error.code}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError | ConnectionResetError):
            raise _BrokenError(str(error.reason)) from error
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise ModelError(f"cannot reach {url}: {reason}") from error
    return response


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    """What has arrived, at least one byte."""
    try:
        block = response.read1(min(most, _BLOCK))
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error) or type(error).__name__) from error
    if not block:
        raise _BrokenError("the connection was closed")
    return block
