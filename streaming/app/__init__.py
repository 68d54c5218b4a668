"""The composition root: parts chosen by name and put together.

clash       refuses to start where a stranger's package shadows one of ours
registry    the built-in parts by name, and third parties' through entry points
settings    the choices that a run is made of
compose     settings to worker, session parts and pipeline; `transcribe`
options     options that subcommands share, to settings; times, as people write them
inputs      what the user named to sources, each with its label
outputs     formats, files, addresses and names to sinks
recordings  sources that are kept, with their event logs
sample      the recording that comes along, to measure a machine by
console     lines on stdout; progress, how a model comes along, on stderr
cli         the command; one module for each subcommand
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .clash import require_own_packages

if TYPE_CHECKING:
    from .compose import (
        make_final_worker,
        make_parts,
        make_pipeline,
        make_run,
        make_worker,
        transcribe,
    )
    from .settings import Settings

__all__ = [
    "Settings",
    "make_final_worker",
    "make_parts",
    "make_pipeline",
    "make_run",
    "make_worker",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    """Import the parts on use: the command has to start before it can tell of a clash."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_own_packages()
    from . import compose, settings

    return getattr(settings if name == "Settings" else compose, name)
