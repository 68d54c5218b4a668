"""Temporary."""

import ssl


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext:
    raise NotImplementedError
