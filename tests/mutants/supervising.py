"""Mutants of restarts, of their limit, and of orderly and other ends."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

__all__ = ["SUPERVISING"]

_RESTART = "actors/eventstore_actors/supervising/restart_budget.py"

_BUDGET = "tests/actors/supervising/test_restart_budget.py"
_RUNTIME = "tests/actors/supervising/test_actor_runtime.py"
_STOP = "tests/actors/supervising/test_stop.py"
_SUPERVISOR = "tests/actors/supervising/test_supervisor.py"
_OWNERSHIP = "tests/conformance/subscriptions/test_ownership.py"

SUPERVISING = (
    Mutant(
        name="one-restart-more",
        guarantee="G24",
        breaks="One crash more than allowed is taken.",
        file=_RESTART,
        before="if len(self._counted) > self._max_restarts:",
        after="if len(self._counted) > self._max_restarts + 1:",
        killers=(f"{_BUDGET}::test_one_crash_more_than_the_limit_within_the_window_gives_up",),
    ),
    Mutant(
        name="crashes-never-forgotten",
        guarantee="G24",
        breaks="A crash per day stops the runtime in the end.",
        file=_RESTART,
        before="while crashes and crashes[0] <= now - self._window:",
        after="while False:",
        killers=(f"{_BUDGET}::test_crashes_that_left_the_window_are_forgotten",),
    ),
    Mutant(
        name="away-is-a-crash",
        guarantee="G25",
        breaks="A database that is away uses up the restarts, and stops the runtime.",
        file=_RESTART,
        before="if isinstance(error, StorageUnavailableError | OutcomeUnknownError):",
        after="if isinstance(error, OutcomeUnknownError):",
        killers=(
            f"{_BUDGET}::test_a_database_that_is_away_never_counts_but_is_not_asked_in_a_tight_loop",
        ),
    ),
    Mutant(
        name="away-in-a-tight-loop",
        guarantee="G25",
        breaks="A database that is away is asked again without a pause.",
        file=_RESTART,
        before="return self._note(self._uncounted, now, at_once=0)",
        after="return self._note(self._uncounted, now, at_once=20)",
        killers=(
            f"{_BUDGET}::test_a_database_that_is_away_never_counts_but_is_not_asked_in_a_tight_loop",
        ),
    ),
    Mutant(
        name="crashes-spread-over-windows",
        guarantee="G24",
        breaks="Growing delays keep a child that always crashes below the limit for ever.",
        file=_RESTART,
        before="min(_LONGEST_DELAY, window / (2 * max(1, max_restarts)))",
        after="_LONGEST_DELAY",
        killers=(
            (
                f"{_BUDGET}"
                "::test_a_child_that_crashes_as_soon_as_it_starts_is_given_up_within_one_window"
            ),
        ),
    ),
    Mutant(
        name="limit-of-a-part-ignored",
        guarantee="G24",
        breaks="A writer that always crashes is started for ever, and nobody hears of it.",
        file="actors/eventstore_actors/supervising/services.py",
        before="        if isinstance(decision, GiveUp):\n",
        after="        if isinstance(decision, GiveUp) and not place.restarts:\n",
        killers=(
            f"{_SUPERVISOR}::test_too_many_crashes_stop_everything_and_the_parent_and_all_callers_hear_why",
        ),
    ),
    Mutant(
        name="parent-not-told",
        guarantee="G24",
        breaks="The application does not hear that its store has failed.",
        file="actors/eventstore_actors/supervising/supervisor.py",
        before="try_tell(self._parent, StoreFailed(self.actor_ref, self._failure))",
        after="pass",
        killers=(
            f"{_SUPERVISOR}::test_too_many_crashes_stop_everything_and_the_parent_and_all_callers_hear_why",
        ),
    ),
    Mutant(
        name="restart-in-silence",
        guarantee="G23",
        breaks="A new publisher knows no subscription, and tells none of anything.",
        file="actors/eventstore_actors/supervising/supervisor.py",
        before="            parts.seats.tell_all(ChildRestarted(child))\n",
        after="            pass\n",
        killers=(f"{_SUPERVISOR}::test_after_a_crash_everything_goes_on_where_the_storage_says",),
    ),
    Mutant(
        name="lost-history-survived",
        guarantee="G31",
        breaks="Everything goes on though the database lost events.",
        file="actors/eventstore_actors/supervising/supervisor.py",
        before="            case StorageRefused(error) | HistoryRewound(error):\n",
        after="            case HistoryRewound():\n                pass\n"
        "            case StorageRefused(error):\n",
        killers=(f"{_SUPERVISOR}::test_history_that_went_back_stops_everything",),
    ),
    Mutant(
        name="half-alive",
        guarantee="G24",
        breaks="A store whose writer somebody stopped lives on without it.",
        file="actors/eventstore_actors/supervising/supervisor.py",
        before="            self._waits_for_acks = False\n            self.finish()\n",
        after="            pass\n",
        killers=(
            f"{_STOP}::test_a_store_whose_part_was_stopped_by_somebody_ends_instead_of_living_by_half",
        ),
    ),
    Mutant(
        name="subscription-crashes-for-ever",
        guarantee="G24",
        breaks="A subscription that always crashes is started for ever.",
        file="actors/eventstore_actors/supervising/subscriptions.py",
        before="        elif isinstance(decision, GiveUp):\n",
        after="        elif isinstance(decision, GiveUp) and False:\n",
        killers=(f"{_SUPERVISOR}::test_a_subscription_that_crashes_too_often_stops_alone",),
    ),
    Mutant(
        name="subscription-not-restarted",
        guarantee="G24",
        breaks="A subscription that crashed once stands still, and looks connected.",
        file="actors/eventstore_actors/supervising/subscriptions.py",
        before="            self.restarts += 1\n            self._fill(taken, None)\n",
        after="            self.restarts += 1\n",
        killers=(
            f"{_SUPERVISOR}::test_a_subscription_that_crashes_goes_on_with_handle_and_subscriber_at_its_checkpoint",
        ),
    ),
    Mutant(
        name="two-subscribers-at-once",
        guarantee="G17",
        breaks="A second subscriber drives a living one out.",
        file="actors/eventstore_actors/supervising/subscriptions.py",
        before="elif taken.is_free and taken.successor is None:",
        after="elif taken.successor is None:",
        killers=(
            f"{_RUNTIME}::test_a_second_living_subscriber_is_refused_and_a_dead_one_makes_room",
        ),
    ),
    Mutant(
        name="dead-subscriber-connected",
        guarantee="G17",
        breaks="A subscriber that is dead keeps its successor out.",
        file="actors/eventstore_actors/supervising/subscriptions.py",
        before="return self.leaving or (subscriber is not None and not subscriber.is_alive())",
        after="return self.leaving",
        killers=(
            f"{_RUNTIME}::test_a_second_living_subscriber_is_refused_and_a_dead_one_makes_room",
            f"{_OWNERSHIP}::test_a_dead_subscriber_does_not_count_as_connected",
        ),
    ),
    Mutant(
        name="close-without-waiting",
        guarantee="G26",
        breaks="Closing drops what is in flight.",
        file="actors/eventstore_actors/supervising/supervisor.py",
        before="acks = self._waits_for_acks and self._failure is None",
        after="acks = False",
        killers=(f"{_STOP}::test_it_waits_for_acks_in_flight_and_stores_them",),
    ),
)
