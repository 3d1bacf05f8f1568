from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.model.errors import OutcomeUnknownError, StorageUnavailableError
from eventstore_actors.supervising.restart_budget import (
    Decision,
    GiveUp,
    RestartAfter,
    RestartBudget,
)

CRASH = RuntimeError("broken")
AWAY = [StorageUnavailableError("away"), OutcomeUnknownError("cut off")]

gaps = st.lists(st.floats(0, 40, allow_nan=False), max_size=60)
budgets = st.builds(RestartBudget, st.integers(0, 8), st.floats(0.01, 60, allow_nan=False))


def test_the_first_restart_is_at_once_and_each_further_one_waits_twice_as_long() -> None:
    budget = RestartBudget(5, 30)
    delays = [_delay(budget.crashed(CRASH, now=0.0)) for _ in range(5)]
    assert delays == pytest.approx([0, 0.05, 0.1, 0.2, 0.4])


def test_however_many_crashes_are_allowed_none_waits_longer_than_two_seconds() -> None:
    budget = RestartBudget(2_000, 1e6)
    delays = [_delay(budget.crashed(CRASH, now=0.0)) for _ in range(2_000)]
    assert max(delays) == delays[-1] == 2


def test_one_crash_more_than_the_limit_within_the_window_gives_up() -> None:
    """G24: more crashes than the limit stop the runtime."""
    budget = RestartBudget(2, 30)
    assert isinstance(budget.crashed(CRASH, now=0), RestartAfter)
    assert isinstance(budget.crashed(CRASH, now=10), RestartAfter)
    assert budget.crashed(CRASH, now=29.9) == GiveUp(3)


def test_a_budget_of_none_gives_up_at_the_first_crash() -> None:
    assert RestartBudget(0, 30).crashed(CRASH, now=0) == GiveUp(1)


def test_crashes_that_left_the_window_are_forgotten() -> None:
    budget = RestartBudget(1, 30)
    assert [budget.crashed(CRASH, now) for now in (0, 30, 60, 90)] == [RestartAfter(0.0)] * 4


@pytest.mark.parametrize("away", AWAY, ids=lambda error: type(error).__name__)
def test_a_database_that_is_away_never_counts_but_is_not_asked_in_a_tight_loop(
    away: Exception,
) -> None:
    """G25: everything resumes by itself when the database is back."""
    budget = RestartBudget(1, 30)
    delays = [_delay(budget.crashed(away, now=0)) for _ in range(1_000)]
    assert delays[:4] == pytest.approx([0.05, 0.1, 0.2, 0.4])
    assert max(delays) == delays[-1] == 2
    assert budget.crashed(CRASH, now=0) == RestartAfter(0.0)


@given(budgets, gaps)
def test_it_gives_up_exactly_when_the_window_holds_more_crashes_than_allowed(
    budget: RestartBudget, gaps: list[float]
) -> None:
    """G24."""
    moments: list[float] = []
    now = 0.0
    for gap in gaps:
        now += gap
        moments.append(now)
        within = [moment for moment in moments if moment > now - budget._window]
        gave_up = isinstance(budget.crashed(CRASH, now), GiveUp)
        assert gave_up == (len(within) > budget._max_restarts)


@given(budgets)
def test_a_child_that_crashes_as_soon_as_it_starts_is_given_up_within_one_window(
    budget: RestartBudget,
) -> None:
    """G24: the growing delays never hide an endless crash from the limit."""
    now = 0.0
    while isinstance(decision := budget.crashed(CRASH, now), RestartAfter):
        now += decision.delay
        assert now < budget._window / 2


def _delay(decision: Decision) -> float:
    assert isinstance(decision, RestartAfter)
    return decision.delay
