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

    ``n = 1`` commits every word at once; larger values wait for more passes. Two additions, both
    ours and both off by default, mend what plain agreement gets wrong. Two passes may well share
    a mistake, and the model often knows: a word whose probability is below ``sure`` has to be
    agreed on once more. And a word on which passes go on to differ holds up all that follow it:
    once it ends ``settled`` seconds before the audio does, it is committed as it is heard now,
    sure or not, if as many passes as have to agree have heard that part of the audio.

    Args:
        n: hypotheses that have to agree, from 1 to 10.
        sure: a probability; 0 treats all words alike.
        settled: audio in seconds after which more of it hardly changes a word, up to 10;
            0 waits for agreement, however long it takes.

    Raises:
        ConfigurationError: a number that cannot be meant.
    """

    def __init__(self, n: int = 2, sure: float = 0.0, settled: float = 0.0) -> None:
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
        heard_until_s = _heard_until_s(history, self._n)
        if self._settled_s:
            settled_s = min(audio_end_s - self._settled_s, heard_until_s)
            certain = max(certain, n_before(newest, settled_s))
        tentative = newest[certain:]
        disputed = bool(tentative) and tentative[0].end_s <= heard_until_s
        return Commit(newest[:certain], tentative, disputed)


def _heard_until_s(history: Sequence[Sequence[Word]], n: int) -> float:
    """Where the earliest of the last ``n`` hypotheses ends; 0 if there are fewer of them."""
    if len(history) < n:
        return 0.0
    return min(words[-1].end_s if words else 0.0 for words in history[-n:])
