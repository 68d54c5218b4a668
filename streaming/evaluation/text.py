"""Error rates of text, as Whisper's own evaluation counts them.

Both texts are normalized first: English with Whisper's English normalizer (contractions,
numbers, British spelling), other languages with its basic one (Radford et al. 2023, "Robust
speech recognition via large-scale weak supervision", appendix C). Languages written without
spaces are counted by characters (CER), the others by words (WER).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, cast

from ..errors import ConfigurationError
from ..words import UNSPACED_LANGUAGES

__all__ = ["ErrorCount", "count_errors", "error_unit", "evaluation_module"]


def error_unit(language: str) -> Literal["word", "character"]:
    """What errors of this language are counted in."""
    return "character" if language in UNSPACED_LANGUAGES else "word"


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """Substitutions, deletions and insertions against a reference; counts add up."""

    errors: int
    total: int
    """Words or characters of the reference."""

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(self.errors + other.errors, self.total + other.total)

    @property
    def rate(self) -> float | None:
        """Errors per unit of the reference; None where that is empty."""
        return self.errors / self.total if self.total else None


def count_errors(reference: str, hypothesis: str, language: str) -> ErrorCount:
    """Count the errors of a text, in the language's unit, after normalization.

    Raises:
        ConfigurationError: the packages for evaluation are not installed.
    """
    jiwer = evaluation_module("jiwer")
    normalize = _normalizer(language)
    reference, hypothesis = normalize(reference).strip(), normalize(hypothesis).strip()
    if error_unit(language) == "character":
        pair = ("".join(reference.split()), "".join(hypothesis.split()))
        counts = jiwer.process_characters(*pair)
    else:
        counts = jiwer.process_words(reference, hypothesis)
    missed = counts.substitutions + counts.deletions
    return ErrorCount(missed + counts.insertions, counts.hits + missed)


def evaluation_module(name: str) -> Any:
    """Import an optional package.

    Raises:
        ConfigurationError: it is not installed; the message says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f'evaluation needs {name.partition(".")[0]}: pip install "stream-transcribe[evaluate]"'
        ) from error


@cache
def _normalizer(language: str) -> Callable[[str], str]:
    if language == "en":
        make = evaluation_module("whisper_normalizer.english").EnglishTextNormalizer
    else:
        make = evaluation_module("whisper_normalizer.basic").BasicTextNormalizer
    return cast(Callable[[str], str], make())
