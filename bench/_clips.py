"""The English clips in two halves, one to choose settings on and one to report them on.

Every setting runs over the first, so it is the short one: two minutes against six. The same
president and the same reader are in both, and so is noise. No sentence is, but that
`printing_office_5db` has the first ones of `printing_231s` with an office around them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from _report import RECORDINGS

from streaming.evaluation import Clip, load_manifest

__all__ = ["CHOOSE", "REPORT", "load"]

CHOOSE = ("bush_columbia_29s", "printing_office_5db", "harvard_18s", "jfk_11s")
REPORT = ("bush_radio_127s", "printing_231s", "jackhammer_3s")


def load(names: Sequence[str]) -> list[Clip]:
    """The clips of these names; ends with one line where one is missing or has no reference."""
    clips = {clip.name: clip for clip in load_manifest(RECORDINGS / "manifest.json")}
    for name in names:
        if name not in clips or clips[name].reference is None:
            sys.exit(f"{RECORDINGS} has no {name} with a reference")
    return [clips[name] for name in names]
