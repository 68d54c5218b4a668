from __future__ import annotations

import numpy as np
import pytest
from fakes import ScriptedBackend, say
from faults import GARBAGE

from streaming.events import Word
from streaming.hypothesis_check import defect_of
from streaming.protocols import Hypothesis, Window

SCRIPT = say(4)
WINDOW = Window(
    start_sample=0, mel=np.zeros((80, 300), np.float32), prefix=(SCRIPT.words[0], SCRIPT.words[1])
)


def test_a_sound_hypothesis_has_no_defect() -> None:
    for forces in (False, True):
        hypothesis = ScriptedBackend(SCRIPT, forces_prefix=forces).decode(WINDOW)
        assert hypothesis.words
        assert defect_of(hypothesis, WINDOW) is None
    assert defect_of(Hypothesis(words=(), language=""), WINDOW) is None


@pytest.mark.parametrize("name", GARBAGE)
def test_whatever_breaks_the_contract_is_a_defect_in_one_line(name: str) -> None:
    garbage = GARBAGE[name](ScriptedBackend(SCRIPT).decode(WINDOW), WINDOW)
    defect = defect_of(garbage, WINDOW)
    assert defect
    assert "\n" not in defect
    assert len(defect) < 200


def test_forced_words_keep_their_times_though_the_window_begins_later() -> None:
    late = Window(
        start_sample=16_000, mel=np.zeros((80, 200), np.float32), prefix=(Word(" a", 0.9, 1.2, 1),)
    )
    new = Word(" b", 1.2, 1.5, 1.0)
    assert defect_of(Hypothesis(words=(*late.prefix, new), n_forced=1), late) is None
    assert defect_of(Hypothesis(words=(*late.prefix, new)), late)
    assert defect_of(Hypothesis(words=(new, new), n_forced=1), late)
