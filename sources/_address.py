"""Paths and addresses of media, and how messages name them."""

from __future__ import annotations

__all__ = ["host_of", "is_url", "shown"]


def is_url(location: str) -> bool:
    """Whether FFmpeg is to open it by a protocol of its own: http, rtsp, ..."""
    return "://" in location


def shown(location: str) -> str:
    """A path or address as messages name it: one line, without user, password and query."""
    if is_url(location):
        scheme, _, rest = location.partition("://")
        host, slash, path = rest.partition("/")
        rest = host.rpartition("@")[2] + slash + path
        location = f"{scheme}://{rest.partition('?')[0].partition('#')[0]}"
    return location if location.isprintable() else repr(location)


def host_of(url: str) -> str:
    """The server's name."""
    return shown(url).partition("://")[2].partition("/")[0]
