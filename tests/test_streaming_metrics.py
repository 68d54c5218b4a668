from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events import Stats, event_from_json
from streaming.metrics import DelayHistogram, SessionMetrics


def test_nothing_counted_has_no_percentiles() -> None:
    histogram = DelayHistogram()
    assert histogram.percentile(50) is None
    assert histogram.max_s is None


@given(delays=st.lists(st.floats(0.0, 59.0), min_size=1, max_size=200), percent=st.floats(1, 100))
def test_percentiles_are_right_to_ten_milliseconds(delays: list[float], percent: float) -> None:
    histogram = DelayHistogram()
    for delay in delays:
        histogram.add(delay)
    exact = float(np.percentile(delays, percent, method="inverted_cdf"))
    found = histogram.percentile(percent)
    assert found is not None
    assert exact - 1e-9 <= found <= exact + 0.01 + 1e-9
    assert histogram.max_s == max(delays)
    assert found <= max(delays)


def test_a_delay_of_hours_is_counted_and_its_maximum_is_exact() -> None:
    histogram = DelayHistogram()
    histogram.add(7200.5)
    assert histogram.max_s == 7200.5
    assert histogram.percentile(50) == pytest.approx(60.0, abs=0.02)


def test_a_negative_delay_counts_as_none() -> None:
    histogram = DelayHistogram()
    histogram.add(-3.0)
    assert histogram.percentile(50) == 0.0
    assert histogram.max_s == 0.0


def test_stats_add_up() -> None:
    metrics = SessionMetrics()
    assert metrics.stats().real_time_factor == 0.0
    metrics.audio_samples = 160_000
    metrics.pass_done(0.5, backlog_s=1.0, queue_s=0.0)
    metrics.pass_done(1.5, backlog_s=0.25, queue_s=0.4)
    metrics.delays.add(0.7)
    stats = metrics.stats()
    assert (stats.passes, stats.compute_s, stats.audio_s) == (2, 2.0, 10.0)
    assert stats.real_time_factor == pytest.approx(0.2)
    assert stats.peak_queue_s == 1.0
    assert stats.queue_delay_p50_s == pytest.approx(0.0, abs=0.01)
    assert stats.queue_delay_p95_s == stats.queue_delay_max_s == 0.4
    assert stats.delay_max_s == 0.7
    assert stats.delay_p50_s is not None
    assert stats.delay_p50_s == pytest.approx(0.7, abs=0.01)


def test_totals_of_an_older_log_have_no_queue_delay() -> None:
    stats = event_from_json('{"type": "stats", "passes": 3, "delay_p50_s": 0.9}')
    assert isinstance(stats, Stats)
    assert (stats.passes, stats.delay_p50_s, stats.queue_delay_p50_s) == (3, 0.9, None)
