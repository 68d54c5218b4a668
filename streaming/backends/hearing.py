"""From the tokens of a pass to its hypothesis; the same for every native core."""

from __future__ import annotations

from collections.abc import Sequence

from ..audio import SAMPLE_RATE
from ..events import Word
from ..protocols import Hypothesis, Window
from ..words import TimedToken, words_from_tokens
from .guards import drop_in_silence, drop_noise_tags, drop_past_end, loop_start
from .word_timing import shrink_to_voice, voice_after_s

__all__ = ["hypothesis_of"]


def hypothesis_of(
    window: Window,
    tokens: Sequence[TimedToken],
    chosen: tuple[str, float, bool],
    forced: Sequence[Word] | None = None,
) -> Hypothesis:
    """Words of the tokens, with what the guards leave of them.

    Args:
        window: what was decoded.
        tokens: in order, with absolute times inside the window.
        chosen: the language, as `streaming.backends.language_choice` gives it.
        forced: the words that the tokens go on from; None where none were forced.
    """
    language, probability, detected = chosen
    start_s = window.start_sample / SAMPLE_RATE
    said = drop_noise_tags(words_from_tokens(tokens, language))
    before = forced or ()
    voiced = [*before, *shrink_to_voice(said, window.mel, start_s)]
    voiced = drop_in_silence(voiced, lambda time_s: voice_after_s(time_s, window.mel, start_s))
    heard = drop_past_end(voiced, window.end_sample / SAMPLE_RATE)
    loop = loop_start(heard)
    # What is committed stays, also where it is what the model then repeats.
    kept = heard if loop is None else heard[: max(loop, len(before))]
    words = [*before, *kept[len(before) :]]
    return Hypothesis(
        words=tuple(words),
        language=language,
        language_probability=probability,
        language_detected=detected,
        timing="aligned",
        looped=loop is not None,
        unheard_s=voice_after_s(words[-1].end_s, window.mel, start_s) if words else 0.0,
        n_forced=None if forced is None else len(forced),
    )
