from __future__ import annotations

from itertools import pairwise

import pytest
from fakes import ScriptedBackend, chunks_of, make_parts, say, simulate
from hypothesis import given
from hypothesis import strategies as st

from policies.endpoint_only import EndpointOnly
from streaming.events import Committed, Final, Partial, Word
from streaming.protocols import Commit
from streaming.testing import check_commit_policy


def test_it_keeps_the_contract_of_a_commit_policy() -> None:
    check_commit_policy(EndpointOnly)


@given(texts=st.lists(st.sampled_from([" a", " b."])), end_s=st.floats(0.0, 100.0))
def test_every_word_stays_tentative(texts: list[str], end_s: float) -> None:
    words = tuple(Word(text, 0.0, 0.1, 0.9) for text in texts)
    assert EndpointOnly().update([words], (), end_s) == Commit((), words)


@pytest.mark.parametrize(
    ("utterances", "reasons"),
    [
        ((6, 9), ["silence", "end_of_stream"]),
        ((90,), ["max_length", "max_length", "end_of_stream"]),
    ],
    ids=["pauses", "none"],
)
def test_in_a_run_each_utterance_is_committed_as_a_whole_when_it_ends(
    utterances: tuple[int, ...], reasons: list[str]
) -> None:
    script = say(*utterances)
    parts = make_parts(commit_policy=EndpointOnly())
    backend = ScriptedBackend(script)
    events = simulate(chunks_of(script.audio()), backend, parts)
    finals = [event for event in events if isinstance(event, Final)]
    assert [final.reason for final in finals] == reasons
    assert [w.text for final in finals for w in final.words] == [w.text for w in script.words]
    for event, following in pairwise(events):
        if isinstance(event, Committed):
            assert isinstance(following, Final)
            assert event.text == following.text
    assert backend.longest_frames <= 1501
    assert any(event.words for event in events if isinstance(event, Partial))
