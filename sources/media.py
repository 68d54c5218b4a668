"""Media from the network: whatever FFmpeg opens by a URL, live or recorded."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING

from streaming.audio import AudioChunk
from streaming.errors import ConfigurationError
from streaming.events import Notice

from ._address import is_url, shown
from ._chunker import Chunker
from ._media_chunks import cut
from ._pace import Pace, Pacer
from ._part import Part
from ._threaded import ThreadedSource

if TYPE_CHECKING:
    from ._open import Header

__all__ = ["MediaSource"]

AHEAD_S = 60.0
"""Audio decoded before it is due: 4 MB."""
CATCH_UP = 1.5
"""How many times as fast as real time a live stream comes after it was held up. Faster would
overrun who listens; never would leave them behind for good."""


class MediaSource(ThreadedSource[AudioChunk | Notice]):
    """Audio of a URL: files over HTTP, HLS, RTSP, radio streams, and FFmpeg's other protocols.

    A stream is live if it is RTSP, an HLS playlist that is not finished, or has neither a length
    nor a way to seek. ``live`` says so once the source is entered; before, it is False. A live
    stream is always handed out in real time, whatever the pace: a chunk comes when its place on
    the stream's clock is due, which begins with the first one. What arrives earlier, as HLS does
    in bursts, waits in a buffer of a minute; when that is full, reading waits, and with it the
    sender. What arrives later comes at once, catching up at one and a half times real time.

    When a connection breaks, a `Notice` "reconnecting" says so, and "reconnected" that it is
    back; messages name the host, and neither users nor passwords nor queries of an address. A
    live stream goes on behind a gap (reason "reconnect") as long as the audio that is missing; a
    recording goes on where it was. A server that stays away for two minutes is an error.

    Args:
        url: ``https://...``, ``rtsp://...``, ... A playlist from the network may name other
            addresses, but FFmpeg opens no local files for it.
        pace: for recordings, as for `FileSource`.
        chunk_s: length of a chunk in seconds.
        start_s: where to begin in a recording, in seconds. Times count from there.
        duration_s: how much to read.
        reconnect: False makes the first break an error.
        options: FFmpeg's for protocol and format, such as ``{"live_start_index": "-1"}``, which
            begins with the newest segment of a live HLS stream instead of the third newest.

    Raises:
        ConfigurationError: not a URL, an unknown pace, an impossible chunk length or part.
        SourceError: on entering or iterating; the audio cannot be opened or read, ends before
            ``start_s``, is live and was given one, or its server stayed away.
    """

    def __init__(
        self,
        url: str,
        *,
        pace: Pace = "realtime",
        chunk_s: float = 0.1,
        start_s: float = 0.0,
        duration_s: float | None = None,
        reconnect: bool = True,
        options: Mapping[str, str] | None = None,
    ) -> None:
        if not is_url(url):
            raise ConfigurationError(f"{shown(url)} is not an address; a FileSource reads files")
        part = Part(start_s, duration_s)
        self._stopped = Event()
        items = self._chunks(url, Chunker(chunk_s), part, reconnect, dict(options or {}))
        super().__init__(items, part=part, pacer=Pacer(pace), ahead=round(AHEAD_S / chunk_s))

    def _chunks(
        self, url: str, chunker: Chunker, part: Part, reconnect: bool, options: dict[str, str]
    ) -> Generator[AudioChunk | Notice, None, None]:
        from ._reconnect import read_url  # FFmpeg is loaded on use, and here: off the event loop

        with closing(
            read_url(
                url,
                part,
                options=options,
                reconnect=reconnect,
                opened=self._opened,
                stopped=self._stopped,
            )
        ) as blocks:
            for item in cut(blocks, chunker):
                yield item if isinstance(item, Notice) else item[0]

    def _opened(self, header: Header) -> None:
        super()._opened(header)
        if header.live:
            self.live = True
            self._pacer = Pacer("realtime", catch_up=CATCH_UP)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        await super().__aexit__(exc_type, exc, traceback)
