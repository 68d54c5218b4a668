"""The contracts of the policies. All of them are pure: what they say depends on nothing else."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar, get_args

from ..audio import SAMPLE_RATE
from ..events import FinalReason, Word
from ..protocols import Activity, Commit, CommitPolicy, EndpointPolicy, TrimPolicy
from ._common import expect

__all__ = ["check_commit_policy", "check_endpoint_policy", "check_trim_policy"]

T = TypeVar("T")
R = TypeVar("R")

_TEXTS = (" the", " cat", " sat", " on", " a", " mat.", " Yes,", " no!", "世", "界", " 3.5", " -")


def check_commit_policy(make: Callable[[], CommitPolicy], *, seed: int = 0) -> None:
    """Check a commit policy over made-up hypotheses, revisions and empty ones included.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    size = make().history
    expect(
        isinstance(size, int) and size >= 1, f"history must be an int of at least 1, not {size!r}"
    )
    rng = random.Random(seed)
    cases = []
    for _ in range(100):
        newest = _words(rng, rng.randrange(8), 10.0)
        history = [newest]
        while len(history) < rng.randint(1, size):
            history.insert(0, _revised(rng, history[0]))
        committed = _words(rng, rng.randrange(4), 5.0)
        end_s = max([10.0, *(word.end_s for word in newest)]) + rng.random()
        cases.append((tuple(history), committed, end_s))
    cases.append((((),), (), 0.0))  # silence at the very start

    def decide(policy: CommitPolicy, case: int) -> Commit:
        history, committed, end_s = cases[case]
        # Lists, so that a policy which changes what it was given is found out.
        given, given_committed = [list(words) for words in history], list(committed)
        commit = policy.update(given, given_committed, end_s)
        unchanged = given == [list(words) for words in history]
        expect(unchanged and given_committed == list(committed), "update changes what it was given")
        return commit

    for case, commit in enumerate(_pure("update", make, decide, len(cases))):
        newest = cases[case][0][-1]
        expect(isinstance(commit, Commit), f"update returns a {type(commit).__name__}, no Commit")
        both = (*commit.words, *commit.tentative)
        expect(
            both == newest,
            f"words and tentative together must be the newest hypothesis: {_text(both)!r} is not "
            f"{_text(newest)!r}",
        )


def check_trim_policy(make: Callable[[], TrimPolicy], *, seed: int = 0) -> None:
    """Check a trim policy over windows with and without committed words.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    rng = random.Random(seed)
    cases = []
    for _ in range(200):
        start_s = rng.choice([0.0, 3.25, 3600.0])
        committed = _words(rng, rng.randrange(30), start_s)
        spoken_s = committed[-1].end_s if committed else start_s
        cases.append((start_s, spoken_s + rng.uniform(0.0, 12.0), committed))

    def decide(policy: TrimPolicy, case: int) -> float | None:
        return policy.trim(*cases[case])

    for case, cut_s in enumerate(_pure("trim", make, decide, len(cases))):
        if cut_s is None:
            continue
        start_s, end_s, committed = cases[case]
        expect(math.isfinite(cut_s), f"trim returns {cut_s}")
        window = f"the window {start_s:.2f}-{end_s:.2f} s"
        expect(cut_s > start_s, f"trim cuts at {cut_s:.2f} s, which frees nothing of {window}")
        expect(committed, f"trim cuts {window}, where nothing is committed yet")
        last_s = committed[-1].end_s
        expect(
            cut_s <= last_s,
            f"trim cuts at {cut_s:.2f} s, after the last committed word, which ends at "
            f"{last_s:.2f} s: what follows is lost",
        )


def check_endpoint_policy(make: Callable[[], EndpointPolicy], *, seed: int = 0) -> None:
    """Check an endpoint policy over running utterances.

    Raises:
        AssertionError: the contract is broken; the text says how.
    """
    rng = random.Random(seed)
    cases = [Activity(0, 0)]
    for _ in range(200):
        utterance = rng.randrange(120 * SAMPLE_RATE)
        cases.append(Activity(utterance, rng.choice([0, rng.randint(0, utterance)])))

    def decide(policy: EndpointPolicy, case: int) -> FinalReason | None:
        return policy.update(cases[case])

    for case, reason in enumerate(_pure("update", make, decide, len(cases))):
        known = reason is None or reason in get_args(FinalReason)
        expect(known, f"update returns {reason!r}, which is no reason to end an utterance")
        if case == 0:
            expect(reason is None, "update closes an utterance that has no audio yet")


def _pure(what: str, make: Callable[[], T], decide: Callable[[T, int], R], cases: int) -> list[R]:
    """Decide every case; fail if the order or what came before makes a difference."""
    policy = make()
    decisions = [decide(policy, case) for case in range(cases)]
    for case in reversed(range(cases)):
        again = decide(policy, case) == decisions[case]
        expect(again, f"{what} gives another answer to the same input: it is not pure")
    fresh = decide(make(), cases - 1) == decisions[-1]
    expect(fresh, f"{what} of a fresh policy gives another answer: it is not pure")
    return decisions


def _words(rng: random.Random, count: int, start_s: float) -> tuple[Word, ...]:
    edges = [start_s + 0.05]
    for _ in range(2 * count):
        edges.append(edges[-1] + rng.choice([0.0, 0.1, 0.25, 0.5]))
    times = list(pairwise(edges))[::2]
    return tuple(Word(rng.choice(_TEXTS), *span, rng.random()) for span in times[:count])


def _revised(rng: random.Random, words: Sequence[Word]) -> tuple[Word, ...]:
    """An earlier hypothesis: shorter, and with other words towards its end."""
    kept = tuple(words[: rng.randint(0, len(words))])
    start_s = kept[-1].end_s if kept else 10.0
    return kept + _words(rng, rng.randrange(3), start_s)


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words)
