"""LocalAgreement-n: commit the longest prefix that the last n hypotheses share.

Source: Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and
translation by partial hypothesis selection" (Interspeech 2020); used with Whisper, n = 2,
by Macháček, Dabre and Bojar, "Turning Whisper into real-time transcription system" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

from ._prefixes import check_agreement, n_agreed

__all__ = ["LocalAgreement"]


class LocalAgreement:
    """Commits the words on which the last ``n`` hypotheses agree, in the newest spelling.

    ``n = 1`` commits every word at once; larger values wait for more passes.

    Raises:
        ConfigurationError: ``n`` is no whole number from 1 to 10.
    """

    def __init__(self, n: int = 2) -> None:
        self.history = check_agreement("local-agreement", n)

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        newest = tuple(history[-1])
        certain = n_agreed(history, self.history)
        return Commit(newest[:certain], newest[certain:])
