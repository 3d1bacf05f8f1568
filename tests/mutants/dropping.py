"""Mutants of what becomes of parked events: who drops them, who sees them, who waits for them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.places.changes import constant, remove
from tests.mutants.places.python_place import function
from tests.mutants.places.sql_place import sql_function

__all__ = ["DROPPING"]

_DROPPED = "tests/conformance/subscriptions/test_dropping_parked.py"
_FENCE = "tests/eventstore/postgres/test_fence.py"
_GIVEN_UP = "tests/conformance/subscriptions/test_giving_up_parked.py"
_LOCKS = "tests/eventstore/postgres/test_parking_locks.py"
_SHOWN = "tests/conformance/subscriptions/test_shown_subscriptions.py"
_WAITING = "tests/conformance/subscriptions/test_waiting_for_parked.py"

DROPPING = (
    Mutant(
        name="delete-drops-parked-unasked",
        guarantee="G38",
        breaks="A delete of a subscription drops its parked events, though nobody told it to.",
        where=sql_function("delete_subscription").condition(),
        change=constant(True),
        killers=(f"{_DROPPED}::test_a_subscription_with_parked_events_is_deleted_only_if_told_to",),
    ),
    Mutant(
        name="delete-looks-before-the-lock",
        guarantee="G38",
        breaks="What is parked while a delete looks at what is parked goes with the subscription.",
        where=sql_function("delete_subscription").phrase("FOR UPDATE"),
        change=remove,
        killers=(f"{_LOCKS}::test_what_is_parked_during_a_delete_is_seen_by_it",),
    ),
    Mutant(
        name="parked-while-it-is-erased",
        guarantee="G38",
        breaks="What is erased while it is parked stays parked, and can never be delivered.",
        where=sql_function("park_events").phrase("FOR KEY SHARE", 1),
        change=remove,
        killers=(f"{_LOCKS}::test_what_is_erased_while_it_is_parked_leaves_no_row",),
    ),
    Mutant(
        name="skip-in-a-replay-unrecorded",
        guarantee="G38",
        breaks="A parked event that its handler skips in a replay leaves no record.",
        where=function("Replaying.skip").returned(),
        change=constant(True),
        killers=(f"{_GIVEN_UP}::test_a_skip_of_a_parked_event_is_recorded",),
    ),
    Mutant(
        name="parked-forgotten-by-transactional",
        guarantee="G38",
        breaks="A transactional subscriber runs beside parked events that it never gets.",
        where=function("ParkedKeys.read").condition(mentioning="transactional"),
        change=constant(False),
        killers=(
            f"{_GIVEN_UP}::test_what_is_parked_must_not_be_forgotten_by_a_transactional_subscriber",
        ),
    ),
    Mutant(
        name="keep-order-not-stored",
        guarantee="G38",
        breaks="A subscriber without keep_order goes past the parked events of one with it.",
        where=function("SubscriptionOptions.stored").entry("keep_order"),
        change=constant(True),
        killers=(f"{_SHOWN}::test_another_keep_order_is_refused_until_a_reset",),
    ),
    Mutant(
        name="options-read-before-the-lock",
        guarantee="G38",
        breaks="Of two that claim after a reset, one owns it with options that are not stored.",
        where=sql_function("claim_subscription").assigned("v_locked", 1),
        change=constant(False),
        killers=(f"{_FENCE}::test_options_that_change_during_a_claim_are_seen",),
    ),
    Mutant(
        name="parked-counts-as-acknowledged",
        guarantee="G38",
        breaks="Who waits for a parked event is told that it was handled.",
        where=function("unparked_progress").condition(),
        change=constant(False),
        killers=(f"{_WAITING}::test_who_waits_for_a_parked_event_is_told",),
    ),
    Mutant(
        name="waits-trust-a-run-that-was-reset",
        guarantee="G25",
        breaks="Who waits after a reset is told that everything is handled, before any of it is.",
        where=function("AwaitedHandle._is_stored").condition(mentioning="epoch"),
        change=constant(False),
        killers=(f"{_WAITING}::test_a_reset_counts_at_once_for_who_waits",),
    ),
)
