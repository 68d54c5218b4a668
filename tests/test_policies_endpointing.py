from __future__ import annotations

import math

import pytest

from policies.endpointing import TrailingSilence
from streaming.errors import ConfigurationError
from streaming.protocols import Activity, EndpointPolicy


@pytest.mark.parametrize(
    ("utterance_samples", "silence_samples", "expected"),
    [
        (16_000, 0, None),
        (16_000, 9_599, None),
        (16_000, 9_600, "silence"),
        (479_999, 0, None),
        (480_000, 0, "max_length"),
        (480_000, 9_599, "max_length"),
        (480_000, 9_600, "silence"),
    ],
)
def test_an_utterance_ends_exactly_at_a_limit(
    utterance_samples: int, silence_samples: int, expected: str | None
) -> None:
    policy: EndpointPolicy = TrailingSilence(silence_s=0.6, max_utterance_s=30.0)
    assert policy.update(Activity(utterance_samples, silence_samples)) == expected


def test_the_limits_are_the_given_seconds() -> None:
    policy = TrailingSilence(silence_s=0.25, max_utterance_s=2.0)
    assert policy.update(Activity(10_000, 4_000)) == "silence"
    assert policy.update(Activity(32_000, 3_999)) == "max_length"
    assert policy.update(Activity(31_999, 3_999)) is None


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-6, math.nan, math.inf])
def test_limits_that_make_no_sense_are_refused_by_name(value: float) -> None:
    with pytest.raises(ConfigurationError, match="--endpoint-silence"):
        TrailingSilence(silence_s=value)
    with pytest.raises(ConfigurationError, match="--max-utterance"):
        TrailingSilence(max_utterance_s=value)
