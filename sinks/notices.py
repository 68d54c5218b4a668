"""What a run has to say beside its output: notices, and on a terminal how far it is."""

from __future__ import annotations

from ._notices import NoticesSink

__all__ = ["NoticesSink"]
