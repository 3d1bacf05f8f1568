"""Mutants of restarts, of their limit, and of orderly and other ends."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, otherwise, remove, replace
from tests.mutants.places.python_place import function

__all__ = ["SUPERVISING"]

_BUDGET = "tests/actors/supervising/test_restart_budget.py"
_RUNTIME = "tests/actors/supervising/test_actor_runtime.py"
_STOP = "tests/actors/supervising/test_stop.py"
_SUPERVISOR = "tests/actors/supervising/test_supervisor.py"
_OWNERSHIP = "tests/conformance/subscriptions/test_ownership.py"
_RESEATING = "tests/conformance/subscriptions/test_reseating.py"
_GIVING_UP = "tests/conformance/subscriptions/test_giving_up.py"
_HEALTH = "tests/conformance/subscriptions/test_health.py"
_SEATING = "tests/actors/supervising/test_seating.py"
_LIFETIME = "tests/acceptance/test_lifetime.py"

SUPERVISING = (
    Mutant(
        name="one-restart-more",
        guarantee="G24",
        breaks="One crash more than allowed is taken.",
        where=function("RestartBudget.crashed").condition(mentioning="_max_restarts").part(1),
        change=replace("{} + 1"),
        killers=(f"{_BUDGET}::test_one_crash_more_than_the_limit_within_the_window_gives_up",),
    ),
    Mutant(
        name="crashes-never-forgotten",
        guarantee="G24",
        breaks="A crash per day stops the runtime in the end.",
        where=function("RestartBudget._note").condition(mentioning="_window"),
        change=constant(False),
        killers=(f"{_BUDGET}::test_crashes_that_left_the_window_are_forgotten",),
    ),
    Mutant(
        name="away-is-a-crash",
        guarantee="G25",
        breaks="A database that is away uses up the restarts, and stops the runtime.",
        where=function("RestartBudget.crashed")
        .call("isinstance")
        .part(1)
        .part(mentioning="StorageUnavailableError"),
        change=remove,
        killers=(
            f"{_BUDGET}::test_a_database_that_is_away_never_counts_but_is_not_asked_in_a_tight_loop",
        ),
    ),
    Mutant(
        name="away-in-a-tight-loop",
        guarantee="G25",
        breaks="A database that is away is asked again without a pause.",
        where=function("RestartBudget.crashed")
        .call("_note", mentioning="_uncounted")
        .keyword("at_once"),
        change=constant(20),
        killers=(
            f"{_BUDGET}::test_a_database_that_is_away_never_counts_but_is_not_asked_in_a_tight_loop",
        ),
    ),
    Mutant(
        name="crashes-spread-over-windows",
        guarantee="G24",
        breaks="Growing delays keep a child that always crashes below the limit for ever.",
        where=function("RestartBudget.__init__").assigned("_longest"),
        change=replace("_LONGEST_DELAY"),
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
        where=function("Services.crashed").condition(),
        change=replace("{} and not place.restarts"),
        killers=(
            f"{_SUPERVISOR}::test_too_many_crashes_stop_everything_and_the_parent_and_all_callers_hear_why",
        ),
    ),
    Mutant(
        name="parent-not-told",
        guarantee="G24",
        breaks="The application does not hear that its store has failed.",
        where=function("StoreSupervisor.teardown").call("try_tell"),
        change=remove,
        killers=(
            f"{_SUPERVISOR}::test_too_many_crashes_stop_everything_and_the_parent_and_all_callers_hear_why",
        ),
    ),
    Mutant(
        name="restart-in-silence",
        guarantee="G23",
        breaks="A new publisher knows no subscription, and tells none of anything.",
        where=function("StoreSupervisor._child_up").call("tell_all"),
        change=remove,
        killers=(f"{_SUPERVISOR}::test_after_a_crash_everything_goes_on_where_the_storage_says",),
    ),
    Mutant(
        name="lost-history-survived",
        guarantee="G31",
        breaks="Everything goes on though the database lost events.",
        where=function("StoreSupervisor.receive").call("_give_up"),
        change=replace("isinstance(message, HistoryRewound) or {}"),
        killers=(f"{_SUPERVISOR}::test_history_that_went_back_stops_everything",),
    ),
    Mutant(
        name="half-alive",
        guarantee="G24",
        breaks="A store whose writer somebody stopped lives on without it.",
        where=function("StoreSupervisor._child_stopped").condition(mentioning="error").statement(),
        change=otherwise("pass"),
        killers=(
            f"{_STOP}::test_a_store_whose_part_was_stopped_by_somebody_ends_instead_of_living_by_half",
        ),
    ),
    Mutant(
        name="subscription-crashes-for-ever",
        guarantee="G24",
        breaks="A subscription that always crashes is started for ever.",
        where=function("Subscriptions.crashed").condition(mentioning="GiveUp"),
        change=constant(False),
        killers=(f"{_SUPERVISOR}::test_a_subscription_that_crashes_too_often_stops_alone",),
    ),
    Mutant(
        name="subscription-not-restarted",
        guarantee="G24",
        breaks="A subscription that crashed once stands still, and looks connected.",
        where=function("Subscriptions.restart").call("_start"),
        change=remove,
        killers=(
            f"{_SUPERVISOR}::test_a_subscription_that_crashes_goes_on_with_handle_and_subscriber_at_its_checkpoint",
        ),
    ),
    Mutant(
        name="two-subscribers-at-once",
        guarantee="G17",
        breaks="A second subscriber drives a living one out.",
        where=function("Subscriptions.subscribe").condition(mentioning="is_free"),
        change=constant(True),
        killers=(
            f"{_RUNTIME}::test_a_second_living_subscriber_is_refused_and_a_dead_one_makes_room",
        ),
    ),
    Mutant(
        name="deleted-and-in-use",
        guarantee="G17",
        breaks="A seat whose subscription was deleted keeps everybody out until it hears of that.",
        where=function("SubscriptionActor._prove_seat").condition(mentioning="has_lost"),
        change=constant(False),
        killers=(f"{_RESEATING}::test_what_was_deleted_elsewhere_is_subscribed_to_here_at_once",),
    ),
    Mutant(
        name="dead-subscriber-connected",
        guarantee="G17",
        breaks="A subscriber that is dead keeps its successor out.",
        where=function("_TakenSeat.is_free").returned().part(mentioning="subscriber"),
        change=remove,
        killers=(
            f"{_RUNTIME}::test_a_second_living_subscriber_is_refused_and_a_dead_one_makes_room",
            f"{_OWNERSHIP}::test_a_dead_subscriber_does_not_count_as_connected",
        ),
    ),
    Mutant(
        name="close-without-waiting",
        guarantee="G26",
        breaks="Closing drops what is in flight.",
        where=function("StoreSupervisor._stop_children").assigned("acks"),
        change=constant(False),
        killers=(f"{_STOP}::test_it_waits_for_acks_in_flight_and_stores_them",),
    ),
    Mutant(
        name="second-close-waits",
        guarantee="G26",
        breaks="A close that waits for a hung handler cannot be hurried.",
        where=function("ActorRuntime._stop_by").condition(mentioning="sooner"),
        change=constant(False),
        killers=(f"{_LIFETIME}::test_the_least_time_of_several_closes_counts",),
    ),
    Mutant(
        name="given-up-forgotten",
        guarantee="G32",
        breaks="A subscription that gave up is no longer shown.",
        where=function("Subscriptions.ended")
        .call("_free_seat", mentioning="gave_up")
        .keyword("gave_up"),
        change=constant(False),
        killers=(f"{_GIVING_UP}::test_it_is_shown_as_stopped_with_its_error",),
    ),
    Mutant(
        name="given-up-without-a-reason",
        guarantee="G32",
        breaks="The row of a subscription that gave up does not say why.",
        where=function("DeliveryRuns.last_progress").condition(0),
        change=constant(True),
        killers=(f"{_GIVING_UP}::test_a_handler_that_hung_is_shown_with_what_it_did",),
    ),
    Mutant(
        name="paused-stands-still",
        guarantee="G32",
        breaks="A paused subscription counts as one that makes no progress.",
        where=function("ProgressReporter.show").assigned("behind"),
        change=constant(True),
        killers=(f"{_HEALTH}::test_a_paused_one_waits_for_nothing",),
    ),
    Mutant(
        name="seated-too-late",
        guarantee="G17",
        breaks="A subscription is seated whose call has failed.",
        where=function("Subscriptions._seat").condition(),
        change=constant(False),
        killers=(f"{_SEATING}::test_a_call_that_gave_up_before_it_was_read_seats_nobody",),
    ),
)
