"""Settings of properties that are the same from run to run, and take as long."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__ = ["bounded"]


def bounded(examples: int, *, steps: int = 50) -> settings:
    """So many examples, always the same ones, of so many steps where they are of a machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
