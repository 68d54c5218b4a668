"""LocalAgreement-n: commit the longest prefix that the last n hypotheses share.

Source: Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and
translation by partial hypothesis selection" (Interspeech 2020); used with Whisper, n = 2,
by Macháček, Dabre and Bojar, "Turning Whisper into real-time transcription system" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

from ._prefixes import check_agreement, check_hold_back, check_probability, n_agreed, n_before

__all__ = ["LocalAgreement"]


class LocalAgreement:
    """Commits the words on which the last ``n`` hypotheses agree, in the newest spelling.

    ``n = 1`` commits every word at once; larger values wait for more passes. Two additions bound
    what plain agreement gets wrong. Two passes may well share a mistake, and the model often
    knows: a word whose probability is below ``sure`` has to be agreed on once more. And a word on
    which passes go on to differ holds up all that follow it: once it ends ``settled`` seconds
    before the audio does, it is committed as it is heard then. ``sure = 0, settled = 10`` is
    LocalAgreement as published.

    Args:
        n: hypotheses that have to agree, from 1 to 10.
        sure: a probability; 0 treats all words alike.
        settled: audio in seconds after which more of it hardly changes a word, from 0 to 10.

    Raises:
        ConfigurationError: a number that cannot be meant.
    """

    def __init__(self, n: int = 2, sure: float = 0.6, settled: float = 1.2) -> None:
        self._n = check_agreement("local-agreement", n)
        self._sure = check_probability("local-agreement", sure)
        self._settled_s = check_hold_back("local-agreement", settled, name="settled")
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
        if len(history) >= self._n:  # never by a single pass
            certain = max(certain, n_before(newest, audio_end_s - self._settled_s))
        return Commit(newest[:certain], newest[certain:])
