"""How many examples Hypothesis tries: ``HYPOTHESIS_PROFILE=ci`` asks for four times as many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["choose_profile", "examples"]

_PROFILES = {"development": 100, "ci": 400}
"""Examples of a property, by profile."""


def choose_profile() -> None:
    """Load the profile that the environment names; neither judges the speed of the machine."""
    for name, count in _PROFILES.items():
        settings.register_profile(
            name,
            max_examples=count,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "development"))


def examples(count: int) -> int:
    """Return how many histories to try of a state machine that gets *count* in development."""
    return count * settings().max_examples // _PROFILES["development"]
