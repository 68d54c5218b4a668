"""How a model comes along, on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ..models import Progress as ModelProgress
from ..models import Stage

__all__ = ["model_progress"]

_SAYS = {
    "wait": "waiting for another process to fetch the model",
    "download": "downloading the model",
    "convert": "preparing the model from its installed package",
    "quantize": "quantizing the model",
}


def model_progress() -> ModelProgress:
    """A progress callback: a bar on a terminal, one line for each stage elsewhere."""
    console = Console(file=sys.stderr)
    bar: Progress | None = None
    shown: Stage | None = None

    def show(stage: Stage, done: int, total: int) -> None:
        nonlocal bar, shown
        if stage != shown:
            if bar is not None:
                bar.stop()
            shown = stage
            if console.is_terminal:
                bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    DownloadColumn(),
                    TimeRemainingColumn(),
                    console=console,
                    transient=True,
                )
                bar.add_task(_SAYS[stage], total=total or None)
                bar.start()
            else:
                print(_SAYS[stage], file=sys.stderr, flush=True)
        if bar is not None:
            bar.update(bar.task_ids[0], completed=done, total=total or None)
            if total and done >= total:
                bar.stop()
                bar = None

    return show
