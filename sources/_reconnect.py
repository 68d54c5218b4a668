"""Reads a URL across connections that break; blocking.

What a break costs is said: notices before and after it, and a gap as long as the audio that is
missing. A live HLS stream keeps its timestamps, and often all of its audio, so that reading goes
on where it was. Any other live stream is taken to be at the same distance from its server after
each connection: the gap is the time that passed. A recording is read on from where it broke, by
seeking or, where its server cannot, by reading it again up to there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain
from threading import Event
from typing import Literal

import numpy as np

from streaming.errors import SourceError
from streaming.events import Notice

from ._address import host_of, shown
from ._decode import JUMP_S, BeyondEndError, Block, BrokenOffError, decode
from ._open import Header
from ._part import WHOLE, Part

__all__ = ["read_url"]

GIVE_UP_S = 120.0
"""How long a server may be away."""
BACK_OFF_S = 0.5
"""Before the first attempt to connect again; doubled for each one after it."""
MAX_BACK_OFF_S = 8.0
STEADY_S = 10.0
"""A connection that brought as much audio counts as a success; after shorter ones, attempts go
on being counted."""
OVERLAP = {"live_start_index": "-6"}
"""Live HLS is read again from some segments back, and what was heard of them is left out."""
OPENING_S = 0.5
"""Audio by which a recording is recognised that a server sends again from its beginning."""


class _EndedError(Exception):
    """There is no more to come."""


def read_url(
    url: str,
    part: Part,
    *,
    options: Mapping[str, str],
    reconnect: bool,
    opened: Callable[[Header], None],
    stopped: Event,
) -> Generator[Block | Notice, None, None]:
    """Decode the audio of a URL, and tell by notices what happens to its connection.

    Args:
        url: what FFmpeg opens.
        part: what of it; a live stream has no start to choose.
        options: FFmpeg's.
        reconnect: False makes the first break an error.
        opened: called with the header, before the first block.
        stopped: set by another thread, it ends a wait for the server.

    Raises:
        SourceError: it cannot be opened, cannot be read, or its server stayed away.
    """
    yield from _Reading(url, part, options, reconnect, opened, stopped).blocks()


class _Reading:
    def __init__(
        self,
        url: str,
        part: Part,
        options: Mapping[str, str],
        reconnect: bool,
        opened: Callable[[Header], None],
        stopped: Event,
    ) -> None:
        self._url, self._part, self._options = url, part, options
        self._options_again = {**options, **OVERLAP}
        self._reconnect, self._opened, self._stopped = reconnect, opened, stopped
        self._header: Header | None = None
        self._read_s = 0.0  # place in the part
        self._clock_s: float | None = None  # the same by the timestamps of live HLS
        self._zero_s = 0.0  # when the first block came
        self._opening: list[Block] = []
        self._attempts = 0  # since a connection was steady
        self._broke_s = 0.0  # when that one broke
        self._told = False  # that it broke

    def blocks(self) -> Generator[Block | Notice, None, None]:
        """Everything, until there is no more to come."""
        while (reason := (yield from self._connection())) is not None:
            if reason and not self._reconnect:
                raise SourceError(
                    f"{shown(self._url)} breaks off at {self._read_s:.1f} s: {reason}"
                )
            now_s = time.monotonic()
            if not self._attempts:
                self._broke_s = now_s
            elif now_s - self._broke_s > GIVE_UP_S:
                raise SourceError(
                    f"{shown(self._url)} broke off at {self._read_s:.1f} s and could not be read "
                    f"on within {GIVE_UP_S:g} s: {reason}"
                )
            # A playlist's end shows only when it is read again; it need not be a break.
            if not self._told and reason:
                self._told = True
                yield self._notice(
                    "warning",
                    "reconnecting",
                    f"the connection broke at {self._read_s:.1f} s ({reason}); connecting again",
                )
            if self._stopped.wait(min(MAX_BACK_OFF_S, BACK_OFF_S * 2**self._attempts)):
                return
            self._attempts += 1

    def _connection(self) -> Generator[Block | Notice, None, str | None]:
        """The blocks of one connection; returns why it broke, or None at the end."""
        left = self._left()
        if left is None:
            return None
        before_s = self._read_s
        try:
            with closing(
                decode(
                    self._url,
                    left,
                    options=self._options if self._header is None else self._options_again,
                    after_clock_s=self._clock_s,
                    opened=self._open,
                )
            ) as blocks:
                yield from self._resumed(blocks)
        except _EndedError:
            if self._told:
                yield self._notice("warning", "ended", "it has ended meanwhile; its end is missing")
            return None
        except BrokenOffError as error:
            if not (self._reconnect and self._read_s):
                raise
            return error.reason
        except BeyondEndError:
            if not self._read_s:
                raise
            return None  # it broke behind its last audio
        except SourceError as error:
            if self._read_s > before_s or not self._read_s:
                raise
            return str(error)
        return self._end()

    def _left(self) -> Part | None:
        left = self._part.after(self._read_s)
        live = self._header is not None and self._header.live
        return WHOLE if left is not None and live else left  # `_within` ends a live stream

    def _open(self, header: Header) -> None:
        if self._header is None:
            self._header = header
            self._opened(header)
        elif self._header.live and not header.live:
            raise _EndedError

    def _end(self) -> str | None:
        """Why blocks ended without an error: None if all was read."""
        if self._header is None or self._left() is None:
            return None
        if self._header.kind == "hls":
            return ""
        return "the server closed it" if self._header.kind in ("rtsp", "radio") else None

    def _resumed(
        self, blocks: Generator[Block, None, None]
    ) -> Generator[Block | Notice, None, None]:
        first = next(blocks, None)
        if first is None or self._header is None:
            return
        now_s = time.monotonic()
        head = [first]
        if not self._read_s:
            self._zero_s = now_s
        else:
            if self._may_begin_again:
                head += _taken(blocks, OPENING_S)
                if _same(head, self._opening):
                    self._told = False
                    yield self._notice("info", "ended", "the same begins again: taken as its end")
                    raise _EndedError
            head[0] = first = self._placed(first, now_s - self._zero_s)
            if self._told or first.lost_s:
                self._told = False
                lost = f"{first.lost_s:.1f} s of audio are" if first.lost_s else "nothing is"
                yield self._notice("info", "reconnected", f"connected again; {lost} missing")
        steady_s = self._read_s + first.lost_s + STEADY_S
        for block in chain(head, blocks):
            if self._may_begin_again and self._read_s < OPENING_S:
                self._opening.append(block)
            yield self._within(block) if self._header.live else block
            self._read_s += block.lost_s + block.duration_s
            if self._header.kind == "hls":
                self._clock_s = block.end_clock_s
            if self._read_s > steady_s:
                self._attempts = 0

    @property
    def _may_begin_again(self) -> bool:
        """Whether the server may be sending a recording without telling its length.

        Its end cannot be told from a break then, but after it the same audio begins again.
        """
        return self._header is not None and self._header.kind in ("rtsp", "stream")

    def _within(self, block: Block) -> Block:
        """What of a block lies before the end of the part."""
        left_s = self._part.stop_s - self._read_s - block.lost_s
        if left_s >= block.duration_s:
            return block
        kept = round(left_s * block.rate)
        if kept <= 0:
            raise _EndedError
        return replace(block, samples=block.samples[:kept])

    def _placed(self, block: Block, arrival_s: float) -> Block:
        """The first block of another connection, with what is missing before it."""
        if self._header is None or not self._header.live:
            return block
        if self._clock_s is not None and block.end_clock_s is not None:
            after_s = block.end_clock_s - block.duration_s - block.lost_s
            if abs(after_s - self._clock_s) < JUMP_S:
                return replace(block, lost_reason="reconnect")
        lost_s = max(0.0, arrival_s - self._read_s)
        return replace(block, lost_s=lost_s, lost_reason="reconnect")

    def _notice(self, level: Literal["info", "warning"], code: str, text: str) -> Notice:
        return Notice(level=level, code=code, message=f"{host_of(self._url)}: {text}")


def _taken(blocks: Generator[Block, None, None], length_s: float) -> list[Block]:
    """Blocks of that length or a little more, if there are as many."""
    taken: list[Block] = []
    while length_s > 0 and (block := next(blocks, None)) is not None:
        taken.append(block)
        length_s -= block.duration_s
    return taken


def _same(some: list[Block], others: list[Block]) -> bool:
    """Whether two lists begin with the same audio, silence apart."""
    one, other = (np.concatenate([block.samples for block in each]) for each in (some, others))
    length = min(len(one), len(other))
    return bool(np.array_equal(one[:length], other[:length]) and one[:length].any())
