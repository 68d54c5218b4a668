"""What a session is doing, in one row of a terminal: as much of it as the row has room for.

Pure. Nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from streaming.protocols import Status

__all__ = ["Watched", "clock", "level_meter", "progress_bar", "status_line"]

_BEHIND_S = 2.0
"""More audio than this without a pass is worth a word; about a chunk is usual."""
_FLOOR_DB, _HIGH_DB, _TOO_HIGH_DB, _CLIPPING_DB = -60.0, -12.0, -3.0, -0.1
_ROOMY = 60
"""From this width on, things have fixed places and room around them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What there is to tell of a session."""

    status: Status
    label: str = ""
    peak_db: float = -math.inf
    """Highest level of the last moments."""
    trouble: str = ""
    """What people should know now, e.g. "dropping audio"."""
    fast: bool = False
    """The run does not wait for the audio: how far it is matters, not what it hears."""
    elapsed_s: float = 0.0
    """How long it has run, by the clock on the wall."""


@dataclass(frozen=True, slots=True)
class _Part:
    rank: int
    """What has the highest number gives way first."""
    least: int
    """Cells."""
    most: int
    draw: Callable[[int], Text]
    """Takes the cells it gets."""


def status_line(watched: Watched, width: int) -> Text:
    """One row of at most ``width`` cells, the most important things first."""
    gap = 3 if width >= _ROOMY else 2
    label = Text(watched.label)
    label.truncate(max(width // 3, 4), overflow="ellipsis")
    named = [_fixed(0, label.plain, "bold")] if label else []
    parts = [*named, *_parts(watched, roomy=width >= _ROOMY)]
    chosen: set[int] = set()
    room = width + gap
    for number in sorted(range(len(parts)), key=lambda number: parts[number].rank):
        if (needed := parts[number].least + gap) <= room:
            chosen.add(number)
            room -= needed
    drawn = []
    for number in sorted(chosen):
        part = parts[number]
        more = min(part.most - part.least, room)
        room -= more
        drawn.append(part.draw(part.least + more))
    return Text(" " * gap).join(drawn)


def level_meter(level_db: float, peak_db: float, cells: int) -> Text:
    """A row of lamps from -60 to 0 dB of full scale; one more for the peak of late.

    Where the peak clips, "CLIP" stands in the meter, or "!" where it is short.
    """
    meter = Text()
    lit, peak = _lamps(level_db, cells), _lamps(peak_db, cells)
    for lamp in range(1, cells + 1):
        db = _FLOOR_DB * (1 - (lamp - 0.5) / cells)
        style = "green" if db < _HIGH_DB else "yellow" if db < _TOO_HIGH_DB else "red"
        on = lamp <= lit or lamp == peak
        meter.append("■" if on else "·", style if on else "dim")
    if not peak_db >= _CLIPPING_DB:
        return meter
    mark = "CLIP" if cells >= 6 else "!"
    return Text.assemble(meter[: cells - len(mark)], (mark, "bold red"))


def progress_bar(done: float, cells: int) -> Text:
    """A bar of which the share ``done``, 0 to 1, is heavy."""
    halves = round(2 * cells * done)
    heavy = "━" * (halves // 2) + "╸" * (halves % 2)
    return Text.assemble((heavy, "green"), ("─" * (cells - len(heavy)), "dim"))


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any: "1:23", "1:02:03"."""
    minutes, second = divmod(int(max(seconds, 0.0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _parts(watched: Watched, *, roomy: bool) -> Iterator[_Part]:
    """In the order in which they stand in the row."""
    status = watched.status
    time, of = clock(status.audio_s), status.duration_s
    if of:
        time = f"{time} / {clock(of)}"
    if watched.fast and of:
        done = min(max(status.audio_s / of, 0.0), 1.0)
        yield _Part(1, 8, 40, lambda cells: progress_bar(done, cells))
        yield _fixed(0, f"{done:4.0%}")
        if watched.trouble:
            yield _fixed(0, *_state(watched))
        elif done >= 0.001 and watched.elapsed_s >= 1:
            yield _fixed(2, f"{clock(watched.elapsed_s * (1 / done - 1) + 0.5)} left")
    else:
        if not watched.fast:
            cells = (6, 12) if roomy else (2, 6)
            yield _Part(
                1, *cells, lambda cells: level_meter(status.level_db, watched.peak_db, cells)
            )
        state, style = _state(watched)
        yield _fixed(0, f"{state:<11}" if roomy else state, style)
    yield _fixed(3, time)
    if status.delay_s is not None and not watched.fast:
        yield _fixed(2, f"delay {status.delay_s:.1f} s")
    if status.real_time_factor:
        yield _fixed(4, f"RTF {status.real_time_factor:.2f}", "dim")


def _state(watched: Watched) -> tuple[str, str]:
    status = watched.status
    if watched.trouble:
        return f"! {watched.trouble}", "bold yellow"
    if status.behind_s > _BEHIND_S and not watched.fast:
        return f"! behind by {status.behind_s:.1f} s", "bold yellow"
    if status.speaking:
        return "● speech", "bold"
    return ("◐ decoding", "") if status.decoding else ("○ listening", "")


def _fixed(rank: int, text: str, style: str = "") -> _Part:
    cells = cell_len(text)
    return _Part(rank, cells, cells, lambda _: Text.assemble((text, style)))


def _lamps(level_db: float, cells: int) -> int:
    """How many are lit; any sound lights one."""
    if not level_db > _FLOOR_DB:
        return 0
    return min(max(round(cells * (1 - level_db / _FLOOR_DB)), 1), cells)
