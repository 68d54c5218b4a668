"""Receives multipart forms with one file: piece by piece, within bounds (RFC 7578).

Bytes, time, number and size of fields are limited while they arrive. The file goes to an
anonymous temporary file, which is gone with its last handle, whatever happens; the parser is
python-multipart's, which holds nothing back.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from tempfile import TemporaryFile
from typing import BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from .limits import Limits
from .refusal import Refusal

__all__ = ["Form", "received_form"]

_MOST_FIELDS = 64
_MOST_FIELD_BYTES = 16 * 1024
_TRUE = ("true", "1", "yes", "y", "on")
_FALSE = ("false", "0", "no", "n", "off", "none", "null")
_WRITE_BYTES = 256 * 1024
"""Written at once, on a thread: a disk may make one wait."""
_SLOWEST_BYTES_PER_S = 64 * 1024
"""What any line carries. Who sends less keeps others out: there are only so many at once."""


class Form:
    """The fields of a form, and its file.

    Args:
        file: what the bytes of the part named "file" go to.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.has_file = False
        self.check: Callable[[], None] = lambda: None
        """Raises a `Refusal` once it is not to be heard any further."""
        self._fields: dict[str, list[str]] = {}

    def get(self, name: str) -> str | None:
        """A field that is given at most once, without spaces around it; None where it is empty.

        Raises:
            Refusal: it is given more than once.
        """
        values = self.all(name)
        if len(values) > 1:
            raise Refusal("bad_parameter", f"{name} is given {len(values)} times")
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """The values of a list, which clients name with brackets ("name[]") or without."""
        values = [*self._fields.get(name, ()), *self._fields.get(f"{name}[]", ())]
        return [value.strip() for value in values if value.strip()]

    def flag(self, name: str) -> bool:
        """A field that is true or false, false where it is missing.

        Raises:
            Refusal: it is neither.
        """
        value = (self.get(name) or "false").lower()
        if value not in (*_TRUE, *_FALSE):
            raise Refusal("bad_parameter", f"{name} is true or false, not {value[:40]!r}")
        return value in _TRUE

    def is_off(self, name: str) -> bool:
        """Whether a field is false, zero or missing, however a program writes that.

        Raises:
            Refusal: it is given more than once.
        """
        value = (self.get(name) or "false").lower()
        with contextlib.suppress(ValueError):
            return float(value) == 0
        return value in _FALSE

    def add(self, name: str, value: str) -> None:
        """Another field."""
        self._fields.setdefault(name, []).append(value)


@asynccontextmanager
async def received_form(scope: Scope, receive: Receive, limits: Limits) -> AsyncIterator[Form]:
    """Receive the form of a request. Its file is gone when the block ends.

    Raises:
        Refusal: it is no form, is larger than a limit, comes too slowly, or has not just one
            file.
        ClientDisconnect: the client went away.
    """
    headers = Headers(scope=scope)
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.max_upload_bytes:
        raise _too_large(limits)
    kind, options = parse_options_header(headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise _bad("send a form: multipart/form-data, with the audio in its part 'file'")
    with _temporary_file() as file:
        form = Form(file)
        parts = _Parts(form)
        try:
            parser = MultipartParser(options[b"boundary"], parts.callbacks())  # type: ignore[arg-type]
            async for piece in _pieces(receive, limits):
                parser.write(piece)
                if len(parts.unwritten) >= _WRITE_BYTES:
                    await parts.write()
        except FormParserError as error:
            raise _bad("the form is not valid multipart/form-data") from error
        if not parts.ended:
            raise _bad("the form breaks off before its end")
        if not form.has_file:
            raise _bad("the form has no part 'file'; that is where the audio goes")
        await parts.write()
        yield form


@contextmanager
def _temporary_file() -> Iterator[BinaryIO]:
    file = TemporaryFile()  # noqa: SIM115 - leaving it may fail
    try:
        yield file
    finally:
        # What there was no room for is in its buffer still; it is closed all the same.
        with contextlib.suppress(OSError):
            file.close()


async def _pieces(receive: Receive, limits: Limits) -> AsyncIterator[bytes]:
    """The body, as it comes."""
    began_s = time.monotonic()
    n_bytes = 0
    more = True
    while more:
        slowest_s = began_s + limits.request_s + n_bytes / _SLOWEST_BYTES_PER_S
        try:
            async with asyncio.timeout(min(limits.request_s, slowest_s - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise Refusal(
                "too_slow",
                f"the upload came too slowly: nothing for {limits.request_s:g} s, or less than "
                f"{_SLOWEST_BYTES_PER_S // 1024} KB a second since; compress the audio (opus, mp3)",
                status=HTTPStatus.REQUEST_TIMEOUT,
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        n_bytes += len(body)
        if n_bytes > limits.max_upload_bytes:
            raise _too_large(limits)
        yield body


class _Parts:
    """Takes the parser's calls; one part after the other."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self.unwritten = bytearray()
        """Of the file."""
        self.ended = False
        self._n_parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._name = ""
        self._field = bytearray()

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._take,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    async def write(self) -> None:
        """Let the file have what came for it."""
        data, self.unwritten = bytes(self.unwritten), bytearray()
        try:
            # Closing the file meanwhile waits for it, as both take the lock of its buffer.
            await asyncio.to_thread(_write, self._form.file, data)
        except OSError as error:
            raise Refusal(
                "no_space",
                "the server has no room for the file; try again later",
                status=HTTPStatus.INSUFFICIENT_STORAGE,
            ) from error

    def _begin(self) -> None:
        self._n_parts += 1
        if self._n_parts > _MOST_FIELDS:
            raise _bad(f"a form has at most {_MOST_FIELDS} parts")
        self._name = ""
        self._field.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value.decode("latin-1"))
            name = options.get(b"name", b"")
            self._name = name.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _begin_data(self) -> None:
        if not self._name:
            raise _bad("a part of the form has no name")
        if self._name == "file":
            if self._form.has_file:
                raise _bad("the form has more than one part 'file'; send one request for each")
            self._form.has_file = True

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.unwritten += data[start:end]
            return
        self._field += data[start:end]
        if len(self._field) > _MOST_FIELD_BYTES:
            raise _bad(f"{self._name[:40]!r} is longer than {_MOST_FIELD_BYTES} bytes")

    def _end(self) -> None:
        if self._name != "file":
            self._form.add(self._name, self._field.decode("utf-8", "replace"))

    def _finish(self) -> None:
        self.ended = True


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()  # or the last of it would fail wherever the file is read


def _bad(message: str) -> Refusal:
    return Refusal("bad_request", message)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(
        "too_large",
        f"an upload has at most {limits.max_upload_bytes / 1e6:g} MB; compress the audio (opus, "
        "mp3) or cut it",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )
