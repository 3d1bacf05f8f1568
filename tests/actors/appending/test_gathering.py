"""How long a commit waits for the callers of the one before it."""

from __future__ import annotations

import pytest

from eventstore_actors.appending.commit_plan import (
    FEW_EVENTS,
    RETURN_WINDOW,
    SECONDS_PER_EVENT,
    Gathering,
)

NOW = 100.0


@pytest.mark.parametrize("events", [1, 2, FEW_EVENTS])
def test_few_callers_are_given_the_time_to_come_back(events: int) -> None:
    gathering = Gathering()
    gathering.committed(1, events, NOW, others=True)
    assert gathering.pause(NOW + RETURN_WINDOW / 2) == events * SECONDS_PER_EVENT


def test_a_caller_alone_waits_for_nobody() -> None:
    gathering = Gathering()
    gathering.committed(1, 1, NOW, others=False)
    assert gathering.pause(NOW) == 0
    gathering.committed(2, 2, NOW, others=False)
    assert gathering.pause(NOW) > 0


def test_they_are_waited_for_once() -> None:
    gathering = Gathering()
    gathering.committed(1, 2, NOW, others=True)
    gathering.pause(NOW)
    assert gathering.pause(NOW) == 0


def test_many_are_not_waited_for() -> None:
    gathering = Gathering()
    gathering.committed(1, FEW_EVENTS + 1, NOW, others=True)
    assert gathering.pause(NOW) == 0


def test_who_did_not_come_back_soon_is_not_waited_for() -> None:
    gathering = Gathering()
    gathering.committed(1, 2, NOW, others=True)
    assert gathering.pause(NOW + RETURN_WINDOW) == 0


def test_the_first_commit_waits_for_nobody() -> None:
    assert Gathering().pause(0.0) == 0


@pytest.mark.parametrize(
    ("appends", "events", "shared"),
    [
        (1, 1, False),
        (2, 2, True),
        (100, 100, True),
        (2, 2 * FEW_EVENTS, True),
        (2, 2 * FEW_EVENTS + 1, False),
    ],
)
def test_several_small_appends_share_the_next_commit_too(
    appends: int, events: int, *, shared: bool
) -> None:
    assert Gathering().committed(appends, events, NOW, others=False) is shared
