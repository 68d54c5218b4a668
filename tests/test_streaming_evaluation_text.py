from __future__ import annotations

import sys

import pytest

from streaming.errors import ConfigurationError
from streaming.evaluation.text import ErrorCount, count_errors, error_unit


def test_english_is_compared_after_whispers_normalizer() -> None:
    count = count_errors(
        "It's Mr. Smith's colour, twenty-two.", "it is mister smiths color 22", "en"
    )
    assert count == ErrorCount(2, 7)  # "smith is" became "smiths": a substitution, a deletion


def test_other_languages_keep_their_letters() -> None:
    assert count_errors("Sous le Consulat, il dévient!", "sous le consulat il devient", "fr") == (
        ErrorCount(1, 5)
    )


def test_substitutions_deletions_and_insertions_all_count() -> None:
    assert count_errors("a b c d", "a x c d e", "de") == ErrorCount(2, 4)
    assert count_errors("a b c d", "", "de") == ErrorCount(4, 4)
    assert count_errors("", "a b", "de") == ErrorCount(2, 0)


def test_languages_without_spaces_are_counted_by_characters() -> None:
    assert error_unit("ja") == error_unit("zh") == error_unit("th") == "character"
    assert error_unit("en") == "word"
    assert count_errors("客観的 実在。", "客感的実在の", "ja") == ErrorCount(2, 5)


def test_counts_pool_by_adding() -> None:
    assert (ErrorCount(1, 10) + ErrorCount(2, 10)).rate == 0.15
    assert ErrorCount(3, 0).rate is None


def test_without_the_packages_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ConfigurationError) as caught:
        count_errors("a", "a", "fr")
    assert str(caught.value) == (
        'evaluation needs jiwer: pip install "stream-transcribe[evaluate]"'
    )
