"""Words as text: how they compare, where sentences end, how tokens become words.

Words compare by their casefolded letters, digits and marks, so that "Country," and
"country" are the same word; what is committed is always the newest spelling.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .events import Word

__all__ = [
    "UNSPACED_LANGUAGES",
    "TimedToken",
    "ends_sentence",
    "key",
    "longest_repeat",
    "words_from_tokens",
]

UNSPACED_LANGUAGES = frozenset({"ja", "zh", "yue", "th", "lo", "my", "km", "bo"})
"""Languages written without spaces between words: there every character is a word."""

_SENTENCE_MARKS = frozenset(".?!…。？！｡．।؟۔")  # noqa: RUF001 - the marks of other scripts
_CLOSERS = "\"'”’»)]}」』）】"  # noqa: RUF001


def key(text: str) -> str:
    """What two words are compared by; empty for pure punctuation."""
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] in "LNM")


def ends_sentence(text: str) -> bool:
    """True if the word carries a sentence-final mark, inside closing quotes or not."""
    bare = text.rstrip().rstrip(_CLOSERS)
    return bool(bare) and bare[-1] in _SENTENCE_MARKS


@dataclass(frozen=True, slots=True)
class TimedToken:
    """One text token of a decode."""

    text: bytes
    """Raw UTF-8 bytes; a character may be spread over several tokens."""
    start_s: float
    end_s: float
    probability: float


@dataclass(slots=True)
class _Piece:
    """Text under construction together with its span and token probabilities."""

    text: str
    start_s: float
    end_s: float
    probabilities: list[float]

    def word(self) -> Word:
        mean = sum(self.probabilities) / len(self.probabilities)
        return Word(self.text, self.start_s, self.end_s, min(max(mean, 0.0), 1.0))


def _characters(tokens: Iterable[TimedToken]) -> list[_Piece]:
    """Join tokens until their bytes are whole characters.

    An unfinished rest is withheld; bytes that are no character are left out.
    """
    pieces: list[_Piece] = []
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    held: list[TimedToken] = []
    for token in tokens:
        held.append(token)
        if text := decoder.decode(token.text):
            probabilities = [t.probability for t in held]
            pieces.append(_Piece(text, held[0].start_s, held[-1].end_s, probabilities))
            held = []
    return pieces


def _split_unspaced(pieces: Iterable[_Piece]) -> list[_Piece]:
    """One piece a character, its time a share of the token's."""
    out: list[_Piece] = []
    for piece in pieces:
        step = (piece.end_s - piece.start_s) / max(len(piece.text), 1)
        for i, character in enumerate(piece.text):
            start = piece.start_s + i * step
            out.append(_Piece(character, start, start + step, piece.probabilities))
    return out


def words_from_tokens(tokens: Sequence[TimedToken], language: str) -> list[Word]:
    """Group tokens into words.

    A word starts at a leading space, or at every character in `UNSPACED_LANGUAGES`.
    Punctuation stays with the word before it. Bytes of an unfinished last character are
    withheld: the next pass will have the whole.
    """
    unspaced = language in UNSPACED_LANGUAGES
    pieces = _characters(tokens)
    if unspaced:
        pieces = _split_unspaced(pieces)
    words: list[_Piece] = []
    for piece in pieces:
        if not piece.text:
            continue
        latin = bool(words) and words[-1].text[-1:].isascii() and piece.text.isascii()
        new_word = piece.text[0].isspace() or (unspaced and not latin)
        if words and key(piece.text) == "" and piece.text.strip():
            new_word = piece.text.strip()[0] in "([{¿¡«“„‘「『（【-–—" and new_word  # noqa: RUF001
        if words and (not new_word or key(words[-1].text) == ""):
            # Bare punctuation in front of a word (a dash, an opening quote) joins it.
            last = words[-1]
            last.text += piece.text
            if key(piece.text):  # the time of a punctuation mark is a pause
                last.end_s = max(last.end_s, piece.end_s)
            last.probabilities = [*last.probabilities, *piece.probabilities]
        else:
            words.append(piece)
    return [piece.word() for piece in words if piece.text.strip()]


def longest_repeat(keys: Sequence[str], *, max_period: int = 12) -> tuple[int, int, int]:
    """The worst consecutive repetition in a list of keys.

    Returns:
        ``(start, period, times)`` of the run that covers the most items, where
        ``keys[start : start + period * times]`` is one block said ``times`` times;
        ``(0, 0, 1)`` if nothing repeats.
    """
    best = (0, 0, 1)
    for period in range(1, min(max_period, len(keys) // 2) + 1):
        run = 0
        for i in range(period, len(keys) + 1):
            if i < len(keys) and keys[i] == keys[i - period]:
                run += 1
                continue
            times = run // period + 1
            if times > 1 and period * (times - 1) > best[1] * (best[2] - 1):
                best = (i - period - run, period, times)
            run = 0
    return best
