"""Hold back the live edge: commit words that end well before the audio does.

A model changes its mind about words that it has heard only in part. AlignAtt (Papi, Turchi and
Negri, "AlignAtt: Using Attention-based Audio-Translation Alignments as a Guide for Simultaneous
Speech Translation", Interspeech 2023) therefore stops at the first token whose attention lies
on the newest frames of the audio. Here a finished hypothesis is cut there, by its word times,
which come from the same attention. Holding back the end of each hypothesis, counted in words,
is hold-n of Liu, Spanakis and Niehues, "Low-latency sequence-to-sequence speech recognition and
translation by partial hypothesis selection" (Interspeech 2020).

One pass decides, so nothing waits for a second one; but nothing corrects an alignment that puts
a word too early either, and times that are only interpolated are no evidence at all. There
`policies.agreement_hold_back` is the safer choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.events import Word
from streaming.protocols import Commit

from ._prefixes import check_hold_back, n_before

__all__ = ["HoldBack"]


class HoldBack:
    """Commits the words up to the first one that ends in the last ``seconds`` of the audio.

    That word and all after it stay tentative, whatever their times: a time that jumps back
    never lets a word overtake another.

    Raises:
        ConfigurationError: ``seconds`` is no number from 0 to 10.
    """

    history = 1

    def __init__(self, seconds: float = 0.8) -> None:
        self.seconds = check_hold_back("hold-back", seconds)

    def update(
        self,
        history: Sequence[Sequence[Word]],
        committed: Sequence[Word],
        audio_end_s: float,
    ) -> Commit:
        """See `streaming.protocols.CommitPolicy`."""
        newest = tuple(history[-1])
        certain = n_before(newest, audio_end_s - self.seconds)
        return Commit(newest[:certain], newest[certain:])
