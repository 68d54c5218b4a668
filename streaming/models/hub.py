"""Downloads over HTTP that go on where they stopped.

What has arrived lies in a ``.part`` file. A connection that breaks is taken up again with a
range request, in this run or in a later one; a server that ignores the range starts over.
Proxies come from the environment (``https_proxy``, ``no_proxy``), as urllib does it.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError

__all__ = ["HUB_URL", "announced", "download"]

HUB_URL = "https://huggingface.co/ggerganov/whisper.cpp/resolve/main"
"""Folder of the official files."""

_TIMEOUT_S = 30.0
"""Of connecting, and of every read."""
_BLOCK = 1 << 18
_WORTHWHILE = 1 << 20
"""An attempt that brings this many bytes does not count as a failure."""
_FAILURES = 4
"""Attempts in a row that may bring nothing."""
_ASK = {"User-Agent": "stream-transcribe", "Accept-Encoding": "identity"}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class _BrokenError(Exception):
    """The attempt failed in a way that another one may cure."""


class _RangeError(_BrokenError):
    """The server has no such range."""


def download(
    url: str,
    part: Path,
    size_bytes: int,
    *,
    magic: bytes,
    advance: Callable[[int], None] = lambda done: None,
    pause_s: float = 0.5,
) -> None:
    """Fetch ``url`` into ``part``, after the bytes that are there already.

    Args:
        url: http or https; redirects are followed.
        part: grows to ``size_bytes``; its content is not checked beyond the first bytes.
        size_bytes: what the whole file must have.
        magic: what it must begin with; a page that says sorry does not.
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
            _attempt(url, part, before, size_bytes, magic, advance)
        except _BrokenError as error:
            done = _length(part, size_bytes)
            failures = 0 if done - before >= _WORTHWHILE else failures + 1
            if failures == _FAILURES:
                raise ModelError(
                    f"the download of {url} broke off {_FAILURES} times ({error}) with "
                    f"{done:,} of {size_bytes:,} bytes; run it again to go on from there"
                ) from error
            time.sleep(pause_s * 2**failures)


def announced(url: str) -> tuple[int, str | None]:
    """Size of a file in bytes, and its SHA-256 where the server tells that.

    The hub tells both for large files in the answer that redirects to where they lie.

    Raises:
        ModelError: the server cannot be reached, refuses, or does not tell the size.
    """
    try:
        headers = _headers(url)
    except _BrokenError as error:
        raise ModelError(f"cannot reach {url}: {error}") from error
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if not size.isdigit():
        raise ModelError(f"{url} does not tell its size")
    tag = headers.get("X-Linked-Etag", "").strip('"')
    return int(size), tag if re.fullmatch("[0-9a-f]{64}", tag) else None


def _length(part: Path, size_bytes: int) -> int:
    """Bytes that are there; a part longer than the file can be is dropped."""
    length = part.stat().st_size if part.exists() else 0
    if length > size_bytes:
        part.unlink()
        return 0
    return length


def _attempt(
    url: str,
    part: Path,
    start: int,
    size_bytes: int,
    magic: bytes,
    advance: Callable[[int], None],
) -> None:
    """One request, and as much of the rest as it brings.

    Raises:
        _BrokenError: it ended early.
        ModelError, OSError: as `download`.
    """
    with _open_part(url, part, start) as response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0
        if response.length is not None and response.length != size_bytes - start:
            raise ModelError(
                f"{url} has {start + response.length:,} bytes instead of {size_bytes:,}: "
                "it is another file, or a proxy's page"
            )
        block = _read(response, size_bytes - start)
        if start == 0 and not magic.startswith(block[: len(magic)]):
            raise ModelError(f"{url} is not what it should be: it begins otherwise")
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


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects and keeps what they tell."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.told |= {
            name: value for name, value in headers.items() if name.lower().startswith("x-")
        }
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
        return following


def _headers(url: str) -> dict[str, str]:
    """What the server tells of a file, on the way to it and there."""
    redirects = _Redirects()
    request = urllib.request.Request(url, headers=_ASK, method="HEAD")
    with _open(request, redirects) as response:
        every = {**response.headers, **redirects.told}
        return {name.title(): value for name, value in every.items()}


def _open_part(url: str, part: Path, start: int) -> http.client.HTTPResponse:
    """Ask for a file from a byte on."""
    headers = {**_ASK, "Range": f"bytes={start}-"} if start else _ASK
    try:
        return _open(urllib.request.Request(url, headers=headers))
    except _RangeError:
        part.unlink(missing_ok=True)
        raise


def _open(
    request: urllib.request.Request, *handlers: urllib.request.BaseHandler
) -> http.client.HTTPResponse:
    url = request.full_url
    opener = urllib.request.build_opener(*handlers)  # asks the environment for proxies each time
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise _RangeError("the server has fewer bytes than had arrived") from error
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
