"""The recording that comes with the program, to measure a machine by."""

from __future__ import annotations

from pathlib import Path

__all__ = ["sample_path"]


def sample_path() -> Path:
    """11 s of speech; the wheel carries it beside this module, a checkout as an example."""
    here = Path(__file__).resolve()
    packed = here.with_name("jfk.flac")
    return packed if packed.exists() else here.parents[2] / "examples" / "jfk.flac"
