"""What the user named to a source."""

from __future__ import annotations

from sources.file import FileSource
from sources.media import MediaSource
from sources.pcm_stdin import PcmStdinSource

from ..errors import ConfigurationError
from ..pipeline import Pace
from ..protocols import Source
from .registry import build, names

__all__ = ["make_source"]

_GROUP = "streaming.sources"


def make_source(name: str, pace: Pace) -> Source:
    """A source for a file, a URL, ``-`` or ``NAME://REST``.

    A NAME from the entry points ``streaming.sources`` wins over FFmpeg's protocols; what it
    stands for is called with REST.

    Raises:
        ConfigurationError: the source of an installed package cannot be made.
    """
    if name == "-":
        return PcmStdinSource()
    scheme, separator, rest = name.partition("://")
    if separator and scheme in names(_GROUP, {}):
        source = build(scheme, _GROUP, {}, rest)
        if not isinstance(source, Source):
            raise ConfigurationError(f"{scheme} is not a source: see streaming/protocols.py")
        return source
    return MediaSource(name, pace=pace) if separator else FileSource(name, pace=pace)
