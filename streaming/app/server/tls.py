"""TLS with a certificate of one's own."""

from __future__ import annotations

import logging
import os
import ssl
import time
from pathlib import Path

from ...errors import ConfigurationError

__all__ = ["KEY_PASSWORD", "tls_context"]

KEY_PASSWORD = "STREAM_TRANSCRIBE_TLS_PASSWORD"
"""Environment variable with the password of an encrypted key."""

_SOON_S = 7 * 86_400
_DAY_S = 86_400
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NOT_YET = 9  # X509_V_ERR_CERT_NOT_YET_VALID
_LOG = logging.getLogger(__name__)


def tls_context(
    certificate_file: str | None, key_file: str | None, *, password_env: str = KEY_PASSWORD
) -> ssl.SSLContext:
    """Load a certificate, and warn of one that clients will not accept for its dates.

    TLS 1.2 and 1.3, forward secrecy and authenticated encryption only, as Mozilla's
    "intermediate" recommendation has it.

    Args:
        certificate_file: in PEM format, with the chain that leads to the authority after it.
        key_file: its private key; None where the certificate's file holds that as well.
        password_env: environment variable with the password of the key.

    Raises:
        ConfigurationError: a file that cannot be read or is no such thing, a key that does not
            belong to the certificate, a password that is wrong or missing.
    """
    if certificate_file is None:
        raise ConfigurationError("--tls-key goes with --tls-cert FILE, the certificate")
    certificate, key = Path(certificate_file), None if key_file is None else Path(key_file)
    for file in (certificate, key):
        if file is not None:
            _require_readable(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    asked = False

    def password() -> str:
        nonlocal asked
        asked = True
        return os.environ.get(password_env, "")

    try:
        context.load_cert_chain(certificate, key, password)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None)
        raise ConfigurationError(
            _what_is_wrong(certificate, key, reason, asked, password_env)
        ) from error
    _warn_of_dates(context, certificate)
    return context


def _require_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror or error}") from error


def _what_is_wrong(
    certificate: Path, key: Path | None, reason: str | None, asked: bool, password_env: str
) -> str:
    if reason == "KEY_VALUES_MISMATCH":
        return f"the key in {key or certificate} does not belong to the certificate {certificate}"
    if asked:
        return (
            f"the key in {key or certificate} is encrypted; its password is to be in the "
            f"environment variable {password_env}, and what is there does not open it"
        )
    if "-----BEGIN CERTIFICATE-----" not in certificate.read_text("utf-8", "replace"):
        return f"{certificate} holds no certificate in PEM format"
    if "PRIVATE KEY-----" not in (key or certificate).read_text("utf-8", "replace"):
        found = f"{key or certificate} holds no private key in PEM format"
        return found if key else f"{found}; --tls-key FILE names it"
    where = f"{certificate} and {key}" if key else f"{certificate}"
    return f"the certificate or key in {where} cannot be used: {reason or 'it is damaged'}"


def _warn_of_dates(context: ssl.SSLContext, certificate: Path) -> None:
    """Meet the server as a client that trusts this certificate; what remains are its dates."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(to_server, to_client, server_side=True)
    here = client.wrap_bio(to_client, to_server)
    try:
        _shake_hands(here, there)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            _LOG.warning("the certificate %s has expired: clients will refuse it", certificate)
        elif error.verify_code == _NOT_YET:
            _LOG.warning("the certificate %s is not valid yet: see the clock", certificate)
        return
    except ssl.SSLError:
        return  # clients may still get along with it
    until = ssl.cert_time_to_seconds(str((here.getpeercert() or {})["notAfter"]))
    if (left_s := until - time.time()) < _SOON_S:
        _LOG.warning("the certificate %s expires in %d days", certificate, left_s // _DAY_S)


def _shake_hands(*ends: ssl.SSLObject) -> None:
    """As far as it takes until the client, the first of them, has seen the certificate."""
    for _ in range(8):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            if end is ends[0]:
                return
