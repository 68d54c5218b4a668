"""Commit nothing while an utterance runs.

The last pass at the endpoint has heard the whole of it and commits all: the rule of dictation
programs, which decode each utterance once it is over, and the reference for what committing
earlier costs. The text so far is still shown as tentative. With no committed word to trim at,
the window grows until the transcriber ends the utterance where it is quietest: one and a half
times ``--window`` is the longest that a word waits while nobody pauses.
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

__all__ = ["EndpointOnly"]


class EndpointOnly:
    """Leaves every word tentative until the endpoint."""

    history = 1

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        return Commit((), tuple(history[-1]))
