"""Draws on a terminal: one frame at a time, off the event loop, never in the way.

A terminal can stop taking data for as long as somebody holds it (Ctrl-S). Nothing needs to
wait for it then: what is to be seen is kept as state, and once the terminal takes data
again, the next frame shows the newest. So at most one frame is under way.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, TextIO

from rich.console import Console
from rich.text import Text

from ._output import Output
from ._screen import Screen

__all__ = ["Composer", "Painter", "draws_in_place"]

_EVERY_S = 1 / 8
_PATIENCE_S = 0.25
"""How long an event waits for its frame to be taken. A terminal takes it at once or is stopped."""
_MOST_UNSEEN = 20_000
"""Characters that wait for a stopped terminal, about twenty minutes of speech; then events wait
as well."""


class Composer(Protocol):
    """What is to be seen, as state."""

    @property
    def size(self) -> int:
        """Characters that wait to be seen for good."""
        ...

    def compose(self, width: int, height: int) -> tuple[list[Text], list[Text]]:
        """Rows that are finished, which it forgets, and at most ``height`` live ones.

        No row has more than ``width`` cells.
        """
        ...

    def close(self) -> None:
        """From now on nothing is live."""
        ...


def draws_in_place(console: Console) -> bool:
    """True for a terminal on which the cursor can be moved."""
    return console.is_terminal and not console.is_dumb_terminal and not console.legacy_windows


class Painter:
    """Keeps a terminal up to date: when asked, and eight times a second.

    Args:
        stream: the terminal.
        console: its size and colours.
        composer: what is to be seen.
    """

    def __init__(self, stream: TextIO | str, console: Console, composer: Composer) -> None:
        self._output = Output(stream)
        self._screen = Screen(console)
        self._composer = composer
        self._ticking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to draw.

        Raises:
            SinkError: the terminal cannot be written to.
        """
        await self._output.open()
        self._ticking = asyncio.create_task(self._tick())

    async def draw(self) -> None:
        """Draw what changed; a terminal that is stopped gets it later.

        Raises:
            SinkError: the terminal failed, now or since the last call.
            BrokenPipeError: nobody reads standard output any more.
        """
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()
        wait = self._output.busy and self._composer.size > _MOST_UNSEEN
        if wait:
            await self._output.write("")  # until the terminal has taken what came before
        if self._output.busy or not (frame := self._frame()):
            return
        try:
            async with asyncio.timeout(None if wait else _PATIENCE_S):
                await self._output.write(frame)
        except TimeoutError:
            pass  # it is on its way

    async def close(self, *, quiet: bool = False) -> None:
        """Draw the last frame and close, waiting at most a second.

        Args:
            quiet: swallow errors, for when another one is on its way.

        Raises:
            SinkError: the terminal failed, or takes no data.
            BrokenPipeError: nobody reads standard output any more.
        """
        self._composer.close()
        failure = None
        if self._ticking is not None:
            self._ticking.cancel()
            (failure,) = await asyncio.gather(self._ticking, return_exceptions=True)
        await self._output.close(self._frame(), quiet=quiet)
        if isinstance(failure, Exception) and not quiet:
            raise failure

    def _frame(self) -> str:
        return self._screen.draw(*self._composer.compose(self._screen.width, self._screen.height))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            if not self._output.busy and (frame := self._frame()):
                await self._output.write(frame)
