"""Named tokens: read from a file, compared in constant time, revoked by taking out a line.

The file has a line for each client, ``NAME TOKEN`` or ``NAME sha256:HEX`` with the digest of the
token, so that whoever reads the file cannot come in with it. ``#`` begins a comment::

    # captions of the lecture halls
    hall-1   sha256:0f2c5dbe...
    hall-2   2yGm0yTt8kXq0Zp3...
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from ...errors import ConfigurationError

__all__ = ["ENVIRONMENT", "Tokens", "new_token", "parse_tokens"]

ENVIRONMENT = "STREAM_TRANSCRIBE_TOKEN"
"""Environment variable with one more token; its name is ``environment``."""

_LEAST = 16
"""Characters of a token: fewer can be guessed."""
_MOST_BYTES = 1 << 20
_NAME = re.compile(r"[\w.@+-]{1,64}")
_TOKEN = re.compile(r"[!-~]+")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_LOG = logging.getLogger(__name__)

_Stamp = tuple[int, int, int, int]


def new_token(name: str) -> tuple[str, str]:
    """Make a token of 256 random bits.

    Returns:
        The token, for the client, and the line for the file, which holds only its digest.

    Raises:
        ConfigurationError: this is no name of a token.
    """
    _check_name(name, "--new-token")
    token = secrets.token_urlsafe(32)
    return token, f"{name} sha256:{_digest(token).hex()}"


def parse_tokens(text: str, where: str) -> dict[str, bytes]:
    """Read the lines of a tokens file.

    Args:
        text: of the file.
        where: its name, for messages; these never quote a line.

    Returns:
        The SHA-256 digest of each token, by name.

    Raises:
        ConfigurationError: a line that is none, a short token, a name or token that comes twice.
    """
    found: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"(^|\s)#.*", "", line).split()
        if not words:
            continue
        place = f"{where}, line {number}"
        if len(words) != 2:
            raise ConfigurationError(f"{place}: a line is NAME TOKEN or NAME sha256:HEX")
        name, token = words
        _check_name(name, place)
        if name in found:
            raise ConfigurationError(f"{place}: the name {name} comes twice")
        digest = _digest_of(token, place)
        if digest in found.values():
            raise ConfigurationError(f"{place}: {name} has the token of another name")
        found[name] = digest
    return found


class Tokens:
    """Who may come in, by token.

    Args:
        file: with named tokens; None for no file.
        environment: where `ENVIRONMENT` may hold one more, as `os.environ`.

    Raises:
        ConfigurationError: the file cannot be read, holds no token or a line that is none.
    """

    def __init__(
        self, file: Path | None = None, *, environment: Mapping[str, str] | None = None
    ) -> None:
        self._file = file
        self._fixed: dict[str, bytes] = {}
        if environment is not None and ENVIRONMENT in environment:
            self._fixed["environment"] = _digest_of(environment[ENVIRONMENT], ENVIRONMENT)
        self._digests = dict(self._fixed)
        self._read: _Stamp | None = None
        self._seen: _Stamp | None = None
        self._told = False
        if file is not None:
            self._read = self._seen = _stamp(file)
            self._digests = self._load(file)
            if not self._digests:
                raise ConfigurationError(
                    f"{file} holds no token; `serve --new-token NAME` makes one"
                )
        self.required = bool(self._digests)
        """Whether a token is asked for; stays so when the last one is revoked."""

    @classmethod
    def read(cls, file: str | None) -> Self:
        """Those of a file, and of the environment of the process.

        Raises:
            ConfigurationError: as the class does.
        """
        return cls(None if file is None else Path(file), environment=os.environ)

    def __repr__(self) -> str:
        return f"<Tokens of {', '.join(self._digests) or 'nobody'}>"

    def name_of(self, token: str) -> str | None:
        """The name that a token belongs to, None if to none. Takes as long for every token."""
        digest = _digest(token)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def refresh(self) -> set[str]:
        """Read the file again if it has changed; to be called once a second or so.

        A changed file is read when it looks the same in two calls, as it may still be being
        written. One that cannot be read, or has a line that is none, changes nothing, and a
        warning says so.

        Returns:
            The names whose token is no longer valid: removed, or another one now.
        """
        if self._file is None or self._read is None:
            return set()
        try:
            stamp = _stamp(self._file)
            if stamp is None:  # to open a pipe would wait for whoever writes to it
                raise ConfigurationError(f"{self._file} is no regular file any more")
            if stamp == self._read:
                self._told = False
            if stamp == self._read or stamp != self._seen:
                self._seen = stamp
                return set()
            digests = self._load(self._file)
        except ConfigurationError as error:
            if not self._told:
                _LOG.warning("%s; the tokens stay as they were", error)
            self._told = True
            return set()
        before, self._digests = self._digests, digests
        self._read, self._told = stamp, False
        return {name for name, digest in before.items() if digests.get(name) != digest}

    def _load(self, file: Path) -> dict[str, bytes]:
        try:
            with file.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                content = stream.read(_MOST_BYTES + 1)
            text = content.decode("utf-8-sig")
        except OSError as error:
            raise _unreadable(file, error) from error
        except UnicodeDecodeError:
            raise ConfigurationError(f"{file} is not a text file in UTF-8") from None
        if len(content) > _MOST_BYTES:
            raise ConfigurationError(f"{file} is longer than a file of tokens can be (1 MiB)")
        digests = parse_tokens(text, str(file))
        if self._fixed.keys() & digests.keys():
            raise ConfigurationError(f"{file}: the name environment is the one of {ENVIRONMENT}")
        if stat.S_ISREG(mode) and mode & stat.S_IROTH and os.name == "posix":
            _LOG.warning("everybody on this machine can read %s; chmod 600 it", file)
        return self._fixed | digests


def _check_name(name: str, where: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(
            f"{where}: a name has 1 to 64 letters, digits and . _ - + @, no spaces"
        )


def _digest_of(token: str, where: str) -> bytes:
    hashed = _DIGEST.fullmatch(token)
    if hashed is not None:
        return bytes.fromhex(hashed[1])
    if token.startswith("sha256:"):
        raise ConfigurationError(f"{where}: sha256: goes with 64 hexadecimal digits")
    if len(token) < _LEAST or _TOKEN.fullmatch(token) is None:
        raise ConfigurationError(
            f"{where}: a token has at least {_LEAST} characters, of ASCII, without spaces"
        )
    return _digest(token)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _stamp(file: Path) -> _Stamp | None:
    """What tells one state of a file from another; None for a pipe, which is read once."""
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _unreadable(file: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot read the tokens in {file}: {error.strerror or error}")
