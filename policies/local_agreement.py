"""LocalAgreement-n: commit the longest prefix that the last n hypotheses share.

Source: Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and
translation by partial hypothesis selection" (Interspeech 2020); used with Whisper, n = 2,
by Macháček, Dabre and Bojar, "Turning Whisper into real-time transcription system" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.errors import ConfigurationError
from streaming.events import Word
from streaming.protocols import Commit
from streaming.words import key

__all__ = ["LocalAgreement"]


class LocalAgreement:
    """Commits the words on which the last ``n`` hypotheses agree, in the newest spelling.

    ``n = 1`` commits every word at once; larger values wait for more passes.
    """

    def __init__(self, n: int = 2) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= 10:
            raise ConfigurationError(
                f"local-agreement: n must be a whole number from 1 to 10, not {n}"
            )
        self.history = n

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        newest = tuple(history[-1])
        if len(history) < self.history:
            return Commit((), newest)
        agreed = 0
        others = [[key(word.text) for word in words] for words in history[-self.history : -1]]
        for i, word in enumerate(newest):
            if any(i >= len(keys) or keys[i] != key(word.text) for keys in others):
                break
            agreed += 1
        return Commit(newest[:agreed], newest[agreed:])
