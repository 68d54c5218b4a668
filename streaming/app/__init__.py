"""The composition root: parts chosen by name and put together.

clash       refuses to start where a stranger's package shadows one of ours
registry    the built-in parts by name, and third parties' through entry points
settings    the choices that a run is made of
compose     settings to worker, session parts and pipeline; `transcribe`
outputs     formats and files to sinks
cli         the command; one module for each subcommand
"""

from __future__ import annotations

from .clash import require_own_packages

require_own_packages()

from .compose import make_parts, make_pipeline, make_worker, transcribe  # noqa: E402
from .settings import Settings  # noqa: E402

__all__ = ["Settings", "make_parts", "make_pipeline", "make_worker", "transcribe"]
