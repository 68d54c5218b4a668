from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streaming.backends.language_choice import choose_language, given_language
from streaming.errors import ConfigurationError
from streaming.protocols import Window

HEARD = {"en": 0.5, "de": 0.3, "ja": 0.2}


def window(**fields: Any) -> Window:
    return Window(start_sample=0, mel=np.zeros((80, 10), np.float32), **fields)


def test_a_given_language_needs_no_detection() -> None:
    assert given_language(window(language="de"), {"de": 1}) == ("de", 1.0, False)
    assert given_language(window(), {"de": 1}) is None


def test_the_likeliest_language_is_taken() -> None:
    assert choose_language(HEARD, window()) == ("en", 0.5, True)


def test_candidates_limit_the_choice() -> None:
    language, probability, sure = choose_language(HEARD, window(candidates=("de", "ja")))
    assert (language, sure) == ("de", True)
    assert probability == pytest.approx(0.6)


def test_when_unsure_the_stream_stays_in_its_language() -> None:
    even = {"en": 0.34, "de": 0.33, "ja": 0.33}
    language, probability, sure = choose_language(even, window())
    assert (language, sure) == ("en", False)
    assert probability == pytest.approx(0.34)
    assert choose_language(even, window(fallback_language="ja"))[0] == "ja"


def test_a_clear_change_of_language_is_followed() -> None:
    clear = {"en": 0.001, "de": 0.999}
    assert choose_language(clear, window(fallback_language="en"))[:1] == ("de",)


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'xx'"):
        given_language(window(language="xx"), {"en": 0})
    with pytest.raises(ConfigurationError, match="'xx'"):
        choose_language(HEARD, window(candidates=("en", "xx")))
