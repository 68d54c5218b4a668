"""LocalAgreement-n: commit the longest prefix that the last n hypotheses share.

Source: Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and
translation by partial hypothesis selection" (Interspeech 2020); used with Whisper, n = 2,
by Macháček, Dabre and Bojar, "Turning Whisper into real-time transcription system" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

from ._prefixes import check_agreement, check_probability, n_agreed

__all__ = ["LocalAgreement"]


class LocalAgreement:
    """Commits the words on which the last ``n`` hypotheses agree, in the newest spelling.

    ``n = 1`` commits every word at once; larger values wait for more passes. Two passes may
    well share a mistake, and the model often knows: a word whose probability is below ``sure``
    has to be agreed on once more.

    Args:
        n: hypotheses that have to agree, from 1 to 10.
        sure: a probability; 0 treats all words alike.

    Raises:
        ConfigurationError: a number that cannot be meant.
    """

    def __init__(self, n: int = 2, sure: float = 0.0) -> None:
        self._n = check_agreement("local-agreement", n)
        self._sure = check_probability("local-agreement", sure)
        self.history = self._n + (self._sure > 0)

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        newest = tuple(history[-1])
        certain = n_agreed(history, self._n)
        for i in range(n_agreed(history, self._n + 1), certain):
            if newest[i].probability < self._sure:
                certain = i
                break
        return Commit(newest[:certain], newest[certain:])
