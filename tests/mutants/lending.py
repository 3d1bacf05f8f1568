"""Mutants of the threads that actors share."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant
from tests.mutants.places.python_place import function

__all__ = ["LENDING"]

_LANE = "tests/actors/kernel/test_lane.py"
_WORKERS = "tests/actors/kernel/test_workers.py"

LENDING = (
    Mutant(
        name="falls-asleep-over-a-message",
        guarantee="G23",
        breaks="A message that comes as the actor gives its thread back waits for the next one.",
        where=function("Inbox._get_or_sleep").condition(),
        change=constant(True),
        killers=(
            f"{_WORKERS}::test_a_message_that_comes_as_the_actor_falls_asleep_keeps_it_awake",
        ),
    ),
    Mutant(
        name="actor-that-runs-twice",
        guarantee="G24",
        breaks="After a fork an actor runs in the child, too, over the parent's connections.",
        where=function("SupervisedActor._wake").condition(mentioning="getpid"),
        change=constant(False),
        killers=(f"{_WORKERS}::test_an_actor_of_the_parent_does_not_run_in_a_child_after_a_fork",),
    ),
    Mutant(
        name="thread-lent-as-it-ends",
        guarantee="G24",
        breaks="What a thread is given as it gives up waiting is never done.",
        where=function("Workers._dismiss").condition(),
        change=constant(False),
        killers=(f"{_WORKERS}::test_no_work_is_lost_when_it_comes_as_a_thread_ends",),
    ),
    Mutant(
        name="work-of-a-dead-thread",
        guarantee="G24",
        breaks="An exception that hits a thread costs the actor its messages.",
        where=function("Workers.thread_ended").condition(mentioning="_dismiss"),
        change=constant(False),
        killers=(f"{_WORKERS}::test_work_of_a_thread_that_dies_is_done_by_another",),
    ),
    Mutant(
        name="lane-behind-who-left-it",
        guarantee="G22",
        breaks="All subscriptions wait for one that waits for the database.",
        where=function("Lane.leave").condition(),
        change=constant(False),
        killers=(f"{_LANE}::test_turns_that_wait_are_taken_when_one_leaves",),
    ),
)
