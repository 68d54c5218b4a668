"""LocalAgreement that does not trust the live edge.

Two passes may mishear a half-spoken word alike. Here words are committed on which the last n
hypotheses agree (Liu, Spanakis and Niehues 2020, `policies.local_agreement`) and that end some
time before the audio does (Papi, Turchi and Negri 2023, `policies.hold_back`).
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

from ._prefixes import check_agreement, check_hold_back, n_agreed, n_before

__all__ = ["AgreementHoldBack"]


class AgreementHoldBack:
    """Commits what both rules allow: the shorter of the two prefixes, in the newest spelling.

    Args:
        n: hypotheses that must agree.
        seconds: audio at the end of which words stay tentative.

    Raises:
        ConfigurationError: ``n`` is no whole number from 1 to 10, or ``seconds`` no number from
            0 to 10.
    """

    def __init__(self, n: int = 2, seconds: float = 0.4) -> None:
        self.history = check_agreement("agreement-hold-back", n)
        self.seconds = check_hold_back("agreement-hold-back", seconds)

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        newest = tuple(history[-1])
        certain = min(n_agreed(history, self.history), n_before(newest, audio_end_s - self.seconds))
        return Commit(newest[:certain], newest[certain:])
