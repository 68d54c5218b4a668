from __future__ import annotations

import random
import time

from streaming.evaluation.alignment import align_words
from streaming.events import Word


def words(text: str, start_s: float = 0.0) -> list[Word]:
    """One word a second."""
    return [
        Word(" " + word, start_s + i, start_s + i + 0.5, 1.0) for i, word in enumerate(text.split())
    ]


def test_equal_words_match_whatever_their_case_and_punctuation() -> None:
    assert align_words(words("Ask not, what"), words("ask not what")) == [0, 1, 2]


def test_missing_and_extra_words_shift_the_others() -> None:
    assert align_words(words("a c d"), words("a b c d")) == [0, 2, 3]
    assert align_words(words("a b x c"), words("a b c")) == [0, 1, None, 2]


def test_a_misheard_word_matches_what_stands_in_its_place() -> None:
    assert align_words(words("a cat c"), words("a cap c")) == [0, 1, 2]


def test_pairs_far_apart_in_time_are_no_pairs() -> None:
    assert align_words(words("a b", start_s=1.9), words("a b")) == [0, 1]
    assert align_words(words("a b", start_s=2.1), words("a b")) == [None, None]


def test_punctuation_alone_matches_nothing() -> None:
    assert align_words(words("a - b"), words("a b ...")) == [0, None, 1]


def test_an_hour_of_speech_takes_no_time() -> None:
    rng = random.Random(1)
    offline = words(" ".join(str(rng.randrange(900)) for _ in range(10_000)))
    kept = [i for i in range(len(offline)) if rng.random() > 0.05]
    begun = time.perf_counter()
    matches = align_words([offline[i] for i in kept], offline)
    assert time.perf_counter() - begun < 2
    assert sum(a == b for a, b in zip(matches, kept, strict=True)) > 0.97 * len(kept)
