from __future__ import annotations

from streaming.context import context_of, parrots
from streaming.events import Word

SAID = [Word(f" w{i}", i, i + 0.5, 0.9) for i in range(10)]


def test_a_short_window_gets_just_enough_to_go_on_with_a_sentence() -> None:
    assert context_of(SAID, 160_000) == " w0 w1 w2 w3 w4 w5 w6 w7 w8 w9"
    assert context_of(SAID, 47_000) == " w4 w5 w6 w7 w8 w9"
    assert context_of([], 47_000) == ""


def test_three_words_out_of_the_context_are_repeated_and_not_heard() -> None:
    context = " And so, my fellow Americans"
    assert parrots([Word(text, 0, 0, 1) for text in (" so", " my", " Fellow.")], context)
    assert not parrots([Word(text, 0, 0, 1) for text in (" my", " fellow")], context)
    assert not parrots([Word(text, 0, 0, 1) for text in (" so", " my", " fell")], context)
    assert not parrots([Word(text, 0, 0, 1) for text in (" so", " fellow", " my")], context)
