from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streaming.backends.vocabulary import Vocabulary
from streaming.backends.window_input import (
    FULL_CONTEXT,
    check_prompt,
    context_of_model,
    context_positions,
    prompt_tokens,
)
from streaming.errors import ConfigurationError
from streaming.protocols import Window


def of_length(seconds: float) -> Window:
    return Window(start_sample=0, mel=np.zeros((80, round(100 * seconds)), np.float32))


def test_a_margin_suits_its_model_unless_it_is_chosen() -> None:
    assert context_of_model("base", None, None)[0] < context_of_model("tiny.en", None, None)[0]
    assert context_of_model("base", 7, 0) == (7, 0)


@pytest.mark.parametrize("chosen", [(-1, 0), (0, -1)])
def test_a_negative_number_of_positions_is_refused(chosen: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match="must be at least 0 positions"):
        context_of_model("tiny.en", *chosen)


def test_a_window_gets_its_own_positions_and_the_margin_between_least_and_full() -> None:
    assert context_positions(of_length(10.0), 192, 384) == 500 + 192
    assert context_positions(of_length(0.99), 10, 0) == 50 + 10  # half a position counts
    assert context_positions(of_length(2.0), 192, 384) == 384
    assert context_positions(of_length(29.0), 192, 384) == FULL_CONTEXT


def test_a_careful_pass_gets_all_positions() -> None:
    assert context_positions(replace(of_length(2.0), careful=True), 192, 384) == FULL_CONTEXT


BYTES = Vocabulary([bytes([i]) for i in range(256)])


def said(tokens: list[int]) -> str:
    return b"".join(BYTES.tokens[token] for token in tokens).decode()


def test_a_prompt_that_fits_is_heard_whole() -> None:
    prompt = "x" * 99
    check_prompt(prompt, BYTES, "tiny.en")
    check_prompt("  ", BYTES, "tiny.en")
    window = replace(of_length(2.0), prompt=prompt, context=" so it goes")
    assert said(prompt_tokens(window, BYTES)) == f" {prompt} so it goes"


def test_a_prompt_that_would_be_cut_is_refused_and_told_where() -> None:
    names = ", ".join(f"Name{i}" for i in range(20))
    with pytest.raises(ConfigurationError) as error:
        check_prompt(names, BYTES, "tiny.en")
    cut = f" {names}"[:100]
    assert str(error.value) == (
        f"hotwords and prompt have {len(names) + 1} tokens, and tiny.en takes 100, "
        f'up to "...{cut[-30:]}"; leave out what matters least'
    )
    assert said(prompt_tokens(replace(of_length(2.0), prompt=names), BYTES)) == cut
